"""What is remembered from one transaction to the next of an engine that nobody else writes to, so as not to read it
again.

All of it can be dropped at any time. A transaction takes copies and hands back what it has learned only once it is
committed, so a rollback leaves nothing to undo.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from headrace_server.core.ids import JobId
from headrace_server.core.job import Job
from headrace_server.core.states import LEASED

T = TypeVar("T")

LEASED_COUNT_MAX = 20_000
"""Jobs that are remembered."""
VALUES_COUNT_MAX = 20_000
"""Other values: ready keys, policies, counts."""


class Memory:
    """Jobs that workers hold, the sequences, and values that few transactions change."""

    def __init__(self) -> None:
        self.leased: dict[JobId, Job] = {}
        """Workers' next words are about these, and reading them again costs most of a finish."""
        self.sequences: dict[str, int] | None = None
        self._values: dict[Hashable, Any] = {}

    def value(self, name: Hashable, load: Callable[[], T]) -> T:
        """A value by its name; loaded when it is not remembered, and not remembered by this."""
        return self._values[name] if name in self._values else load()

    def remember(
        self,
        jobs: Iterable[Job],
        sequences: Mapping[str, int],
        values: Mapping[Hashable, Any],
        forget: Iterable[Hashable],
    ) -> None:
        """Takes over what a committed transaction has learned."""
        for job in jobs:
            if job.state in LEASED:
                self.leased[job.id] = job
            else:
                self.leased.pop(job.id, None)
        while len(self.leased) > LEASED_COUNT_MAX:
            del self.leased[next(iter(self.leased))]
        self.sequences = dict(sequences)
        if len(self._values) + len(values) > VALUES_COUNT_MAX:
            self._values.clear()
        self._values.update(values)
        for name in forget:
            self._values.pop(name, None)
