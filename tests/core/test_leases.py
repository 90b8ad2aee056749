"""A lease ends by observation only (L4)."""

from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.leases import LeaseWatch

LEASE = 30.0


def watching(counter: int = 1, now: float = 0.0) -> LeaseWatch:
    watch = LeaseWatch(LEASE)
    watch.observe("w", "i", counter, now)
    return watch


def test_l4_a_lease_ends_when_its_counter_stood_still_for_its_whole_length() -> None:
    watch = watching()
    assert watch.ended(LEASE - 0.001) == []
    assert watch.ended(LEASE) == [("w", "i")]


def test_l4_a_counter_that_grows_is_a_sign_of_life() -> None:
    watch = watching()
    watch.observe("w", "i", 2, 29.0)
    assert watch.ended(58.9) == []
    assert watch.next_end() == 59.0


def test_l4_a_counter_that_does_not_grow_is_no_sign_of_life() -> None:
    watch = watching(counter=5)
    watch.observe("w", "i", 5, 20.0)
    watch.observe("w", "i", 4, 25.0)
    assert watch.ended(LEASE) == [("w", "i")]


def test_l5_each_incarnation_is_watched_for_itself_with_whatever_counter() -> None:
    watch = watching(counter=100)
    watch.observe("w", "j", 1, 20.0)
    assert watch.ended(LEASE) == [("w", "i")]
    assert watch.ended(20.0 + LEASE) == [("w", "i"), ("w", "j")]


def test_l5_incarnations_that_have_a_successor_are_forgotten_but_those_that_live() -> None:
    watch = watching()
    for worker, incarnation in (("w", "j"), ("w", "k"), ("v", "i")):
        watch.observe(worker, incarnation, 1, 0.0)
    watch.forget_others("w", {"j", "k"})
    assert sorted(watch.ended(LEASE)) == [("v", "i"), ("w", "j"), ("w", "k")]


def test_l4_what_was_not_watched_has_not_ended() -> None:
    watch = LeaseWatch(LEASE)
    assert watch.ended(1e12) == []
    assert watch.next_end() is None


def test_a_forgotten_worker_is_watched_no_more() -> None:
    watch = watching()
    watch.forget("w", "i")
    watch.forget("w", "i")
    assert watch.ended(1e6) == []


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 5)), max_size=30), st.floats(0, 100))
def test_l4_no_lease_ends_within_its_length_of_the_last_growth(words: list[tuple[float, int]], after: float) -> None:
    watch = watching(counter=0)
    now = grown = 0.0
    highest = 0
    for pause, counter in words:
        now += pause
        if counter > highest:
            highest, grown = counter, now
        watch.observe("w", "i", counter, now)
    now += after
    assert (watch.ended(now) == [("w", "i")]) == (now - grown >= LEASE)
