"""Failure classes and timeouts. Numbers are those of outcome.proto; what follows from each is in `retry`."""

from enum import IntEnum


class FailureClass(IntEnum):
    """Why an attempt failed."""

    UNSPECIFIED = 0
    OVERLOADED = 1
    RATE_LIMITED = 2
    QUOTA = 3
    BILLING = 4
    AUTH = 5
    INVALID = 6
    CONTEXT = 7
    TURN_LIMIT = 8
    BUDGET = 9
    SCHEMA = 10
    NETWORK = 11
    CRASH = 12
    STALL = 13
    CANCELLED = 14
    WORKER_LOST = 15
    ERROR = 16
    TIMEOUT = 17
    POISON = 18
    UNKNOWN_OUTCOME = 19
    DEPENDENCY = 20
    RESOURCE = 21


class TimeoutKind(IntEnum):
    """The timeouts of a job; numbers are those of `TimeoutKind` in outcome.proto."""

    QUEUE = 1
    RUN = 2
    TOTAL = 3
    SILENCE = 4
