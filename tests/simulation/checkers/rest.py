"""I4, I12: faults have stopped, time has passed: everything has ended that somebody could run, and nothing is held."""

from collections.abc import Sequence

from headrace.v1 import job_pb2
from headrace_server.core.dependencies import DependencyRule
from headrace_server.core.ids import Micros
from headrace_server.core.job import Job
from headrace_server.core.placement import misfit
from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.rpc.messages.worker_message import capabilities_of
from headrace_server.store.engine import Connection
from headrace_server.store.records.reads import job_needs
from simulation.checkers.graphs import may_run
from simulation.chronicle import Chronicle, Known
from simulation.violation import hold
from simulation.workers import Worker


def waits_for_nobody(known: Known, chronicle: Chronicle, connection: Connection, workers: list[Worker]) -> bool:
    """Whether a job waits because no worker could run it, or one that it has to wait for."""
    row = known.row
    if row.wake:
        # Whoever it waits for, a time comes at which it ends.
        return False
    if row.state is JobState.BLOCKED:
        ends, parents = _parents(known, chronicle, connection)
        verdict = may_run(_condition(known, connection), ends) if row.dependent else True
        if verdict is False:
            return False
        before = parents if verdict is None else _holders_of_key(known, chronicle, connection)
        before += _turns_before(known, chronicle)
        return bool(before) and all(waits_for_nobody(one, chronicle, connection, workers) for one in before)
    return fits_nobody(row, connection, workers)


def fits_nobody(row: Job, connection: Connection, workers: list[Worker]) -> bool:
    """Whether a job is ready that none of these workers could ever run."""
    if row.state is not JobState.QUEUED or row.holder:
        return False
    needs = job_needs(connection, row)
    return not any(
        misfit(needs, capabilities_of(worker.kind.capabilities)) is None and worker.kind.slots >= row.slots
        for worker in workers
    )


def _condition(known: Known, connection: Connection) -> int:
    found = connection.rows("SELECT rule FROM dependencies WHERE child = ? LIMIT 1", (known.row.row,))
    return int(DependencyRule.decode(found[0][0]).condition)


def _parents(known: Known, chronicle: Chronicle, connection: Connection) -> tuple[list[JobState | None], list[Known]]:
    """How the jobs ended that a BLOCKED one depends on, and those that have not."""
    jobs = {one.row.row: one for one in chronicle.jobs.values()}
    ends: list[JobState | None] = []
    live: list[Known] = []
    for parent, state in connection.rows("SELECT parent, state FROM dependencies WHERE child = ?", (known.row.row,)):
        gone = parent not in jobs
        ended = JobState(state or JobState.FAILED) if gone else jobs[parent].row.state
        ends.append(ended if ended in ENDED else None)
        if ended not in ENDED:
            live.append(jobs[parent])
    return ends, live


def _holders_of_key(known: Known, chronicle: Chronicle, connection: Connection) -> list[Known]:
    """The job that has the unique key for which a BLOCKED one waits."""
    found = connection.rows(
        "SELECT first.job FROM unique_keys AS second JOIN unique_keys AS first"
        " ON first.namespace = second.namespace AND first.queue = second.queue"
        " AND first.unique_key = second.unique_key AND first.place = 1"
        " WHERE second.job = ? AND second.place = 2",
        (known.row.row,),
    )
    before = {row for (row,) in found}
    return [one for one in chronicle.jobs.values() if one.row.row in before and one.row.state not in ENDED]


def _turns_before(known: Known, chronicle: Chronicle) -> list[Known]:
    """Turns of its session that have to end before it begins."""
    turn = known.row.turn
    if turn is None:
        return []
    return [
        one
        for one in chronicle.jobs.values()
        if (other := one.row.turn) is not None
        and (other.session_id, other.background) == (turn.session_id, False)
        and other.number < turn.number
        and one.row.state not in ENDED
    ]


def check_rest(chronicle: Chronicle, connection: Connection, workers: list[Worker]) -> None:
    """At the end of a run."""
    for known in chronicle.jobs.values():
        done = known.row.state in ENDED or waits_for_nobody(known, chronicle, connection, workers)
        hold(done, "I4", f"{known.id} is {known.row.state.name} for ever, worker {known.row.worker!r}")
        hold(known.row.state not in LEASED, "I12", f"a slot is held by {known.id}")
    for worker in workers:
        alive = worker.around.ground.alive(worker.kind.name)
        hold(not alive, "I12", f"{worker.kind.name} runs {alive} attempts of jobs that have ended")
        hold(not worker.attempts, "I12", f"{worker.kind.name} still holds {len(worker.attempts)} attempts")


_WHY = {
    JobState.QUEUED: {job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER},
    JobState.BLOCKED: {
        job_pb2.WAIT_CAUSE_DEPENDENCY,
        job_pb2.WAIT_CAUSE_UNIQUE_KEY,
        job_pb2.WAIT_CAUSE_SESSION,
    },
}


def shut_until(connection: Connection, now: Micros) -> dict[int, Micros]:
    """Ready keys of whose jobs none may start, because a usage limit was met, and until when."""
    found = connection.rows(
        "SELECT key, until FROM ready_keys JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
        " JOIN capacity_domains ON capacity_domains.name = ready_groups.domain WHERE until > ?",
        (now,),
    )
    return dict(found)


def check_explained(known: Known, reasons: list[job_pb2.WaitReason], holds: Sequence[job_pb2.WaitCause]) -> None:
    """Q8: what nobody can run says so, besides what holds it for a while."""
    causes = [reason.cause for reason in reasons]
    hold(set(holds) <= set(causes), "Q8", f"held by {holds}, and explained by {causes}")
    for_ever = [cause for cause in causes if cause not in holds]
    why = bool(for_ever) and for_ever[0] in _WHY[known.row.state]
    hold(why, "Q8", f"{known.row.state.name} explained by {causes}")
