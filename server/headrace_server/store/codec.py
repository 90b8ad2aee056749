"""Facts as `Event` messages of the contract, and back. The bytes made here are what is stored and what followers get.

Attributes are set one by one, because nested constructor calls cost three times as much and this runs for every event.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.v1 import event_pb2, job_pb2, outcome_pb2
from headrace_server.core import facts
from headrace_server.core.facts import Fact
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import Micros, job_id_text
from headrace_server.core.job import NO_USAGE, Cancellation, Failure, Job, Progress, Usage, bounded_usage
from headrace_server.core.limits import KEY_CHARACTERS_MAX, REASON_CHARACTERS_MAX
from headrace_server.core.retry import Decision, RetryAction
from headrace_server.core.states import JobState
from headrace_server.store.wire import output_event


def encode(job: Job, fact: Fact, position: int, now: Micros, of_attempt: bool) -> bytes:
    """The event of a fact that was just folded into its job. `of_attempt`: a worker held the job when it came."""
    event = event_pb2.Event()
    event.job_id = job_id_text(job.id)
    event.sequence = job.sequence
    event.position = position
    set_time(event.time, now)
    if of_attempt:
        event.attempt = job.attempt if type(fact) is not facts.Released else job.attempt + 1
        event.epoch = job.epoch
    if type(fact) is facts.Produced:
        return output_event(event.SerializeToString(), fact.body)
    _ENCODERS[type(fact)](event, fact)
    return event.SerializeToString()


def number(value: IntEnum) -> Any:
    """An enum of the core as the contract's enum, whose numbers it shares."""
    return int(value)


def set_time(message: Timestamp, time: Micros) -> None:
    """Sets a timestamp; leaves it empty for a time that never was."""
    if time:
        message.seconds = time // 1_000_000
        message.nanos = time % 1_000_000 * 1000


