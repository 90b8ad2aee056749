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


def waits_for_nobody(known: Known, connection: Connection, workers: list[Worker]) -> bool:
    """Whether a job waits because no worker could run it."""
    if known.row.state is not JobState.QUEUED or known.row.holder:
        return False
    needs = job_needs(connection, known.row)
    return all(misfit(needs, capabilities_of(worker.kind.capabilities)) is not None for worker in workers)


def check_rest(chronicle: Chronicle, connection: Connection, workers: list[Worker]) -> None:
    """At the end of a run."""
    for known in chronicle.jobs.values():
        done = known.row.state in ENDED or waits_for_nobody(known, connection, workers)
        hold(done, "I4", f"{known.id} is {known.row.state.name} for ever, worker {known.row.worker!r}")
        hold(known.row.state not in LEASED, "I12", f"a slot is held by {known.id}")
    for worker in workers:
        alive = worker.around.ground.alive(worker.kind.name)
        hold(not alive, "I12", f"{worker.kind.name} runs {alive} attempts of jobs that have ended")
        hold(not worker.attempts, "I12", f"{worker.kind.name} still holds {len(worker.attempts)} attempts")


def check_explained(reasons: list[job_pb2.WaitReason]) -> None:
    """Q8: what nobody can run says so."""
    causes = [reason.cause for reason in reasons]
    hold(causes[:1] == [job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER], "Q8", f"explained by {causes}")
