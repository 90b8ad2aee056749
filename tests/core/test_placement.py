"""Which worker gets which job (Q5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.placement import Capabilities, Misfit, Needs, Offer, Room, misfit

ABLE = Capabilities(
    frozenset({"claude", "command", "handler"}), {"gpu": "a100"}, frozenset({"make"}), frozenset({"echo"})
)


def offer(worker: str, slots: int, able: Capabilities = ABLE) -> Offer:
    return Offer(worker, "i", able, slots)


@pytest.mark.parametrize(
    ("needs", "lack"),
    [
        (Needs("claude"), None),
        (Needs("command", "make"), None),
        (Needs("handler", "echo"), None),
        (Needs("handler", "echo", (("gpu", "a100"),)), None),
        (Needs("simulation"), Misfit.EXECUTOR),
        (Needs("command", "rm"), Misfit.CAPABILITY),
        (Needs("handler", "make"), Misfit.CAPABILITY),
        (Needs("claude", "", (("gpu", "h100"),)), Misfit.LABELS),
        (Needs("claude", "", (("zone", "a"),)), Misfit.LABELS),
        (Needs("claude", "", (("zone", ""),)), Misfit.LABELS),
    ],
)
def test_q5_a_worker_has_to_have_all_that_a_job_needs(needs: Needs, lack: Misfit | None) -> None:
    assert misfit(needs, ABLE) is lack


def test_q5_the_least_loaded_worker_gets_the_job() -> None:
    room = Room([offer("small", 1), offer("large", 3)])
    taken = [room.take(Needs("claude")) for _ in range(5)]
    names = [one[0].worker for one in taken if one is not None]
    assert names[:2] == ["large", "large"]
    assert (names.count("large"), names.count("small"), taken[4]) == (3, 1, None)


def test_q5_a_session_goes_to_the_worker_that_holds_it_or_waits() -> None:
    room = Room([offer("holder", 1), offer("other", 9)])
    first = room.take(Needs("claude"), "holder")
    assert first is not None
    assert (first[0].worker, first[1]) == ("holder", "holds the session")
    assert room.take(Needs("claude"), "holder") is None


def test_every_placement_says_its_rule() -> None:
    taken = Room([offer("w", 2)]).take(Needs("claude"))
    assert taken is not None
    assert taken[1] == "most free slots (2)"


names = st.text(max_size=5)


@given(names, names, st.lists(st.tuples(names, names), max_size=3).map(tuple))
def test_needs_are_equal_when_their_texts_are(
    executor: str, capability: str, labels: tuple[tuple[str, str], ...]
) -> None:
    needs = Needs(executor, capability, labels)
    assert Needs.decode(needs.encode()) == needs


@given(st.lists(st.integers(0, 4), max_size=5), st.integers(0, 25))
def test_i5_slots_are_never_exceeded_and_never_left_free_while_a_job_fits(slots: list[int], jobs: int) -> None:
    room = Room([offer(f"w{n}", count) for n, count in enumerate(slots)])
    assert room.free_for(Needs("claude")) == sum(slots)
    taken = [one for one in (room.take(Needs("claude")) for _ in range(jobs)) if one is not None]
    assert len(taken) == min(jobs, sum(slots))
    for n, count in enumerate(slots):
        assert sum(one[0].worker == f"w{n}" for one in taken) <= count
    assert room.free_for(Needs("claude")) == sum(slots) - len(taken)