def time_of(message: Timestamp) -> Micros:
    """Reads a timestamp; what is below a microsecond is dropped."""
    return Micros(message.seconds * 1_000_000 + message.nanos // 1000)


def usage_message(usage: Usage) -> outcome_pb2.Usage:
    """The contract's form of a usage."""
    message = outcome_pb2.Usage(
        turns=usage.turns,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_creation_tokens=usage.cache_creation_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cost_usd_micros=usage.cost_usd_micros,
        tool_calls=usage.tool_calls,
    )
    if usage.api_micros:
        message.api_duration.FromMicroseconds(usage.api_micros)
    return message


def usage_of(message: outcome_pb2.Usage) -> Usage:
    """Reads a usage."""
    if not message.ByteSize():
        return NO_USAGE
    return bounded_usage(
        message.turns,
        message.input_tokens,
        message.output_tokens,
        message.cache_creation_tokens,
        message.cache_read_tokens,
        message.cost_usd_micros,
        micros_of(message.api_duration),
        message.tool_calls,
    )


def micros_of(message: Duration) -> int:
    """Reads a duration."""
    return message.seconds * 1_000_000 + message.nanos // 1000


def failure_of(message: outcome_pb2.Failure) -> Failure:
    """Reads a failure; a class that this server does not know is taken for an ERROR, which nothing retries by
    itself."""
    try:
        failure_class = FailureClass(message.failure_class)
    except ValueError:
        failure_class = FailureClass.ERROR
    return Failure(failure_class, message.SerializeToString())


def cancellation_message(cancellation: Cancellation) -> job_pb2.Cancellation:
    """The contract's form of a cancellation."""
    message = job_pb2.Cancellation(
        reason=cancellation.reason, actor=cancellation.actor, cause=job_pb2.CANCEL_CAUSE_REQUESTED
    )
    set_time(message.time, cancellation.time)
    return message


def _decision(message: job_pb2.RetryDecision, decision: Decision, next_time: Micros) -> None:
    message.action = number(decision.action)
    message.rule = decision.rule
    if next_time:
        set_time(message.next_time, next_time)


def _decision_of(message: job_pb2.RetryDecision, failure_class: FailureClass) -> Decision:
    action = RetryAction(message.action)
    burns_attempt = failure_class is not FailureClass.QUOTA or action is RetryAction.FAIL
    return Decision(action, message.rule, burns_attempt=burns_attempt)


def _submitted(event: event_pb2.Event, fact: facts.Submitted) -> None:
    event.submitted.state = number(fact.state)
    event.submitted.actor = fact.actor
    if fact.due:
        set_time(event.submitted.due_time, fact.due)


def _queued(event: event_pb2.Event, fact: facts.Queued) -> None:
    event.queued.cause = number(fact.cause)
    if fact.hold_until:
        set_time(event.queued.hold_expire_time, fact.hold_until)


def _assigned(event: event_pb2.Event, fact: facts.Assigned) -> None:
    event.attempt_assigned.worker_id = fact.worker
    event.attempt_assigned.incarnation = fact.incarnation
    event.attempt_assigned.rule = fact.rule


def _started(event: event_pb2.Event, fact: facts.Started) -> None:
    event.attempt_started.worker_id = fact.worker


def _released(event: event_pb2.Event, fact: facts.Released) -> None:
    event.attempt_released.cause = number(fact.cause)
    event.attempt_released.message = fact.message


def _attempt_failed(event: event_pb2.Event, fact: facts.AttemptFailed) -> None:
    event.attempt_failed.failure.ParseFromString(fact.failure.body)
    event.attempt_failed.usage.CopyFrom(usage_message(fact.usage))
    _decision(event.attempt_failed.decision, fact.decision, fact.next_time)


def _attempt_lost(event: event_pb2.Event, fact: facts.AttemptLost) -> None:
    event.attempt_lost.worker_id = fact.worker
    event.attempt_lost.reason = fact.reason
    _decision(event.attempt_lost.decision, fact.decision, Micros(0))
    if fact.hold_until:
        set_time(event.attempt_lost.hold_expire_time, fact.hold_until)


def _handed_back(event: event_pb2.Event, fact: facts.HandedBack) -> None:
    event.attempt_handed_back.worker_id = fact.worker
    event.attempt_handed_back.usage.CopyFrom(usage_message(fact.usage))
    _decision(event.attempt_handed_back.decision, fact.decision, Micros(0))
    if fact.hold_until:
        set_time(event.attempt_handed_back.hold_expire_time, fact.hold_until)


def _input_requested(event: event_pb2.Event, fact: facts.InputRequested) -> None:
    event.report_number = fact.report_number
    event.input_requested.ParseFromString(fact.body)


def _input_resolved(event: event_pb2.Event, fact: facts.InputResolved) -> None:
    event.report_number = fact.report_number
    event.input_resolved.ParseFromString(fact.body)


def _cancel_requested(event: event_pb2.Event, fact: facts.CancelRequested) -> None:
    event.cancel_requested.reason = fact.cancellation.reason
    event.cancel_requested.actor = fact.cancellation.actor


def _cancel_stepped(event: event_pb2.Event, fact: facts.CancelStepped) -> None:
    event.report_number = fact.report_number
    event.cancel_stepped.ParseFromString(fact.body)


def _truncated(event: event_pb2.Event, fact: facts.Truncated) -> None:
    event.output_truncated.output_bytes_max = fact.output_bytes_max


def _succeeded(event: event_pb2.Event, fact: facts.Succeeded) -> None:
    event.succeeded.result.ParseFromString(fact.body)
    event.succeeded.usage.CopyFrom(usage_message(fact.usage))


def _failed(event: event_pb2.Event, fact: facts.Failed) -> None:
    event.failed.failure.ParseFromString(fact.failure.body)


def _cancelled(event: event_pb2.Event, fact: facts.Cancelled) -> None:
    event.cancelled.cancellation.CopyFrom(cancellation_message(fact.cancellation))
    event.cancelled.usage.CopyFrom(usage_message(fact.usage))


def _expired(event: event_pb2.Event, fact: facts.Expired) -> None:
    event.expired.failure.ParseFromString(fact.failure.body)


_ENCODERS: dict[type[Any], Callable[[event_pb2.Event, Any], None]] = {
    facts.Submitted: _submitted,
    facts.Queued: _queued,
    facts.Assigned: _assigned,
    facts.Started: _started,
    facts.Released: _released,
    facts.AttemptFailed: _attempt_failed,
    facts.AttemptLost: _attempt_lost,
    facts.HandedBack: _handed_back,
    facts.InputRequested: _input_requested,
    facts.InputResolved: _input_resolved,
    facts.CancelRequested: _cancel_requested,
    facts.CancelStepped: _cancel_stepped,
    facts.Truncated: _truncated,
    facts.Succeeded: _succeeded,
    facts.Failed: _failed,
    facts.Cancelled: _cancelled,
    facts.Expired: _expired,
}


def produced_of(output: event_pb2.Output) -> facts.Produced:
    """Reads a piece of output as a worker sent it."""
    kind = output.WhichOneof("kind")
    size = 0
    session = ""
    simulated = False
    progress: Progress | None = None
    usage: Usage | None = None
    if kind == "chunk":
        size = len(output.chunk.data)
    elif kind == "claude":
        simulated = output.claude.simulated
        size = len(output.claude.raw_json) + len(output.claude.raw_bytes)
        if output.claude.WhichOneof("kind") == "init":
            session = output.claude.init.claude_session_id
            if len(session) > KEY_CHARACTERS_MAX:
                session = ""
    elif kind == "progress":
        progress = Progress(
            output.progress.done, output.progress.total, output.progress.message[:REASON_CHARACTERS_MAX]
        )
    elif kind == "usage":
        usage = usage_of(output.usage)
    return facts.Produced(
        output.producer_sequence, size, output.SerializeToString(), output.dirty, simulated, session, progress, usage
    )


def decode(event: event_pb2.Event) -> Fact:
    """The fact of an event: what the fold of a stored log is checked with."""
    kind = event.WhichOneof("kind")
    if kind is None:
        raise ValueError(f"event {event.sequence} of {event.job_id} has no kind")
    if kind == "output":
        return produced_of(event.output)
    return _DECODERS[kind](event)


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
    return facts.CancelRequested(Cancellation(message.reason, message.actor, time_of(event.time)))


def _decode_cancelled(event: event_pb2.Event) -> Fact:
    message = event.cancelled.cancellation
    return facts.Cancelled(
        Cancellation(message.reason, message.actor, time_of(message.time)), usage_of(event.cancelled.usage)
    )


_DECODERS: dict[str, Callable[[event_pb2.Event], Fact]] = {
    "submitted": lambda e: facts.Submitted(
        JobState(e.submitted.state), e.submitted.actor, time_of(e.submitted.due_time)
    ),
    "queued": lambda e: facts.Queued(facts.QueuedCause(e.queued.cause), time_of(e.queued.hold_expire_time)),
    "attempt_assigned": lambda e: facts.Assigned(
        e.attempt_assigned.worker_id, e.attempt_assigned.incarnation, e.attempt_assigned.rule
    ),
    "attempt_started": lambda e: facts.Started(e.attempt_started.worker_id),
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
        e.input_requested.request.request_id, e.input_requested.SerializeToString(), e.report_number
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
}
