"""`Event` messages of the contract as facts: what the fold of a stored log is checked with, and nothing else reads."""

from collections.abc import Callable

from headrace.v1 import event_pb2, job_pb2
from headrace_server.core import facts
from headrace_server.core.facts import Fact
from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.ids import Micros, parse_job_id
from headrace_server.core.job import CancelCause, Cancellation, Origin, Turn
from headrace_server.core.retry import Decision, RetryAction
from headrace_server.core.states import JobState
from headrace_server.store.codec import failure_of, micros_of, produced_of, time_of, usage_of


def decode(event: event_pb2.Event) -> Fact:
    """The fact of an event: what the fold of a stored log is checked with."""
    kind = event.WhichOneof("kind")
    if kind is None:
        raise ValueError(f"event {event.sequence} of {event.job_id} has no kind")
    if kind == "output":
        return produced_of(event.output)
    return _DECODERS[kind](event)


def _decision_of(message: job_pb2.RetryDecision, failure_class: FailureClass) -> Decision:
    action = RetryAction(message.action)
    burns_attempt = failure_class is not FailureClass.QUOTA or action is RetryAction.FAIL
    return Decision(action, message.rule, burns_attempt=burns_attempt)


def _decode_attempt_failed(event: event_pb2.Event) -> Fact:
    message = event.attempt_failed
    failure = failure_of(message.failure)
    return facts.AttemptFailed(
        failure,
        usage_of(message.usage),
        _decision_of(message.decision, failure.failure_class),
        time_of(message.decision.next_time),
    )


def _decode_cancel_requested(event: event_pb2.Event) -> Fact:
    message = event.cancel_requested
    return facts.CancelRequested(_cancellation(message, time_of(event.time)))


def _decode_cancelled(event: event_pb2.Event) -> Fact:
    message = event.cancelled.cancellation
    return facts.Cancelled(_cancellation(message, time_of(message.time)), usage_of(event.cancelled.usage))


def _cancellation(message: job_pb2.Cancellation | event_pb2.CancelRequested, time: Micros) -> Cancellation:
    superseded_by = parse_job_id(message.superseded_by_job_id) if message.superseded_by_job_id else None
    cause = CancelCause(message.cause) if message.cause else CancelCause.REQUESTED
    return Cancellation(message.reason, message.actor, time, cause, superseded_by)


def _decode_submitted(event: event_pb2.Event) -> Fact:
    message = event.submitted
    origin = Origin(
        parse_job_id(message.retry_of_job_id) if message.retry_of_job_id else None,
        message.schedule_name,
        time_of(message.nominal_time),
        message.catch_up,
    )
    return facts.Submitted(
        JobState(message.state),
        message.actor,
        time_of(message.due_time),
        time_of(message.start_deadline_time),
        time_of(message.end_deadline_time),
        origin,
        Turn(parse_job_id(message.session_id), message.turn, message.background) if message.session_id else None,
        message.holder_worker_id,
        time_of(message.hold_expire_time),
    )


def _decode_updated(event: event_pb2.Event) -> Fact:
    message = event.updated
    return facts.Updated(
        state=JobState(message.state),
        due=time_of(message.spec.schedule_time),
        start_by=time_of(message.start_deadline_time),
        end_by=time_of(message.end_deadline_time),
        priority=message.spec.priority,
        rank=None,
        body=message.SerializeToString(),
    )


_DECODERS: dict[str, Callable[[event_pb2.Event], Fact]] = {
    "submitted": _decode_submitted,
    "scheduled": lambda e: facts.Scheduled(time_of(e.scheduled.due_time)),
    "updated": _decode_updated,
    "queued": lambda e: facts.Queued(
        facts.QueuedCause(e.queued.cause), time_of(e.queued.hold_expire_time), e.queued.holder_worker_id
    ),
    "attempt_assigned": lambda e: facts.Assigned(
        e.attempt_assigned.worker_id,
        e.attempt_assigned.incarnation,
        e.attempt_assigned.rule,
        e.attempt_assigned.session_move.from_worker_id,
        e.attempt_assigned.session_move.snapshot_turn,
    ),
    "attempt_started": lambda e: facts.Started(
        e.attempt_started.worker_id,
        time_of(e.attempt_started.run_deadline_time),
        micros_of(e.attempt_started.silence_timeout),
    ),
    "attempt_timed_out": lambda e: facts.TimedOut(
        TimeoutKind(e.attempt_timed_out.timeout), e.attempt_timed_out.message
    ),
    "budget_reached": lambda e: facts.BudgetReached(e.budget_reached.SerializeToString()),
    "attempt_snoozed": lambda e: facts.Snoozed(
        e.attempt_snoozed.reason, time_of(e.attempt_snoozed.next_time), usage_of(e.attempt_snoozed.usage)
    ),
    "attempt_released": lambda e: facts.Released(
        facts.ReleaseCause(e.attempt_released.cause), e.attempt_released.message
    ),
    "attempt_failed": _decode_attempt_failed,
    "attempt_lost": lambda e: facts.AttemptLost(
        e.attempt_lost.worker_id,
        e.attempt_lost.reason,
        _decision_of(e.attempt_lost.decision, FailureClass.WORKER_LOST),
        time_of(e.attempt_lost.hold_expire_time),
    ),
    "input_requested": lambda e: facts.InputRequested(
        e.input_requested.request.request_id,
        e.input_requested.SerializeToString(),
        e.report_number,
        e.input_requested.request.tool_name,
        time_of(e.input_requested.expire_time),
    ),
    "input_resolved": lambda e: facts.InputResolved(
        e.input_resolved.request_id, e.input_resolved.SerializeToString(), e.report_number
    ),
    "attempt_handed_back": lambda e: facts.HandedBack(
        e.attempt_handed_back.worker_id,
        usage_of(e.attempt_handed_back.usage),
        _decision_of(e.attempt_handed_back.decision, FailureClass.UNSPECIFIED),
        time_of(e.attempt_handed_back.hold_expire_time),
    ),
    "cancel_requested": _decode_cancel_requested,
    "cancel_stepped": lambda e: facts.CancelStepped(e.cancel_stepped.SerializeToString(), e.report_number),
    "output_truncated": lambda e: facts.Truncated(e.output_truncated.output_bytes_max),
    "succeeded": lambda e: facts.Succeeded(e.succeeded.result.SerializeToString(), usage_of(e.succeeded.usage)),
    "failed": lambda e: facts.Failed(failure_of(e.failed.failure)),
    "cancelled": _decode_cancelled,
    "expired": lambda e: facts.Expired(failure_of(e.expired.failure)),
    "skipped": lambda e: facts.Skipped(failure_of(e.skipped.failure), parse_job_id(e.skipped.dependency_job_id)),
}
