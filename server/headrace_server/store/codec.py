"""Facts as `Event` messages of the contract: the bytes made here are what is stored and what followers get.

Attributes are set one by one, because nested constructor calls cost three times as much and this runs for every event;
a message inside another one is looked up once.
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
from headrace_server.core.job import (
    NO_USAGE,
    PLAIN,
    Cancellation,
    Failure,
    Job,
    Origin,
    Progress,
    Usage,
    bounded_usage,
)
from headrace_server.core.limits import KEY_CHARACTERS_MAX, REASON_CHARACTERS_MAX
from headrace_server.core.retry import Decision
from headrace_server.store.records.output_kinds import kind_of
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


def set_usage(message: outcome_pb2.Usage, usage: Usage) -> None:
    """Sets a usage, which is there also when nothing was used."""
    message.SetInParent()
    if usage is not NO_USAGE:
        message.CopyFrom(usage_message(usage))


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
        reason=cancellation.reason, actor=cancellation.actor, cause=number(cancellation.cause)
    )
    set_time(message.time, cancellation.time)
    if cancellation.superseded_by is not None:
        message.superseded_by_job_id = job_id_text(cancellation.superseded_by)
    return message


def _decision(message: job_pb2.RetryDecision, decision: Decision, next_time: Micros) -> None:
    message.action = number(decision.action)
    message.rule = decision.rule
    if next_time:
        set_time(message.next_time, next_time)


def _submitted(event: event_pb2.Event, fact: facts.Submitted) -> None:
    message = event.submitted
    message.state = number(fact.state)
    message.actor = fact.actor
    if fact.due:
        set_time(message.due_time, fact.due)
    if fact.start_by:
        set_time(message.start_deadline_time, fact.start_by)
    if fact.end_by:
        set_time(message.end_deadline_time, fact.end_by)
    if fact.origin is not PLAIN:
        _origin(message, fact.origin)
    if fact.turn is not None:
        message.session_id = job_id_text(fact.turn.session_id)
        message.turn = fact.turn.number
        message.background = fact.turn.background
    if fact.holder:
        message.holder_worker_id = fact.holder
        set_time(message.hold_expire_time, fact.hold_until)


def _origin(message: event_pb2.JobSubmitted, origin: Origin) -> None:
    if origin.retry_of is not None:
        message.retry_of_job_id = job_id_text(origin.retry_of)
    if origin.schedule:
        message.schedule_name = origin.schedule
        message.catch_up = origin.catch_up
    if origin.nominal_time:
        set_time(message.nominal_time, origin.nominal_time)


def _scheduled(event: event_pb2.Event, fact: facts.Scheduled) -> None:
    set_time(event.scheduled.due_time, fact.due)


def _updated(event: event_pb2.Event, fact: facts.Updated) -> None:
    event.updated.ParseFromString(fact.body)
    event.updated.state = number(fact.state)
    event.updated.spec.priority = fact.priority
    if fact.due:
        set_time(event.updated.spec.schedule_time, fact.due)
    if fact.start_by:
        set_time(event.updated.start_deadline_time, fact.start_by)
    if fact.end_by:
        set_time(event.updated.end_deadline_time, fact.end_by)


def _queued(event: event_pb2.Event, fact: facts.Queued) -> None:
    event.queued.cause = number(fact.cause)
    event.queued.holder_worker_id = fact.holder
    if fact.hold_until:
        set_time(event.queued.hold_expire_time, fact.hold_until)


def _assigned(event: event_pb2.Event, fact: facts.Assigned) -> None:
    message = event.attempt_assigned
    message.worker_id = fact.worker
    message.incarnation = fact.incarnation
    message.rule = fact.rule
    if fact.moved_from:
        message.session_move.from_worker_id = fact.moved_from
        message.session_move.snapshot_turn = fact.snapshot_turn


def _started(event: event_pb2.Event, fact: facts.Started) -> None:
    event.attempt_started.worker_id = fact.worker
    if fact.run_by:
        set_time(event.attempt_started.run_deadline_time, fact.run_by)
    if fact.silence:
        event.attempt_started.silence_timeout.FromMicroseconds(fact.silence)


def _timed_out(event: event_pb2.Event, fact: facts.TimedOut) -> None:
    event.attempt_timed_out.timeout = number(fact.kind)
    event.attempt_timed_out.message = fact.message


def _budget_reached(event: event_pb2.Event, fact: facts.BudgetReached) -> None:
    event.budget_reached.ParseFromString(fact.body)


def _snoozed(event: event_pb2.Event, fact: facts.Snoozed) -> None:
    event.attempt_snoozed.reason = fact.reason
    set_time(event.attempt_snoozed.next_time, fact.next_time)
    set_usage(event.attempt_snoozed.usage, fact.usage)


def _released(event: event_pb2.Event, fact: facts.Released) -> None:
    event.attempt_released.cause = number(fact.cause)
    event.attempt_released.message = fact.message


def _attempt_failed(event: event_pb2.Event, fact: facts.AttemptFailed) -> None:
    event.attempt_failed.failure.ParseFromString(fact.failure.body)
    set_usage(event.attempt_failed.usage, fact.usage)
    _decision(event.attempt_failed.decision, fact.decision, fact.next_time)


def _attempt_lost(event: event_pb2.Event, fact: facts.AttemptLost) -> None:
    event.attempt_lost.worker_id = fact.worker
    event.attempt_lost.reason = fact.reason
    _decision(event.attempt_lost.decision, fact.decision, Micros(0))
    if fact.hold_until:
        set_time(event.attempt_lost.hold_expire_time, fact.hold_until)


def _handed_back(event: event_pb2.Event, fact: facts.HandedBack) -> None:
    event.attempt_handed_back.worker_id = fact.worker
    set_usage(event.attempt_handed_back.usage, fact.usage)
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
    message, cancellation = event.cancel_requested, fact.cancellation
    message.reason = cancellation.reason
    message.actor = cancellation.actor
    message.cause = number(cancellation.cause)
    if cancellation.superseded_by is not None:
        message.superseded_by_job_id = job_id_text(cancellation.superseded_by)


def _cancel_stepped(event: event_pb2.Event, fact: facts.CancelStepped) -> None:
    event.report_number = fact.report_number
    event.cancel_stepped.ParseFromString(fact.body)


def _truncated(event: event_pb2.Event, fact: facts.Truncated) -> None:
    event.output_truncated.output_bytes_max = fact.output_bytes_max


def _succeeded(event: event_pb2.Event, fact: facts.Succeeded) -> None:
    message = event.succeeded
    message.result.ParseFromString(fact.body)
    set_usage(message.usage, fact.usage)


def _failed(event: event_pb2.Event, fact: facts.Failed) -> None:
    event.failed.failure.ParseFromString(fact.failure.body)


def _cancelled(event: event_pb2.Event, fact: facts.Cancelled) -> None:
    event.cancelled.cancellation.CopyFrom(cancellation_message(fact.cancellation))
    set_usage(event.cancelled.usage, fact.usage)


def _expired(event: event_pb2.Event, fact: facts.Expired) -> None:
    event.expired.failure.ParseFromString(fact.failure.body)


def _skipped(event: event_pb2.Event, fact: facts.Skipped) -> None:
    event.skipped.failure.ParseFromString(fact.failure.body)
    event.skipped.dependency_job_id = job_id_text(fact.dependency)


_ENCODERS: dict[type[Any], Callable[[event_pb2.Event, Any], None]] = {
    facts.Submitted: _submitted,
    facts.Scheduled: _scheduled,
    facts.Updated: _updated,
    facts.Queued: _queued,
    facts.Assigned: _assigned,
    facts.Started: _started,
    facts.TimedOut: _timed_out,
    facts.BudgetReached: _budget_reached,
    facts.Snoozed: _snoozed,
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
    facts.Skipped: _skipped,
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
    elif kind == "checkpoint":
        size = output.checkpoint.ByteSize()
    return facts.Produced(
        output.producer_sequence,
        size,
        output.SerializeToString(),
        output.dirty,
        simulated,
        session,
        progress,
        usage,
        kind_of(output),
    )
