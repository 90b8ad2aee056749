"""Granting, starting, ending and losing attempts: every word of a worker is checked against the lease (L1, L2, L6,
R1–R6)."""

from dataclasses import dataclass, field
from enum import IntEnum

from headrace.v1 import job_pb2, outcome_pb2, task_pb2
from headrace_server.core import facts
from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import Failure, Job, Usage
from headrace_server.core.limits import RESULT_BYTES_MAX
from headrace_server.core.placement import Offer
from headrace_server.core.retry import (
    OUT_OF_TIME,
    Decision,
    EndedAttempt,
    ResumePolicy,
    RetryAction,
    RetryPolicy,
    decide_after_failure,
    decide_after_loss,
    decide_after_return,
    decide_after_snooze,
    is_poison,
)
from headrace_server.core.states import LEASED, JobState
from headrace_server.store.attempts.timeouts import timeout_failure, timeouts_of_job
from headrace_server.store.capacity.budgets import budgets
from headrace_server.store.capacity.reservations import is_stopped, note_end
from headrace_server.store.capacity.words import note_words
from headrace_server.store.codec import failure_of, micros_of, number
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import policy_of, retry_policy_of
from headrace_server.store.records.audit import record_audit
from headrace_server.store.sessions.bindings import (
    NO_MOVE,
    bind,
    give_up_holder,
    hold_after_loss,
    hold_for_resume,
    note_failure,
    note_run,
    note_start,
)

BEGUN_ONCE = Decision(RetryAction.FAIL, "the CLI began this turn by itself; nobody can begin it again")


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof that a worker may act on an attempt."""

    job_id: JobId
    epoch: int
    generation: int
    attempt: int = field(default=0, compare=False)
    """Number of the attempt; said back to the worker, never judged by."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A start of a worker: whose word it is."""

    worker: str
    incarnation: str


class Disposition(IntEnum):
    """What became of a finish; numbers are those of `FinishDisposition` in worker_service.proto."""

    ACCEPTED = 1
    STALE = 2
    OUTPUT_MISSING = 3
    INVALID = 4


@dataclass(frozen=True, slots=True)
class Snooze:
    """The work put itself off."""

    delay_micros: int
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """A worker's word that an attempt ended: with one of `succeeded`, `failed`, `cancelled` and `snoozed`; else it was
    returned."""

    lease: Lease
    succeeded: bytes | None
    """The `Result`."""
    failed: Failure | None
    cancelled: bool
    usage: Usage
    last_producer_sequence: int
    last_report_number: int
    body: bytes
    """The whole of it, kept when it comes too late."""
    snoozed: Snooze | None = None
    unreadable: bool = False
    """The result is nested deeper than whatever would carry it can be, or holds a number that JSON does not have."""
    first_token: int | None = None
    """Microseconds until the model's first word, where a model answered."""


def held(ledger: Ledger, holder: Holder, lease: Lease) -> Job | None:
    """The job of a lease, when it is the live one and this worker's; else None."""
    if lease.generation != ledger.generation:
        return None
    job = ledger.job(lease.job_id)
    if job is None or job.epoch != lease.epoch or job.state not in LEASED:
        return None
    return job if (job.worker, job.incarnation) == (holder.worker, holder.incarnation) else None


def grant(ledger: Ledger, job: Job, offer: Offer, rule: str) -> None:
    """Grants a QUEUED job to a worker; from here on it counts as started."""
    move = bind(ledger, job, offer) if job.turn is not None else NO_MOVE
    ledger.record(job, facts.Assigned(offer.worker, offer.incarnation, rule, move.from_worker, move.snapshot_turn))


def start(ledger: Ledger, job: Job) -> None:
    """Takes note that the attempt has started. Output, reports and finish imply it, and it may be said again."""
    if not job.begun:
        timeouts = timeouts_of_job(ledger, job)
        run_by = Micros(ledger.now + timeouts.run) if timeouts.run else Micros(0)
        ledger.record(job, facts.Started(job.worker, run_by, timeouts.silence or 0))
        if job.turn is not None:
            note_start(ledger, job)


