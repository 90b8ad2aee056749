"""What follows a failed or lost attempt: a pure decision that says by which rule it was made (R1–R3, R6, L6)."""

from dataclasses import dataclass
from enum import IntEnum

from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.limits import (
    BACKOFF_MULTIPLIER_DEFAULT,
    INITIAL_BACKOFF_SECONDS_DEFAULT,
    LOSSES_COUNT_MAX,
    MAX_ATTEMPTS_DEFAULT,
    MAX_BACKOFF_SECONDS_DEFAULT,
    MAX_SNOOZES_DEFAULT,
)

QUOTA_DELAY_SECONDS = 300.0
"""When a usage limit did not say when it resets."""
QUOTA_DELAY_SECONDS_MIN = 1.0
"""When it said that it has reset by now: waiting burns no attempt, so without a pause it could go on at full speed
for ever."""
RETRY_AFTER_SECONDS_MAX = 31 * 86400.0
"""The longest wait that a server can ask for; what is more is cut."""


class RetryAction(IntEnum):
    """What follows; numbers are those of `RetryAction` in job.proto."""

    RETRY = 1
    RESUME = 2
    FAIL = 3
    WAIT_QUOTA = 4


class ResumePolicy(IntEnum):
    """What a dirty attempt is followed by (R6); numbers are those of `ResumePolicy` in task.proto."""

    RESUME_FIRST = 1
    FRESH = 2
    NEVER = 3


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed attempt is followed by another. `stated` tells a policy that somebody set from the default."""

    max_attempts: int = MAX_ATTEMPTS_DEFAULT
    initial_backoff_seconds: float = INITIAL_BACKOFF_SECONDS_DEFAULT
    max_backoff_seconds: float = MAX_BACKOFF_SECONDS_DEFAULT
    multiplier: float = BACKOFF_MULTIPLIER_DEFAULT
    max_snoozes: int = MAX_SNOOZES_DEFAULT
    stated: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows an attempt, by which rule, and after how long."""

    action: RetryAction
    rule: str
    delay_seconds: float = 0.0
    burns_attempt: bool = True


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """What the decision is made from."""

    failure_class: FailureClass
    failures: int
    """Attempts that failed, this one included."""
    dirty: bool
    """A tool ran that may have changed the world."""
    resumable: bool
    """There is a session to resume."""
    resume_policy: ResumePolicy
    retry_after_seconds: float | None = None
    timeout: TimeoutKind | None = None
    """The timeout that ended it, by the word of the server."""


OUT_OF_TIME = Decision(RetryAction.FAIL, "its total_timeout has passed")
"""What follows any attempt that ends after its job had to have ended."""

_RETRIED_TIMEOUTS = frozenset({TimeoutKind.RUN, TimeoutKind.SILENCE})
"""They are about one attempt."""
_ALWAYS_RETRIED = frozenset(
    {
        FailureClass.OVERLOADED,
        FailureClass.RATE_LIMITED,
        FailureClass.NETWORK,
        FailureClass.CRASH,
        FailureClass.STALL,
        FailureClass.RESOURCE,
    }
)


def decide_after_failure(attempt: EndedAttempt, policy: RetryPolicy, chance: float) -> Decision:
    """Decides what follows an attempt that failed. `chance` is drawn evenly from [0, 1)."""
    name = attempt.failure_class.name
    if attempt.failure_class is FailureClass.QUOTA:
        asked = attempt.retry_after_seconds if attempt.retry_after_seconds is not None else QUOTA_DELAY_SECONDS
        delay = min(max(asked, QUOTA_DELAY_SECONDS_MIN), RETRY_AFTER_SECONDS_MAX)
        return _again(attempt, f"class {name} waits for the reset", delay, RetryAction.WAIT_QUOTA, burns_attempt=False)
    if attempt.timeout is TimeoutKind.TOTAL:
        return OUT_OF_TIME
    if attempt.timeout is not None:
        name = f"{name} ({attempt.timeout.name})"
    attempts_max = policy.max_attempts
    if attempt.failure_class is FailureClass.SCHEMA:
        attempts_max = min(attempts_max, 2)
    elif attempt.failure_class is FailureClass.ERROR:
        if not policy.stated:
            return Decision(RetryAction.FAIL, f"class {name} is retried only by a stated retry_policy")
    elif attempt.failure_class not in _ALWAYS_RETRIED and attempt.timeout not in _RETRIED_TIMEOUTS:
        return Decision(RetryAction.FAIL, f"class {name} is never retried")
    if attempt.failures >= attempts_max:
        return Decision(RetryAction.FAIL, f"max_attempts {attempts_max} reached")
    delay = backoff_seconds(policy, attempt.failures, chance)
    if attempt.retry_after_seconds is not None:
        delay = max(delay, min(attempt.retry_after_seconds, RETRY_AFTER_SECONDS_MAX))
    return _again(attempt, f"class {name} is retried, attempt {attempt.failures} of {attempts_max} failed", delay)


def is_poison(losses: int) -> bool:
    """Whether a job is taken to kill its workers, because so many attempts were lost (L6)."""
    return losses > LOSSES_COUNT_MAX


def decide_after_loss(attempt: EndedAttempt, losses: int) -> Decision:
    """Decides what follows an attempt that was lost with its worker; `losses` counts it."""
    if is_poison(losses):
        return Decision(RetryAction.FAIL, f"lost with its worker {losses} times, {LOSSES_COUNT_MAX} are allowed")
    return _again(attempt, f"lost with its worker, {losses} of {LOSSES_COUNT_MAX} allowed losses", 0.0)


def decide_after_snooze(snoozes: int, policy: RetryPolicy) -> Decision | None:
    """Decides what follows an attempt that puts itself off, when that can't be done; `snoozes` counts it (R5)."""
    if snoozes > policy.max_snoozes:
        return Decision(RetryAction.FAIL, f"max_snoozes {policy.max_snoozes} reached")
    return None


def decide_after_return(attempt: EndedAttempt) -> Decision:
    """Decides what follows an attempt that was handed back because its worker or its queue drains."""
    return _again(attempt, "handed back by its worker", 0.0, burns_attempt=False)


def backoff_seconds(policy: RetryPolicy, failures: int, chance: float) -> float:
    """Full jitter: evenly between zero and a cap that grows with every failure."""
    cap = policy.initial_backoff_seconds
    for _ in range(failures - 1):
        cap = min(cap * policy.multiplier, policy.max_backoff_seconds)
    return min(cap, policy.max_backoff_seconds) * chance


def _again(
    attempt: EndedAttempt,
    rule: str,
    delay: float,
    action: RetryAction = RetryAction.RETRY,
    *,
    burns_attempt: bool = True,
) -> Decision:
    if attempt.dirty and attempt.resume_policy is not ResumePolicy.FRESH:
        if attempt.resume_policy is ResumePolicy.NEVER:
            return Decision(RetryAction.FAIL, "a mutating tool ran and resume_policy is NEVER")
        if not attempt.resumable:
            return Decision(RetryAction.FAIL, "a mutating tool ran and there is no session to resume")
        return Decision(RetryAction.RESUME, f"{rule}; resumed, because a mutating tool ran", delay, burns_attempt)
    return Decision(action, rule, delay, burns_attempt)
