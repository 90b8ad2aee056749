"""The words that options take for the contract's enums; `headrace.words` turns each into its value."""

from __future__ import annotations

from enum import StrEnum


class Conflict(StrEnum):
    """While a unique key is taken."""

    REFUSE = "refuse"
    RETURN_EXISTING = "return-existing"
    REPLACE_WAITING = "replace-waiting"


class Condition(StrEnum):
    """Which ends of other jobs let a job run."""

    ALL_SUCCEEDED = "all-succeeded"
    ALL_ENDED = "all-ended"
    ANY_SUCCEEDED = "any-succeeded"


class OnFailure(StrEnum):
    """When a dependency condition can no longer come true."""

    SKIP = "skip"
    FAIL = "fail"


class OnCancel(StrEnum):
    """When a job that another depends on is cancelled."""

    EVALUATE = "evaluate"
    CANCEL = "cancel"


class Period(StrEnum):
    """What the limits of a budget are for."""

    DAY = "day"
    TOTAL = "total"


class Scope(StrEnum):
    """Among whom slots are shared out."""

    NONE = "none"
    OWNER = "owner"
    KEY = "key"


class CatchUp(StrEnum):
    """Which missed ticks are made up for."""

    NONE = "none"
    LAST = "last"
    ALL = "all"


class Overlap(StrEnum):
    """While the job of an earlier tick has not ended."""

    SKIP = "skip"
    BUFFER_ONE = "buffer-one"
    ALLOW = "allow"
    CANCEL_OTHER = "cancel-other"