def release(ledger: Ledger, job: Job, cause: facts.ReleaseCause, message: str) -> None:
    """Takes an assignment back that never started; burns no attempt (L3)."""
    if job.begun:
        return
    ledger.record(job, facts.Released(cause, message))
    if job.state is JobState.CANCELLING:
        _cancelled(ledger, job, Usage())


def lose(ledger: Ledger, job: Job, reason: str) -> None:
    """Ends the lease of an attempt whose worker is gone (L6)."""
    if not job.begun:
        release(ledger, job, facts.ReleaseCause.NOT_CONFIRMED, reason)
        return
    begun = job.begun
    ended = _ended_attempt(ledger, job, FailureClass.WORKER_LOST, None)
    decision = _in_time(ledger, job, _once(job, decide_after_loss(ended, job.losses + 1)))
    ledger.record(job, facts.AttemptLost(job.worker, reason, decision, _hold_until(ledger, job, decision)))
    if job.state is JobState.CANCELLING:
        _cancelled(ledger, job, Usage())
    elif decision.action is RetryAction.FAIL:
        ledger.record(job, facts.Failed(_failure_of_loss(job, decision)))
    note_run(ledger, job, begun)


def finish(ledger: Ledger, holder: Holder, word: Finish) -> tuple[Disposition, int]:
    """Ends an attempt by its worker's word; says what became of it and which output is committed."""
    job = held(ledger, holder, word.lease)
    if job is None:
        return _late(ledger, holder, word), 0
    if word.last_producer_sequence > job.producer_sequence or word.last_report_number > job.report_number:
        return Disposition.OUTPUT_MISSING, job.producer_sequence
    start(ledger, job)
    if budgets(ledger):
        _tell_budgets(ledger, job, word)
    disposition, begun = Disposition.ACCEPTED, job.begun
    if word.succeeded is not None:
        disposition = _succeed(ledger, job, holder, word, word.succeeded)
    elif word.failed is not None and word.failed.failure_class is FailureClass.WORKER_LOST:
        # Its worker ended it before its lease could end: a loss of the infrastructure's, not a failure of the job's
        # (L6).
        lose(ledger, job, outcome_pb2.Failure.FromString(word.failed.body).message)
    elif word.failed is not None:
        _fail_attempt(ledger, job, word.failed, word.usage)
    elif job.state is JobState.CANCELLING:
        _cancelled(ledger, job, word.usage)
    elif word.snoozed is not None:
        _snooze(ledger, job, word.snoozed, word.usage)
    elif job.timed_out:
        kind = TimeoutKind(job.timed_out)
        _fail_attempt(ledger, job, timeout_failure(kind), word.usage, kind)
    elif is_stopped(ledger, job):
        message = "the attempt has used more than it had reserved of a budget, or than was left of one"
        _fail_attempt(ledger, job, _failure(FailureClass.BUDGET, message, "budget"), word.usage)
    else:
        _hand_back(ledger, job, word.usage)
    if job.turn is not None:
        note_run(ledger, job, begun)
    return disposition, job.producer_sequence


def expire_hold(ledger: Ledger, job: Job) -> None:
    """Gives up waiting for the worker that could have resumed a dirty attempt (R6)."""
    message = f"worker {job.holder!r}, which holds the session to resume, did not come back in time"
    ledger.record(job, facts.Failed(_failure(FailureClass.UNKNOWN_OUTCOME, message, f"holder={job.holder}")))
    if job.turn is not None:
        give_up_holder(ledger, job, message)


def spec_of(ledger: Ledger, job: Job) -> job_pb2.JobSpec:
    """What the client asked for."""
    return job_pb2.JobSpec.FromString(ledger.query("SELECT spec FROM job_specs WHERE job = ?", (job.row,))[0][0])


def _tell_budgets(ledger: Ledger, job: Job, word: Finish) -> None:
    note_words(ledger)
    failed = FailureClass.UNSPECIFIED if word.failed is None else word.failed.failure_class
    if failed is FailureClass.WORKER_LOST:
        return
    capped = failed is FailureClass.BUDGET
    note_end(ledger, job, word.usage, spec_of(ledger, job).claude.limits.max_cost_usd_micros if capped else None)


