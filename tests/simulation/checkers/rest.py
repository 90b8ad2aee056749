"""I4, I12: faults have stopped, time has passed: everything has ended that somebody could run, and nothing is held."""

from headrace.v1 import job_pb2
from headrace_server.core.placement import misfit
from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.rpc.worker_message import capabilities_of
from headrace_server.store.engine import Connection
from headrace_server.store.reads import job_needs
from simulation.chronicle import Chronicle, Known
from simulation.violation import hold
from simulation.workers import Worker


def waits_for_nobody(known: Known, chronicle: Chronicle, connection: Connection, workers: list[Worker]) -> bool:
    """Whether a job waits because no worker could run it, or one that it has to wait for."""
    row = known.row
    if row.state is JobState.BLOCKED:
        before = _jobs_before(known, chronicle, connection)
        return any(waits_for_nobody(one, chronicle, connection, workers) for one in before)
    if row.state is not JobState.QUEUED or row.holder:
        return False
    needs = job_needs(connection, row)
    return not any(
        misfit(needs, capabilities_of(worker.kind.capabilities)) is None and worker.kind.slots >= row.slots
        for worker in workers
    )


def _jobs_before(known: Known, chronicle: Chronicle, connection: Connection) -> list[Known]:
    """The jobs that have not ended and that a BLOCKED one waits for."""
    rows = connection.rows("SELECT parent FROM dependencies WHERE child = ?", (known.row.row,))
    rows += connection.rows(
        "SELECT first.job FROM unique_keys AS second JOIN unique_keys AS first"
        " ON first.namespace = second.namespace AND first.queue = second.queue"
        " AND first.unique_key = second.unique_key AND first.place = 1"
        " WHERE second.job = ? AND second.place = 2",
        (known.row.row,),
    )
    before = {row for (row,) in rows}
    return [one for one in chronicle.jobs.values() if one.row.row in before and one.row.state not in ENDED]


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
    JobState.BLOCKED: {job_pb2.WAIT_CAUSE_DEPENDENCY, job_pb2.WAIT_CAUSE_UNIQUE_KEY},
}


def check_explained(state: JobState, reasons: list[job_pb2.WaitReason]) -> None:
    """Q8: what nobody can run says so."""
    causes = [reason.cause for reason in reasons]
    hold(causes and causes[0] in _WHY[state], "Q8", f"{state.name} explained by {causes}")
