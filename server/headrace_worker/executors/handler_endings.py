"""How a handler ends when it does not return: cancelled, put off, or failed in a way that it names.

What a user's code raises and catches; that each becomes an outcome of the attempt is decided in `handler.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from headrace.v1 import outcome_pb2
from headrace_worker.limits import (
    RETRY_AFTER_SECONDS_MAX,
    SNOOZE_REASON_CHARACTERS_MAX,
    SNOOZE_SECONDS_MAX,
    SNOOZE_SECONDS_MIN,
)

MICROS = 1_000_000
PREFIX = "FAILURE_CLASS_"
NAMELESS: Final = frozenset(
    {
        outcome_pb2.FAILURE_CLASS_UNSPECIFIED,
        outcome_pb2.FAILURE_CLASS_CANCELLED,
        outcome_pb2.FAILURE_CLASS_WORKER_LOST,
        outcome_pb2.FAILURE_CLASS_TIMEOUT,
        outcome_pb2.FAILURE_CLASS_POISON,
        outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME,
        outcome_pb2.FAILURE_CLASS_DEPENDENCY,
    }
)
"""Classes that only the control plane or the worker can know of."""
FAILURE_CLASSES: Final[Mapping[str, Any]] = {
    name.removeprefix(PREFIX): number for name, number in outcome_pb2.FailureClass.items() if number not in NAMELESS
}
"""What a handler may say of its failure, by its word."""


class HandlerCancelled(BaseException):
    """The job is to end. Not an `Exception`, so that a handler's `except Exception` lets it through."""


class Snooze(BaseException):
    """Raise it to put the work off: the job runs again after the delay, and no attempt is burned.

    The next attempt gets the last checkpoint. A cancel wins. Not an `Exception`, as `HandlerCancelled`.
    """

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        """`delay`: seconds or a timedelta, 1 ms to 31 days. `reason`: for people; cut at 1,024 characters.

        Raises ValueError for another delay.
        """
        seconds = seconds_of(delay)
        if not SNOOZE_SECONDS_MIN <= seconds <= SNOOZE_SECONDS_MAX:
            raise ValueError(f"a snooze takes 1 ms to 31 days, not {seconds:g} s")
        self.delay_micros = round(seconds * MICROS)
        self.reason = reason[:SNOOZE_REASON_CHARACTERS_MAX]
        super().__init__(f"snoozed for {seconds:g} s: {self.reason}")


class HandlerFailure(Exception):
    """Raise it to fail the attempt with a class, which decides about a retry; any other exception means ERROR.

    `raise HandlerFailure("the service is busy", "RATE_LIMITED", retry_after=30) from error`
    """

    def __init__(
        self,
        message: str,
        failure_class: str | outcome_pb2.FailureClass = "ERROR",
        *,
        retry_after: float | timedelta | None = None,
        sign: str = "",
    ) -> None:
        """`failure_class`: a word such as `OVERLOADED`, `RATE_LIMITED`, `NETWORK` (retried by default), `AUTH`,
        `INVALID` (never), or the enum's value. `retry_after`: how long whoever refused the work asked to wait, in
        seconds; cut at 31 days. `sign`: what the class was read from, e.g. `status=429`; else the name of the exception
        that this one is raised from.

        Raises ValueError for a class that a handler can't know of, and for a negative time.
        """
        super().__init__(message)
        self.failure_class = failure_class_of(failure_class)
        self.retry_after_micros = None if retry_after is None else retry_after_micros(retry_after)
        self.sign = sign


class InvalidInput(HandlerFailure):
    """Raise it when the job can never succeed with its input: it fails as INVALID and is not retried."""

    def __init__(self, message: str, *, sign: str = "") -> None:
        super().__init__(message, outcome_pb2.FAILURE_CLASS_INVALID, sign=sign)


def failure_class_of(word: str | outcome_pb2.FailureClass) -> outcome_pb2.FailureClass:
    """The class for a word. Raises ValueError with the words that there are."""
    found: Any = FAILURE_CLASSES.get(word.removeprefix(PREFIX)) if isinstance(word, str) else word
    if found not in FAILURE_CLASSES.values():
        raise ValueError(f"{word!r} is no class of failure that a handler can name: {', '.join(FAILURE_CLASSES)}")
    chosen: outcome_pb2.FailureClass = found
    return chosen


def retry_after_micros(value: float | timedelta) -> int:
    """The time within its limit. Raises ValueError for a negative one."""
    seconds = seconds_of(value)
    if not seconds >= 0:
        raise ValueError(f"retry_after is not negative, as {seconds:g} s is")
    return round(min(seconds, RETRY_AFTER_SECONDS_MAX) * MICROS)


def seconds_of(value: float | timedelta) -> float:
    """Seconds of either."""
    return value.total_seconds() if isinstance(value, timedelta) else value