def _succeed(ledger: Ledger, job: Job, holder: Holder, word: Finish, result: bytes) -> Disposition:
    if len(result) > RESULT_BYTES_MAX or word.unreadable:
        message = f"the result has {len(result)} bytes, {RESULT_BYTES_MAX} are allowed"
        if word.unreadable:
            message = "the result is nested too deeply, or holds NaN or an infinite number, which JSON does not have"
        _fail_attempt(ledger, job, _failure(FailureClass.INVALID, message, "result"), word.usage)
        return Disposition.INVALID
    if job.state is JobState.CANCELLING:
        # The cancel committed first, so it wins (C2); the result is kept aside.
        _keep_aside(ledger, job, holder, word)
        _cancelled(ledger, job, word.usage)
    else:
        ledger.record(job, facts.Succeeded(result, word.usage))
        if word.first_token is not None:
            ledger.effects.first_tokens.append((job.namespace, job.queue, word.first_token))
    return Disposition.ACCEPTED


def _fail_attempt(ledger: Ledger, job: Job, failure: Failure, usage: Usage, timeout: TimeoutKind | None = None) -> None:
    if job.state is JobState.CANCELLING:
        decision = Decision(RetryAction.FAIL, "the job is being cancelled, which beats a retry")
    else:
        ended = _ended_attempt(ledger, job, failure.failure_class, _retry_after_seconds(failure), timeout)
        decision = decide_after_failure(ended, _retry_policy(ledger, job), ledger.entropy.random())
        decision = _in_time(ledger, job, _once(job, decision))
    again = decision.action is not RetryAction.FAIL
    next_time = Micros(ledger.now + int(decision.delay_seconds * SECOND)) if again else Micros(0)
    ledger.record(job, facts.AttemptFailed(failure, usage, decision, next_time))
    if job.state is JobState.CANCELLING:
        _cancelled(ledger, job, Usage())
    elif not again:
        ledger.record(job, facts.Failed(timeout_failure(TimeoutKind.TOTAL) if decision is OUT_OF_TIME else failure))
        if job.turn is not None:
            note_failure(ledger, job, failure)


def _snooze(ledger: Ledger, job: Job, snooze: Snooze, usage: Usage) -> None:
    if job.dirty and _resume_policy(ledger, job) is not ResumePolicy.FRESH:
        # The next attempt would replay what has changed the world (R6). No executor of such attempts snoozes.
        message = "an attempt that may have changed the world can't put itself off"
        _fail_attempt(ledger, job, _failure(FailureClass.INVALID, message, "snooze"), usage)
        return
    policy = _retry_policy(ledger, job)
    decision = decide_after_snooze(job.snoozes + 1, policy)
    if decision is None:
        next_time = Micros(ledger.now + snooze.delay_micros)
        ledger.record(job, facts.Snoozed(snooze.reason, next_time, usage))
        return
    message = f"snoozed {job.snoozes + 1} times, {policy.max_snoozes} are allowed"
    failure = _failure(FailureClass.ERROR, message, "max_snoozes")
    ledger.record(job, facts.AttemptFailed(failure, usage, decision, Micros(0)))
    ledger.record(job, facts.Failed(failure))


def _hand_back(ledger: Ledger, job: Job, usage: Usage) -> None:
    ended = _ended_attempt(ledger, job, FailureClass.UNSPECIFIED, None)
    decision = _once(job, decide_after_return(ended))
    ledger.record(job, facts.HandedBack(job.worker, usage, decision, _hold_until(ledger, job, decision)))
    if decision.action is RetryAction.FAIL:
        failure = _failure(FailureClass.UNKNOWN_OUTCOME, decision.rule, f"worker={job.worker}")
        ledger.record(job, facts.Failed(failure))


def _cancelled(ledger: Ledger, job: Job, usage: Usage) -> None:
    assert job.cancellation is not None, "CANCELLING without a cancellation"
    ledger.record(job, facts.Cancelled(job.cancellation, usage))


