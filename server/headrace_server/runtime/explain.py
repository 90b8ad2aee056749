"""What a job that has not started waits for, in order (Q8)."""

from collections.abc import Sequence

from headrace.v1 import job_pb2
from headrace_server.core.deadlines import NEVER
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.placement import UNBOUNDED, Misfit, Needs, Offer, misfit
from headrace_server.core.resources import ONE_SLOT, Resources
from headrace_server.core.states import WAITING, JobState
from headrace_server.runtime.explain_capacity import capacity_reasons
from headrace_server.runtime.registry import Registry
from headrace_server.store.codec import set_time, time_of
from headrace_server.store.queueing.folders import FolderWait
from headrace_server.store.queueing.waiting import NOT_WAITING, Waiting

NAMED_COUNT_MAX = 5
"""Workers or jobs that a reason names."""
_PASSING = frozenset(
    {
        job_pb2.WAIT_CAUSE_CONCURRENCY,
        job_pb2.WAIT_CAUSE_FOLDER,
        job_pb2.WAIT_CAUSE_NO_FREE_SLOT,
        job_pb2.WAIT_CAUSE_RANK,
    }
)
"""Reasons that pass as other jobs start and end."""


def wait_reasons(
    job: Job,
    needs: Needs,
    position: int,
    registry: Registry,
    waiting: Waiting = NOT_WAITING,
) -> list[job_pb2.WaitReason]:
    """The reasons, first one first; none for a job that waits for nothing."""
    if job.state not in WAITING:
        return []
    reasons = _of_stop(job, waiting)
    if job.state is JobState.SCHEDULED:
        return [*reasons, _until_due(job)]
    if job.state is JobState.BLOCKED:
        return [*reasons, *_of_other_jobs(waiting)]
    reasons += [*capacity_reasons(waiting), *_of_limits(job, waiting)]
    for_worker = _for_holder(job, needs, registry, waiting) if job.holder else _for_worker(job, needs, registry)
    if for_worker is not None:
        reasons.append(for_worker)
    if reasons and not job.holder:
        reasons += _of_order(job, waiting, position)
    return reasons


def estimated_start(
    job: Job, reasons: Sequence[job_pb2.WaitReason], position: int, starts_per_second: float, now: Micros
) -> Micros | None:
    """When a job is likely to start: once what holds it until a known time is over, and those before it have started
    at the rate of late. None where that can't be said."""
    if job.state not in (JobState.SCHEDULED, JobState.QUEUED):
        return None
    begin = now
    for reason in reasons:
        if reason.HasField("until_time") and reason.cause != job_pb2.WAIT_CAUSE_HOLDER:
            begin = max(begin, time_of(reason.until_time))
        elif reason.cause not in _PASSING:
            return None
    if not position or not reasons:
        return begin
    return Micros(begin + int(position / starts_per_second * SECOND)) if starts_per_second > 0 else None


def _of_stop(job: Job, waiting: Waiting) -> list[job_pb2.WaitReason]:
    reasons = []
    pause, drain = waiting.stop.pause, waiting.stop.drain
    if pause is not None:
        message = f"queue {job.queue!r} is paused by {pause.actor}{_because(pause.reason)}"
        reasons.append(_reason(job_pb2.WAIT_CAUSE_QUEUE_PAUSED, message, pause.until))
    if drain is not None:
        message = f"queue {job.queue!r} is drained by {drain.actor}{_because(drain.reason)}"
        reasons.append(_reason(job_pb2.WAIT_CAUSE_QUEUE_DRAINING, message))
    return reasons


def _of_other_jobs(waiting: Waiting) -> list[job_pb2.WaitReason]:
    reasons = []
    if waiting.parents:
        named = ", ".join(
            f"{job_id_text(job_id)} ({state.name})" for job_id, state in waiting.parents[:NAMED_COUNT_MAX]
        )
        left = len(waiting.parents) - NAMED_COUNT_MAX
        more = f" and {left} more" if left > 0 else ""
        reasons.append(_reason(job_pb2.WAIT_CAUSE_DEPENDENCY, f"depends on jobs that have not ended: {named}{more}"))
    if waiting.active is not None:
        message = f"job {job_id_text(waiting.active)} has its unique key and has not ended"
        reasons.append(_reason(job_pb2.WAIT_CAUSE_UNIQUE_KEY, message))
    if waiting.turn_before is not None:
        job_id, number = waiting.turn_before
        message = f"turn {number} of its session, job {job_id_text(job_id)}, has not ended"
        reasons.append(_reason(job_pb2.WAIT_CAUSE_SESSION, message))
    return reasons


