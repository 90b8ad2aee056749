"""Jobs in the order of their rank, out of many sources of which each is opened only when its turn comes.

A source knows a lower bound of what it holds, so thousands of them cost nothing until one of them may have the next
job. What a source reads, and from where, is not known in here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")

Place = tuple[int, int]
"""Rank and row: jobs of equal rank go by row. A source whose jobs are not known yet has row -1."""

UNKNOWN_ROW = -1


@dataclass(frozen=True, slots=True)
class Source(Generic[T]):
    """Something that has jobs, none of them before its place."""

    open: Callable[[bool], "Iterable[tuple[Place, T | Source[T]]]"]
    """Reads its first jobs, or smaller sources in its stead, and one for what is left. True says that nothing else
    competes with it, so that it may read all that is wanted at once."""


class Merge(Generic[T]):
    """Items by their place, the first one first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, int, T | Source[T]]] = []
        self._added = 0

    def add(self, place: Place, item: "T | Source[T]") -> None:
        """Adds an item or a source."""
        self._added += 1
        heappush(self._heap, (*place, self._added, item))

    def bound(self) -> Place | None:
        """A place that nothing in it is before; None when it is empty. Opens nothing."""
        return self._heap[0][:2] if self._heap else None

    def peek(self) -> Place | None:
        """The place of its first item; None when there is none."""
        while self._heap:
            rank, row, _, item = self._heap[0]
            if not isinstance(item, Source):
                return rank, row
            heappop(self._heap)
            for place, part in item.open(not self._heap):
                self.add(place, part)
        return None

    def pop(self) -> T | None:
        """Takes its first item; None when there is none."""
        if self.peek() is None:
            return None
        item = heappop(self._heap)[3]
        assert not isinstance(item, Source), "a source was not opened"
        return item