def _late(ledger: Ledger, holder: Holder, word: Finish) -> Disposition:
    job = ledger.job(word.lease.job_id)
    if job is None or word.lease.generation != ledger.generation or not 0 < word.lease.epoch <= job.epoch:
        return Disposition.STALE
    if job.settled_epoch == word.lease.epoch:
        return Disposition.ACCEPTED
    _keep_aside(ledger, job, holder, word)
    return Disposition.STALE


def _keep_aside(ledger: Ledger, job: Job, holder: Holder, word: Finish) -> None:
    """Keeps a result that does not count on its attempt's record, and tells of it in the audit log, once (L2)."""
    place = (job.row, word.lease.epoch)
    if ledger.look_up("SELECT 1 FROM late_results WHERE job = ? AND epoch = ?", place):
        return
    ledger.insert("late_results", ("job", "epoch", "received", "body"), [(*place, ledger.now, word.body)])
    detail = f"the result of its attempt with epoch {word.lease.epoch} came too late; kept there, it changes nothing"
    actor, action = f"worker:{holder.worker}", "WorkerService.Connect"
    record_audit(ledger, actor, action, job.namespace, "job", job_id_text(job.id), detail)


def _ended_attempt(
    ledger: Ledger,
    job: Job,
    failure_class: FailureClass,
    retry_after_seconds: float | None,
    timeout: TimeoutKind | None = None,
) -> EndedAttempt:
    return EndedAttempt(
        failure_class=failure_class,
        failures=job.failures + 1,
        dirty=job.dirty,
        resumable=bool(job.claude_session),
        resume_policy=_resume_policy(ledger, job) if job.dirty else ResumePolicy.FRESH,
        retry_after_seconds=retry_after_seconds,
        timeout=timeout,
    )


def _resume_policy(ledger: Ledger, job: Job) -> ResumePolicy:
    spec = spec_of(ledger, job)
    if not spec.HasField("claude"):
        return ResumePolicy.FRESH
    stated = spec.claude.resume_policy
    return ResumePolicy.RESUME_FIRST if stated == task_pb2.RESUME_POLICY_UNSPECIFIED else ResumePolicy(stated)


def _once(job: Job, decision: Decision) -> Decision:
    """The decision, unless it is for another attempt at what nobody has said."""
    background = job.turn is not None and job.turn.background
    return BEGUN_ONCE if background and decision.action is not RetryAction.FAIL else decision


def _in_time(ledger: Ledger, job: Job, decision: Decision) -> Decision:
    """The decision, unless it is for another attempt and the job had to have ended by now."""
    late = 0 < job.end_by <= ledger.now
    return OUT_OF_TIME if late and decision.action is not RetryAction.FAIL else decision


def _failure_of_loss(job: Job, decision: Decision) -> Failure:
    if decision is OUT_OF_TIME:
        return timeout_failure(TimeoutKind.TOTAL)
    failure_class = FailureClass.POISON if is_poison(job.losses) else FailureClass.UNKNOWN_OUTCOME
    return _failure(failure_class, decision.rule, f"worker={job.worker}")


def _retry_policy(ledger: Ledger, job: Job) -> RetryPolicy:
    spec = spec_of(ledger, job)
    if spec.HasField("retry_policy"):
        return retry_policy_of(spec.retry_policy)
    policy = policy_of(ledger, job.namespace, job.queue)
    return policy.retry_policy if policy is not None else RetryPolicy()


def _retry_after_seconds(failure: Failure) -> float | None:
    message = outcome_pb2.Failure.FromString(failure.body)
    return micros_of(message.retry_after) / SECOND if message.HasField("retry_after") else None


def _hold_until(ledger: Ledger, job: Job, decision: Decision) -> Micros:
    if decision.action is RetryAction.RESUME:
        return hold_for_resume(ledger, job)
    goes_on = decision.action is not RetryAction.FAIL and job.state is not JobState.CANCELLING
    return hold_after_loss(ledger, job) if goes_on and job.turn is not None else Micros(0)


def _failure(failure_class: FailureClass, message: str, sign: str) -> Failure:
    return failure_of(outcome_pb2.Failure(failure_class=number(failure_class), message=message, sign=sign))
