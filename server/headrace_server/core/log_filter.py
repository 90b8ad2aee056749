"""What a reader narrows the log of a job down to: the meaning of a request, not its fields."""

from dataclasses import dataclass
from enum import IntEnum


class OutputKind(IntEnum):
    """What a piece of output is, as readers choose it. The numbers are the contract's; zero is not known."""

    STDOUT = 1
    STDERR = 2
    MESSAGES = 3
    PROGRESS = 4


OTHER_OUTPUT = 5
"""The kind of output that is none of these: only who wants all of it gets it."""


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which events of a log are wanted. Those that belong to no attempt always are."""

    output: bool = True
    kinds: frozenset[int] = frozenset()
    """Of output; none means all."""
    attempt: int = 0
    """Zero means all."""

    @property
    def looks(self) -> bool:
        """Whether events have to be looked at one by one."""
        return bool(self.attempt or (self.output and self.kinds))


EVERYTHING = LogFilter()
