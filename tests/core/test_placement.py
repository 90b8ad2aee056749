"""Which worker gets which job (Q5)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.placement import UNBOUNDED, Capabilities, Misfit, Needs, Offer, Room, misfit
from headrace_server.core.resources import NOTHING, Resources

ABLE = Capabilities(
    frozenset({"claude", "command", "handler"}), {"gpu": "a100"}, frozenset({"make"}), frozenset({"echo"})
)


def offer(worker: str, slots: int, able: Capabilities = ABLE, **more: Any) -> Offer:
    return Offer(worker, "i", able, slots, **more)


def labelled(**labels: str) -> Capabilities:
    return Capabilities(ABLE.executors, labels, ABLE.programs, ABLE.handlers)


def sized(slots: int = 1, memory_bytes: int = 0, cpu_millis: int = 0) -> Needs:
    return Needs("claude", resources=Resources(slots, memory_bytes, cpu_millis))


def takers(room: Room, needs: Needs, count: int) -> list[str]:
    """Who takes such jobs, one after the other."""
    taken = [room.take(needs) for _ in range(count)]
    return [one[0].worker for one in taken if one is not None]


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


def test_q5_more_preferred_labels_go_before_more_free_slots() -> None:
    needs = Needs("claude", preferred=(("disk", "ssd"), ("zone", "a")))
    offers = [offer("near", 2, labelled(zone="a")), offer("best", 1, labelled(zone="a", disk="ssd")), offer("far", 9)]
    room = Room(offers)
    taken = [room.take(needs) for _ in range(4)]
    assert [one[0].worker for one in taken if one] == ["best", "near", "near", "far"]
    assert next(one[1] for one in taken if one) == "2 of 2 preferred labels, most free slots (1)"


def test_q5_a_job_of_several_slots_takes_them_all() -> None:
    room = Room([offer("small", 2), offer("large", 5)])
    assert room.free_for(sized(3)) == 1
    assert takers(room, sized(3), 2) == ["large"]
    assert takers(room, sized(2), 9) == ["small", "large"]
    assert room.free_slots == 0


def test_q5_memory_and_processors_bound_what_is_taken() -> None:
    host = offer("w", 10, free_memory_bytes=1000, free_cpu_millis=3000)
    assert takers(Room([host]), sized(1, 400), 9) == ["w", "w"]
    assert takers(Room([host]), sized(1, 0, 1000), 9) == ["w"] * 3
    assert Room([host]).free_for(sized(1, 300, 1500)) == 2
    full = offer("w", 10, free_memory_bytes=0, free_cpu_millis=0)
    assert takers(Room([full]), sized(), 2) == ["w", "w"], "what declares nothing fits where nothing is left"
    assert takers(Room([offer("silent", 2)]), sized(1, UNBOUNDED // 4, 9000), 3) == ["silent"] * 2


def test_i4_room_is_kept_on_the_worker_that_lacks_least() -> None:
    room = Room([offer("a", 1, used=Resources(3, 0, 0)), offer("b", 2, used=Resources(2, 0, 0)), offer("tiny", 1)])
    kept = room.reserve(sized(4))
    assert kept is not None
    assert kept.worker == "b"
    assert takers(room, sized(), 9) == ["a", "tiny"]


def test_i4_only_what_the_job_takes_is_kept() -> None:
    room = Room([offer("a", 6, used=Resources(1, 800, 0), free_memory_bytes=200)])
    assert room.reserve(sized(2, 900)) is not None
    assert takers(room, sized(), 9) == ["a"] * 4
    assert takers(room, sized(1, 1), 1) == []


@pytest.mark.parametrize("needs", [sized(9), sized(1, 2000), sized(1, 0, 9000), Needs("other", resources=Resources(2))])
def test_i4_for_what_no_worker_can_ever_hold_no_room_is_kept(needs: Needs) -> None:
    room = Room([offer("w", 1, used=Resources(3, 500, 500), free_memory_bytes=500, free_cpu_millis=500)])
    assert not room.could_fit(needs)
    assert room.reserve(needs) is None
    assert takers(room, sized(), 2) == ["w"]


def test_i4_the_room_of_a_holder_is_kept_there() -> None:
    room = Room([offer("holder", 1, used=Resources(3, 0, 0)), offer("b", 3, used=Resources(1, 0, 0))])
    kept = room.reserve(sized(4), "holder")
    assert kept is not None
    assert kept.worker == "holder"


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


amounts = st.builds(Resources, st.integers(1, 4), st.integers(0, 40), st.integers(0, 40))
hosts = st.tuples(st.integers(0, 6), st.integers(0, 100), st.integers(0, 100))


@given(st.lists(hosts, max_size=4), st.lists(amounts, max_size=20), st.integers(0, 3))
def test_i5_no_resource_is_ever_exceeded_with_room_kept_or_not(
    free: list[tuple[int, int, int]], jobs: list[Resources], kept: int
) -> None:
    offers = {f"w{n}": offer(f"w{n}", a, free_memory_bytes=b, free_cpu_millis=c) for n, (a, b, c) in enumerate(free)}
    room, taken = Room(offers.values()), dict.fromkeys(offers, NOTHING)
    for number, wanted in enumerate(jobs):
        needs = Needs("claude", resources=wanted)
        if number < kept:
            room.reserve(needs)
            continue
        fits = room.free_for(needs)
        found = room.take(needs)
        assert (found is not None) == (fits > 0)
        if found is not None:
            taken[found[0].worker] += wanted
    for worker, used in taken.items():
        assert used.slots == 0 or used.fits_in(offers[worker].free)


@given(amounts, st.lists(st.tuples(names, names), max_size=2).map(tuple))
def test_needs_with_resources_are_read_as_they_were_written(
    wanted: Resources, preferred: tuple[tuple[str, str], ...]
) -> None:
    needs = Needs("handler", "echo", (), preferred, wanted)
    assert Needs.decode(needs.encode()) == needs