def _of_limits(job: Job, waiting: Waiting) -> list[job_pb2.WaitReason]:
    reasons = []
    queue, key = waiting.queue, waiting.key
    if queue is not None:
        message = f"queue {job.queue!r} runs {queue.running}/{queue.most} jobs, its max_concurrency"
        reasons.append(_reason(job_pb2.WAIT_CAUSE_CONCURRENCY, message))
    if key is not None:
        holders = ", ".join(job_id_text(job_id) for job_id in key.holders)
        message = f"concurrency key {job.concurrency_key!r} runs {key.running}/{key.most} jobs: {holders}"
        reasons.append(_reason(job_pb2.WAIT_CAUSE_CONCURRENCY, message))
    for what, spent in (
        (f"queue {job.queue!r}", waiting.queue_rate),
        (f"concurrency key {job.concurrency_key!r}", waiting.key_rate),
    ):
        if spent is not None:
            message = f"{what} may start {spent.limit.count} jobs in {spent.limit.period / SECOND:g} s, and has"
            reasons.append(_reason(job_pb2.WAIT_CAUSE_RATE, message, spent.until))
    if waiting.folder is not None:
        reasons.append(_of_folder(waiting.folder))
    return reasons


def _of_folder(wait: FolderWait) -> job_pb2.WaitReason:
    other = "a job of another namespace" if wait.job_id is None else f"job {job_id_text(wait.job_id)}"
    return _reason(job_pb2.WAIT_CAUSE_FOLDER, f"{other} works in folder {wait.folder!r}")


def _of_order(job: Job, waiting: Waiting, position: int) -> list[job_pb2.WaitReason]:
    reasons, share = [], waiting.share
    if share is not None:
        message = (
            f"{share.name!r} has used {share.consumed:.1f} slot-seconds of late by its weight;"
            f" {share.first!r} goes first with {share.first_consumed:.1f}"
        )
        reasons.append(_reason(job_pb2.WAIT_CAUSE_RANK, message))
    if position > 1:
        before = "1 job of" if position == 2 else f"{position - 1} jobs of"
        message = f"ahead of it in rank: {before} queue {job.queue!r}"
        reasons.append(_reason(job_pb2.WAIT_CAUSE_RANK, message))
    return reasons


def _reason(cause: job_pb2.WaitCause, message: str, until: Micros = NEVER) -> job_pb2.WaitReason:
    reason = job_pb2.WaitReason(cause=cause, message=message)
    if until:
        set_time(reason.until_time, until)
    return reason


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


def _until_due(job: Job) -> job_pb2.WaitReason:
    what = "the backoff after a failed attempt" if job.failures else "its schedule time"
    if job.failure is not None and job.failure.failure_class is FailureClass.QUOTA:
        what = "the reset of a usage limit"
    reason = job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_TIME, message=f"waits for {what}")
    set_time(reason.until_time, job.due)
    return reason


def _for_holder(job: Job, needs: Needs, registry: Registry, waiting: Waiting) -> job_pb2.WaitReason | None:
    lane = registry.lane(job.holder)
    if lane is None:
        there = "is not connected"
    elif lane.is_drained:
        there = "is drained"
    elif not needs.resources.fits_in(lane.offer().free):
        there = "has no room for it"
    else:
        return None
    moves = ""
    if waiting.snapshot_turn:
        moves = f"; once it is lost, the session goes on elsewhere from the snapshot of turn {waiting.snapshot_turn}"
    reason = job_pb2.WaitReason(
        cause=job_pb2.WAIT_CAUSE_HOLDER,
        message=f"worker {job.holder!r} holds the session to resume and {there}{moves}",
    )
    set_time(reason.until_time, job.due)
    return reason


