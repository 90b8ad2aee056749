"""The state machine of a job: one table, and the fold of a log into a row.

Laws: a fact that the table does not allow raises `IllegalTransition` and changes nothing; a terminal state allows no
fact; every state but the terminal ones has a way to a terminal one; the fold reads nothing but the row and the fact.
"""

from collections.abc import Callable
from typing import Any

from headrace_server.core import facts
from headrace_server.core.deadlines import next_look
from headrace_server.core.facts import Fact
from headrace_server.core.ids import Micros
from headrace_server.core.job import NO_USAGE, Job, OpenInput, Usage
from headrace_server.core.retry import RetryAction
from headrace_server.core.states import ENDED, LEASED, WAITING, JobState

_STARTED = frozenset({JobState.RUNNING, JobState.WAITING_INPUT, JobState.CANCELLING})

ALLOWED: dict[type[Any], frozenset[JobState]] = {
    facts.Queued: frozenset({JobState.SCHEDULED, JobState.BLOCKED, JobState.QUEUED}),
    facts.Scheduled: frozenset({JobState.BLOCKED}),
    facts.Updated: WAITING,
    facts.Assigned: frozenset({JobState.QUEUED}),
    facts.Started: frozenset({JobState.ASSIGNED, JobState.CANCELLING}),
    facts.TimedOut: LEASED - {JobState.CANCELLING},
    facts.BudgetReached: _STARTED,
    facts.Snoozed: _STARTED,
    facts.Released: frozenset({JobState.ASSIGNED, JobState.CANCELLING}),
    facts.AttemptFailed: _STARTED,
    facts.AttemptLost: LEASED,
    facts.HandedBack: _STARTED,
    facts.InputRequested: _STARTED,
    facts.InputResolved: _STARTED,
    facts.CancelRequested: LEASED - {JobState.CANCELLING},
    facts.CancelStepped: _STARTED,
    facts.Produced: _STARTED,
    facts.Truncated: _STARTED,
    facts.Succeeded: frozenset({JobState.RUNNING, JobState.WAITING_INPUT}),
    facts.Failed: WAITING | LEASED - {JobState.CANCELLING},
    facts.Cancelled: WAITING | {JobState.CANCELLING},
    facts.Expired: WAITING,
    facts.Skipped: frozenset({JobState.BLOCKED}),
}
"""From which states a fact may come. `Submitted` comes first and only first."""


class IllegalTransition(AssertionError):
    """Our mistake: a fact that the job's state does not allow."""


def apply(job: Job, fact: Fact, now: Micros) -> None:
    """Folds the next fact of its log into a job. The fact's sequence is `job.sequence` afterwards."""
    if type(fact) is facts.Submitted:
        if job.sequence:
            raise IllegalTransition("a second submit")
    elif not job.sequence or job.state not in ALLOWED[type(fact)]:
        raise IllegalTransition(f"{type(fact).__name__} in {job.state.name}")
    _FOLDS[type(fact)](job, fact, now)
    job.sequence += 1
    job.updated = now
    job.wake = next_look(job)


def is_ended(job: Job) -> bool:
    """Whether nothing can happen to the job any more."""
    return job.state in ENDED


def _submitted(job: Job, fact: facts.Submitted, now: Micros) -> None:
    job.due = fact.due
    job.start_by = fact.start_by
    job.end_by = fact.end_by
    job.origin = fact.origin
    job.turn = fact.turn
    if fact.holder:
        job.holder = fact.holder
        job.due = job.due or fact.hold_until
    _wait(job, fact.state, now)


def _scheduled(job: Job, fact: facts.Scheduled, now: Micros) -> None:
    job.state = JobState.SCHEDULED
    job.due = fact.due


def _updated(job: Job, fact: facts.Updated, now: Micros) -> None:
    if not (job.holder and job.state is JobState.QUEUED and fact.state is JobState.QUEUED):
        # How long a turn waits for its worker is no part of what can be changed.
        job.due = fact.due
    job.start_by = fact.start_by
    job.end_by = fact.end_by
    job.priority = fact.priority
    if fact.rank is not None:
        job.rank = fact.rank
    if job.state is not JobState.BLOCKED and fact.state is not job.state:
        _wait(job, fact.state, now)


