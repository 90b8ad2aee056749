"""Jobs in order of rank, out of sources that are opened only when their turn comes (Q1)."""

from collections.abc import Iterable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.merge import UNKNOWN_ROW, Merge, Place, Source

Part = tuple[Place, "Place | Source[Place]"]


class Opened:
    """Sources made of lists of places; counts what is read of them."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def part(self, number: int, places: list[Place], bound: int) -> Part:
        return (bound, UNKNOWN_ROW), Source(partial(self._open, number, places))

    def _open(self, number: int, places: list[Place], alone: bool) -> Iterable[Part]:
        self.read.append(number)
        first, rest = (places, []) if alone else (places[:2], places[2:])
        for place in first:
            yield place, place
        if rest:
            yield first[-1], Source(partial(self._open, number, rest))


def drained(merge: Merge[Place]) -> list[Place]:
    found: list[Place] = []
    while (place := merge.pop()) is not None:
        found.append(place)
    return found


ranks = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=8), max_size=6)


@given(ranks, st.integers(0, 5))
def test_q1_all_jobs_come_in_order_whatever_the_sources_guess(sources: list[list[int]], too_low: int) -> None:
    opened, merge, row, everything = Opened(), Merge[Place](), 0, []
    for number, source in enumerate(sources):
        places = []
        for rank in sorted(source):
            row += 1
            places.append((rank, row))
        everything += places
        merge.add(*opened.part(number, places, places[0][0] - too_low))
    assert drained(merge) == sorted(everything)


def test_sources_whose_turn_does_not_come_are_not_read() -> None:
    opened, merge = Opened(), Merge[Place]()
    for number in range(1000):
        merge.add(*opened.part(number, [(number, number)], number))
    assert merge.peek() == (0, 0)
    assert merge.pop() == (0, 0)
    assert opened.read == [0]
    assert merge.bound() == (1, UNKNOWN_ROW)


def test_a_source_without_competitors_is_read_at_once() -> None:
    opened, merge = Opened(), Merge[Place]()
    merge.add(*opened.part(7, [(rank, rank) for rank in range(50)], 0))
    assert len(drained(merge)) == 50
    assert opened.read == [7]
