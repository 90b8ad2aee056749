"""What a job that has not started waits for, in order (Q8)."""

from headrace.v1 import job_pb2
from headrace_server.core.job import Job
from headrace_server.core.placement import Misfit, Needs, misfit
from headrace_server.core.states import JobState
from headrace_server.runtime.registry import Registry
from headrace_server.store.codec import set_time

NAMED_COUNT_MAX = 5
"""Workers that a reason names."""


def wait_reasons(job: Job, needs: Needs, position: int, registry: Registry) -> list[job_pb2.WaitReason]:
    """The reasons, first one first; none for a job that waits for nothing."""
    if job.state is JobState.SCHEDULED:
        return [_until_due(job)]
    if job.state is not JobState.QUEUED:
        return []
    if job.holder:
        return [_for_holder(job, registry)]
    reason = _for_worker(needs, registry)
    if reason is None:
        return []
    reasons = [reason]
    if position > 1:
        before = "1 job of" if position == 2 else f"{position - 1} jobs of"
        message = f"ahead of it in rank: {before} queue {job.queue!r}"
        reasons.append(job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_RANK, message=message))
    return reasons


def _until_due(job: Job) -> job_pb2.WaitReason:
    what = "the backoff after a failed attempt" if job.failures else "its schedule time"
    reason = job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_TIME, message=f"waits for {what}")
    set_time(reason.until_time, job.due)
    return reason


def _for_holder(job: Job, registry: Registry) -> job_pb2.WaitReason:
    lane = registry.lane(job.holder)
    there = "has no free slot" if lane is not None else "is not connected"
    reason = job_pb2.WaitReason(
        cause=job_pb2.WAIT_CAUSE_HOLDER,
        message=f"worker {job.holder!r} holds the session to resume and {there}",
    )
    set_time(reason.until_time, job.due)
    return reason


def _for_worker(needs: Needs, registry: Registry) -> job_pb2.WaitReason | None:
    lanes = registry.lanes()
    if not lanes:
        message = "no worker is connected; start one with `headrace work`"
        if registry.local_fault:
            message = f"no worker is connected, and the local one does not run: {registry.local_fault}"
        return job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_NO_WORKER, message=message)
    fitting = [lane for lane in lanes if misfit(needs, lane.capabilities) is None]
    if not fitting:
        lacks = {misfit(needs, lane.capabilities) for lane in lanes}
        return job_pb2.WaitReason(
            cause=job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER, message=_lacking(needs, lacks, len(lanes))
        )
    if all(lane.is_drained for lane in fitting):
        message = f"{_are(len(fitting))} drained: {', '.join(lane.holder.worker for lane in fitting[:NAMED_COUNT_MAX])}"
        return job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_NO_FREE_SLOT, message=message)
    if not any(lane.free_slots for lane in fitting):
        slots = sum(lane.slots_offered for lane in fitting if not lane.is_drained)
        message = f"all {slots} slots of the {len(fitting)} workers that can run it are taken"
        return job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_NO_FREE_SLOT, message=message)
    return None


def _are(count: int) -> str:
    return "the worker that can run it is" if count == 1 else f"the {count} workers that can run it are"


def _lacking(needs: Needs, lacks: set[Misfit | None], count: int) -> str:
    workers = "the connected worker" if count == 1 else f"any of the {count} connected workers"
    if Misfit.LABELS in lacks:
        labels = ", ".join(f"{key}={value}" for key, value in needs.labels)
        return f"the labels {labels} are not those of {workers}"
    if Misfit.CAPABILITY in lacks and needs.executor == "command":
        return f"program {needs.capability!r} is not allowed on {workers}; allow it with --allow-command"
    if Misfit.CAPABILITY in lacks:
        return f"handler {needs.capability!r} is not registered on {workers}"
    if needs.executor == "claude":
        remedy = "install it, or start one with --claude PATH or --claude simulated"
        return f"Claude Code is not to be had on {workers}; {remedy}"
    return f"{needs.executor} tasks are not run by {workers}"