def _queued(job: Job, fact: facts.Queued, now: Micros) -> None:
    # A promotion may come late, e.g. because no server ran; the job could have started at its time.
    since = job.due if job.state is JobState.SCHEDULED and job.due else now
    if job.state is JobState.QUEUED:
        since = job.queued
    job.due = fact.hold_until
    lost = fact.cause is facts.QueuedCause.HOLDER_LOST
    job.holder = "" if lost else fact.holder or job.holder
    _wait(job, JobState.QUEUED, min(since, now))


def _assigned(job: Job, fact: facts.Assigned, now: Micros) -> None:
    job.state = JobState.ASSIGNED
    job.worker = fact.worker
    job.incarnation = fact.incarnation
    job.attempt += 1
    job.epoch += 1
    job.assigned = now
    job.begun = Micros(0)
    job.producer_sequence = 0
    job.report_number = 0
    job.asks = 0
    if not job.holder:
        # A resumed attempt goes on with what the one before has changed, and falls back into the same hold when it is
        # released. A turn may be resumed by any worker.
        job.dirty = job.dirty and job.turn is not None
        job.due = Micros(0)


def _started(job: Job, fact: facts.Started, now: Micros) -> None:
    if job.state is JobState.ASSIGNED:
        job.state = JobState.RUNNING
    if not job.started:
        job.started = now
    job.begun = now
    job.holder = ""
    job.due = Micros(0)
    job.run_by = fact.run_by
    job.silence = fact.silence


def _timed_out(job: Job, fact: facts.TimedOut, now: Micros) -> None:
    job.timed_out = fact.kind


def _budget_reached(job: Job, fact: facts.BudgetReached, now: Micros) -> None:
    """What follows is not the row's to say: who is stopped by a budget stands with what is reserved of it."""


def _snoozed(job: Job, fact: facts.Snoozed, now: Micros) -> None:
    _end_attempt(job, fact.usage)
    job.settled_epoch = job.epoch
    job.snoozes += 1
    if job.state is JobState.CANCELLING:
        return
    job.state = JobState.SCHEDULED
    job.due = fact.next_time
    _drop_lease(job)


def _released(job: Job, fact: facts.Released, now: Micros) -> None:
    if job.state is JobState.ASSIGNED:
        # It waits since it did before: that it was assigned meanwhile changes nothing.
        job.state = JobState.QUEUED
    job.attempt -= 1
    _drop_lease(job)


def _attempt_failed(job: Job, fact: facts.AttemptFailed, now: Micros) -> None:
    _end_attempt(job, fact.usage)
    job.settled_epoch = job.epoch
    job.failure = fact.failure
    if fact.decision.burns_attempt:
        job.failures += 1
    if fact.decision.action is RetryAction.FAIL or job.state is JobState.CANCELLING:
        return
    if fact.decision.action is RetryAction.RESUME:
        job.holder = job.worker
    job.state = JobState.SCHEDULED
    job.due = fact.next_time
    _drop_lease(job)


def _attempt_lost(job: Job, fact: facts.AttemptLost, now: Micros) -> None:
    _end_attempt(job, job.attempt_usage)
    job.losses += 1
    if job.state is JobState.CANCELLING:
        _drop_lease(job)
        return
    if fact.decision.action is RetryAction.FAIL:
        return
    _hold(job, fact.hold_until)
    _drop_lease(job)
    _wait(job, JobState.QUEUED, now)


def _handed_back(job: Job, fact: facts.HandedBack, now: Micros) -> None:
    _end_attempt(job, fact.usage)
    job.settled_epoch = job.epoch
    if fact.decision.action is RetryAction.FAIL or job.state is JobState.CANCELLING:
        return
    _hold(job, fact.hold_until)
    _drop_lease(job)
    _wait(job, JobState.QUEUED, now)


