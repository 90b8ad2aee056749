"""R6, Q6: what a worker is given with a job: the latest checkpoint that was committed before the grant, and how its
parents ended, with what."""

from headrace.v1 import worker_pb2
from headrace_server.core.states import ENDED, JobState
from simulation.chronicle import Chronicle, Known, Logged
from simulation.clients import Told
from simulation.violation import hold


def check_assignment(chronicle: Chronicle, told: Told, assignment: worker_pb2.Assignment) -> None:
    """When a worker hears of it."""
    known = chronicle.jobs.get(assignment.lease.job_id)
    if known is None or assignment.lease.generation != chronicle.generation:
        return
    for place, logged in enumerate(known.log):
        if logged.kind == "attempt_assigned" and logged.event.epoch == assignment.lease.epoch:
            _check_checkpoint(known, known.log[:place], assignment)
            _check_parents(chronicle, told, known, logged.event.position, assignment)


def _check_checkpoint(known: Known, before: list[Logged], assignment: worker_pb2.Assignment) -> None:
    if any(logged.kind == "output_truncated" for logged in before):
        # Those past the cap of output are kept, too, and not in the log.
        return
    said = [one.event.output.checkpoint for one in before if one.event.output.HasField("checkpoint")]
    latest = said[-1].value.string_value if said else ""
    given = assignment.checkpoint.string_value
    hold(given == latest, "R6", f"{known.id} is given checkpoint {given!r}, the latest is {latest!r}")


def _check_parents(
    chronicle: Chronicle, told: Told, known: Known, granted: int, assignment: worker_pb2.Assignment
) -> None:
    submit = told.submits[known.number - 1]
    results = assignment.dependency_results
    hold(len(results) == len(submit.spec.dependencies), "Q6", f"{known.id} hears of {len(results)} parents")
    for dependency, result in zip(submit.spec.dependencies, results, strict=True):
        named = dependency.job_id or told.submits[int(dependency.ref[1:]) - 1].job_id
        hold(named in ("", result.job_id), "Q6", f"{known.id} hears of {result.job_id} in the place of {named}")
        parent = chronicle.jobs.get(result.job_id)
        if parent is None or parent.row.state not in ENDED or parent.log[-1].event.position > granted:
            continue
        hold(int(result.state) == int(parent.row.state), "Q6", f"{known.id} hears that {parent.id} is {result.state}")
        if parent.row.state is JobState.SUCCEEDED:
            same = result.result == parent.log[-1].event.succeeded.result
            hold(same, "Q6", f"{known.id} hears another result of {parent.id}: {result}")