def _for_worker(job: Job, needs: Needs, registry: Registry) -> job_pb2.WaitReason | None:
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
            cause=job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER, message=lacking(needs, lacks, len(lanes))
        )
    if all(lane.is_drained for lane in fitting):
        message = f"{_are(len(fitting))} drained: {', '.join(lane.holder.worker for lane in fitting[:NAMED_COUNT_MAX])}"
        return job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_NO_FREE_SLOT, message=message)
    offers = [lane.offer() for lane in fitting if not lane.is_drained]
    if not any(needs.resources.fits_in(offer.free) for offer in offers):
        return _without_room(needs, offers)
    kept = {offer.worker: registry.reserved.get(offer.worker, job.id) for offer in offers}
    other = next((kept_for for kept_for in kept.values() if kept_for != job.id), None)
    if other is not None and job.id not in kept.values():
        names = ", ".join(list(kept)[:NAMED_COUNT_MAX])
        message = f"what is free on {names} is kept for job {job_id_text(other)}, which needs more of it"
        return _reason(job_pb2.WAIT_CAUSE_NO_FREE_SLOT, message)
    return None


def _without_room(needs: Needs, offers: Sequence[Offer]) -> job_pb2.WaitReason:
    wanted = needs.resources
    if wanted == ONE_SLOT:
        slots = sum(offer.used.slots + offer.free_slots for offer in offers)
        whose = "the worker" if len(offers) == 1 else f"the {len(offers)} workers"
        which = "the one slot" if slots == 1 else f"all {slots} slots"
        message = f"{which} of {whose} that can run it {'is' if slots == 1 else 'are'} taken"
        return _reason(job_pb2.WAIT_CAUSE_NO_FREE_SLOT, message)
    if not any(wanted.fits_in(offer.used + offer.free) for offer in offers):
        most = _largest([offer.used + offer.free for offer in offers])
        message = f"it takes {_amounts(wanted)}, and no worker that can run it is as large: the most are {most}"
        return _reason(job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER, message)
    most = _largest([offer.free for offer in offers])
    return _reason(job_pb2.WAIT_CAUSE_NO_FREE_SLOT, f"it takes {_amounts(wanted)}; free are at most {most}")


def _largest(rooms: Sequence[Resources]) -> str:
    return _amounts(
        Resources(
            max(room.slots for room in rooms),
            max(room.memory_bytes for room in rooms),
            max(room.cpu_millis for room in rooms),
        )
    )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _amounts(amounts: Resources) -> str:
    parts = [f"{amounts.slots} slot{'' if amounts.slots == 1 else 's'}"]
    if 0 < amounts.memory_bytes < UNBOUNDED:
        parts.append(f"{_size(amounts.memory_bytes)} of memory")
    if 0 < amounts.cpu_millis < UNBOUNDED:
        parts.append(f"{amounts.cpu_millis / 1000:g} processors")
    return ", ".join(parts)


def _are(count: int) -> str:
    return "the worker that can run it is" if count == 1 else f"the {count} workers that can run it are"


def lacking(needs: Needs, lacks: set[Misfit | None], count: int) -> str:
    """Why none of so many connected workers can run a job."""
    workers = "the connected worker" if count == 1 else f"any of the {count} connected workers"
    if Misfit.LABELS in lacks:
        labels = ", ".join(f"{key}={value}" for key, value in needs.labels)
        return f"the labels {labels} are not those of {workers}"
    if Misfit.CAPABILITY in lacks and needs.executor == "command":
        return f"program {needs.capability!r} is not allowed on {workers}; allow it with --allow-command"
    if Misfit.CAPABILITY in lacks and needs.executor == "claude":
        return f"environment profile {needs.capability!r} is not to be had on {workers}"
    if Misfit.CAPABILITY in lacks:
        return f"handler {needs.capability!r} is not registered on {workers}"
    if needs.executor == "claude":
        remedy = "install it, or start one with --claude PATH or --claude simulated"
        return f"Claude Code is not to be had on {workers}; {remedy}"
    return f"{needs.executor} tasks are not run by {workers}"