def _input_requested(job: Job, fact: facts.InputRequested, now: Micros) -> None:
    _reported(job, fact.report_number)
    job.open_inputs += (OpenInput(fact.request_id, fact.tool_name, fact.expires),)
    job.asks += 1
    if job.state is JobState.RUNNING:
        job.state = JobState.WAITING_INPUT
        job.asked = now


def _input_resolved(job: Job, fact: facts.InputResolved, now: Micros) -> None:
    _reported(job, fact.report_number)
    job.open_inputs = tuple(one for one in job.open_inputs if one.request_id != fact.request_id)
    if not job.open_inputs and job.state is JobState.WAITING_INPUT:
        job.state = JobState.RUNNING
        if job.run_by:
            # The clock of the attempt stood still meanwhile.
            job.run_by = Micros(job.run_by + max(0, now - job.asked))
        job.asked = Micros(0)


def _cancel_requested(job: Job, fact: facts.CancelRequested, now: Micros) -> None:
    job.state = JobState.CANCELLING
    job.cancellation = fact.cancellation


def _cancel_stepped(job: Job, fact: facts.CancelStepped, now: Micros) -> None:
    _reported(job, fact.report_number)


def _produced(job: Job, fact: facts.Produced, now: Micros) -> None:
    job.producer_sequence = fact.producer_sequence
    job.output_bytes += fact.size_bytes
    if fact.dirty:
        job.dirty = True
    if fact.simulated:
        job.simulated = True
    if fact.claude_session:
        job.claude_session = fact.claude_session
    if fact.progress is not None:
        job.progress = fact.progress
    if fact.usage is not None:
        job.attempt_usage = fact.usage


def _truncated(job: Job, fact: facts.Truncated, now: Micros) -> None:
    job.truncated = True


def _succeeded(job: Job, fact: facts.Succeeded, now: Micros) -> None:
    _end_attempt(job, fact.usage)
    job.settled_epoch = job.epoch
    job.failure = None
    _end(job, JobState.SUCCEEDED, now)


def _failed(job: Job, fact: facts.Failed | facts.Expired, now: Micros) -> None:
    job.failure = fact.failure
    _end(job, JobState.EXPIRED if type(fact) is facts.Expired else JobState.FAILED, now)


def _skipped(job: Job, fact: facts.Skipped, now: Micros) -> None:
    job.failure = fact.failure
    _end(job, JobState.SKIPPED, now)


def _cancelled(job: Job, fact: facts.Cancelled, now: Micros) -> None:
    if job.worker:
        # By its worker's word; what a lost or released attempt may still say comes too late (L2).
        job.settled_epoch = job.epoch
    _end_attempt(job, fact.usage)
    job.cancellation = fact.cancellation
    _end(job, JobState.CANCELLED, now)


def _end_attempt(job: Job, usage: Usage) -> None:
    job.usage += usage
    job.attempt_usage = NO_USAGE
    job.open_inputs = ()


def _reported(job: Job, report_number: int) -> None:
    if report_number:
        job.report_number = report_number


def _wait(job: Job, state: JobState, now: Micros) -> None:
    job.state = state
    if state is JobState.QUEUED:
        job.queued = now


def _hold(job: Job, until: Micros) -> None:
    """It waits for the worker that had it: it is resumed there, or its session is there."""
    if until:
        job.holder = job.worker
        job.due = until


def _drop_lease(job: Job) -> None:
    job.worker = ""
    job.incarnation = ""
    job.assigned = job.run_by = job.asked = Micros(0)
    job.silence = job.timed_out = 0


def _end(job: Job, state: JobState, now: Micros) -> None:
    job.state = state
    job.ended = now
    job.due = Micros(0)
    job.holder = ""
    _drop_lease(job)


_FOLDS: dict[type[Any], Callable[[Job, Any, Micros], None]] = {
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
    facts.Produced: _produced,
    facts.Truncated: _truncated,
    facts.Succeeded: _succeeded,
    facts.Failed: _failed,
    facts.Cancelled: _cancelled,
    facts.Expired: _failed,
    facts.Skipped: _skipped,
}
