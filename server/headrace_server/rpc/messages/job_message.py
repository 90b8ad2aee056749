"""A job as the contract's message, in both views, and its attempts as its log tells them."""

from collections.abc import Iterable

from headrace.v1 import event_pb2, job_pb2, outcome_pb2, worker_service_pb2
from headrace_server.core.ids import Micros, job_id_text
from headrace_server.core.job import PLAIN, Job, Origin
from headrace_server.core.states import JobState
from headrace_server.store.codec import cancellation_message, number, set_time, set_usage

ATTEMPTS_COUNT_MAX = 20


def job_message(job: Job, spec: bytes, *, full: bool) -> job_pb2.Job:
    """A job; `full` is JOB_VIEW_FULL as far as the row and the spec have it."""
    message = job_pb2.Job()
    message.id = job_id_text(job.id)
    message.namespace = job.namespace
    message.spec.ParseFromString(spec)
    message.state = number(job.state)
    message.etag = str(job.sequence)
    for field, time in (
        (message.create_time, job.created),
        (message.update_time, job.updated),
        (message.start_time, job.started),
        (message.end_time, job.ended),
    ):
        if time:
            set_time(field, time)
    if job.state is JobState.SCHEDULED:
        set_time(message.due_time, job.due)
    message.attempt_count = job.attempt
    message.snooze_count = job.snoozes
    message.failure_count = job.failures
    message.loss_count = job.losses
    message.epoch = job.epoch
    message.worker_id = job.worker
    message.last_sequence = job.sequence
    message.output_bytes = job.output_bytes
    message.output_truncated = job.truncated
    message.simulated = job.simulated
    message.dirty = job.dirty
    message.claude_session_id = job.claude_session
    set_usage(message.usage, job.usage + job.attempt_usage)
    _set_optional(message, job)
    if not full:
        _strip(message)
    return message


def state_count(state: int, jobs: int) -> job_pb2.StateCount:
    """How many jobs are in a state."""
    return job_pb2.StateCount(state=number(JobState(state)), count=jobs)


def attempts_of(events: Iterable[event_pb2.Event], late: Iterable[tuple[int, int, bytes]]) -> list[job_pb2.Attempt]:
    """The attempts of a job, newest first, from its events without output; late results by epoch."""
    attempts: dict[int, job_pb2.Attempt] = {}
    for event in events:
        kind = event.WhichOneof("kind")
        if kind == "attempt_assigned":
            attempts[event.epoch] = job_pb2.Attempt(
                number=event.attempt,
                epoch=event.epoch,
                worker_id=event.attempt_assigned.worker_id,
                assign_time=event.time,
            )
        elif event.epoch in attempts:
            _tell(attempts[event.epoch], event, kind or "")
    for epoch, received, body in late:
        if epoch in attempts:
            _tell_late(attempts[epoch], received, worker_service_pb2.AttemptFinish.FromString(body))
    return sorted(attempts.values(), key=lambda attempt: -attempt.epoch)[:ATTEMPTS_COUNT_MAX]


def _set_optional(message: job_pb2.Job, job: Job) -> None:
    if job.cancellation is not None:
        message.cancellation.CopyFrom(cancellation_message(job.cancellation))
    if job.failure is not None:
        message.failure.ParseFromString(job.failure.body)
    if job.progress is not None:
        message.progress.done = job.progress.done
        message.progress.total = job.progress.total
        message.progress.message = job.progress.message
    if job.origin is not PLAIN:
        _set_origin(message, job.origin)
    if job.turn is not None:
        message.session_id = job_id_text(job.turn.session_id)
        message.turn = job.turn.number
        message.background = job.turn.background
    for one in job.open_inputs:
        summary = message.open_inputs.add(request_id=one.request_id, tool_name=one.tool_name)
        set_time(summary.expire_time, one.expires)
    if job.start_by:
        set_time(message.start_deadline_time, job.start_by)
    if job.end_by:
        set_time(message.end_deadline_time, job.end_by)


def _set_origin(message: job_pb2.Job, origin: Origin) -> None:
    if origin.retry_of is not None:
        message.retry_of_job_id = job_id_text(origin.retry_of)
    message.schedule_name = origin.schedule
    if origin.nominal_time:
        set_time(message.nominal_time, origin.nominal_time)
    message.catch_up = origin.catch_up


_LEFT_OUT = {
    "claude": ("prompt", "append_system_prompt", "output_schema"),
    "command": ("stdin",),
    "handler": ("input",),
}
"""Fields of a task that JOB_VIEW_BASIC does not have."""


def _strip(message: job_pb2.Job) -> None:
    """Leaves out what JOB_VIEW_BASIC does not have."""
    if message.HasField("failure"):
        message.failure.ClearField("detail")
        message.failure.ClearField("partial_result")
    task = message.spec.WhichOneof("task")
    if task is not None:
        for field in _LEFT_OUT[task]:
            getattr(message.spec, task).ClearField(field)


_OUTCOMES = {
    "succeeded": job_pb2.ATTEMPT_OUTCOME_SUCCEEDED,
    "attempt_failed": job_pb2.ATTEMPT_OUTCOME_FAILED,
    "attempt_lost": job_pb2.ATTEMPT_OUTCOME_LOST,
    "attempt_released": job_pb2.ATTEMPT_OUTCOME_RELEASED,
    "attempt_handed_back": job_pb2.ATTEMPT_OUTCOME_HANDED_BACK,
    "attempt_snoozed": job_pb2.ATTEMPT_OUTCOME_SNOOZED,
    "cancelled": job_pb2.ATTEMPT_OUTCOME_CANCELLED,
}


def _tell(attempt: job_pb2.Attempt, event: event_pb2.Event, kind: str) -> None:
    if kind == "attempt_started":
        attempt.start_time.CopyFrom(event.time)
        return
    outcome = _OUTCOMES.get(kind)
    if outcome is None or attempt.outcome:
        return
    attempt.outcome = outcome
    attempt.end_time.CopyFrom(event.time)
    if kind in ("succeeded", "attempt_failed", "attempt_handed_back", "attempt_snoozed", "cancelled"):
        attempt.usage.CopyFrom(getattr(event, kind).usage)
    if kind in ("attempt_failed", "attempt_lost"):
        attempt.decision.CopyFrom(getattr(event, kind).decision)
    if kind == "attempt_failed":
        attempt.failure.CopyFrom(event.attempt_failed.failure)
        attempt.failure.ClearField("partial_result")
    elif kind == "attempt_lost":
        attempt.failure.failure_class = outcome_pb2.FAILURE_CLASS_WORKER_LOST
        attempt.failure.message = event.attempt_lost.reason


_LATE_OUTCOMES = {
    "succeeded": job_pb2.ATTEMPT_OUTCOME_SUCCEEDED,
    "failed": job_pb2.ATTEMPT_OUTCOME_FAILED,
    "cancelled": job_pb2.ATTEMPT_OUTCOME_CANCELLED,
    "returned": job_pb2.ATTEMPT_OUTCOME_HANDED_BACK,
    "snoozed": job_pb2.ATTEMPT_OUTCOME_SNOOZED,
}


def _tell_late(attempt: job_pb2.Attempt, received: int, finish: worker_service_pb2.AttemptFinish) -> None:
    late = attempt.late_result
    set_time(late.time, Micros(received))
    kind = finish.WhichOneof("outcome")
    late.outcome = _LATE_OUTCOMES[kind or "cancelled"]
    if kind == "failed":
        late.failure.CopyFrom(finish.failed)
        late.failure.ClearField("partial_result")
