"""The pool's slots follow the load: within bounds, at a pace, without thrashing (Q9)."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_server.core.scaling import GIB, Decision, Load, Scale, ScalingPolicy, decide, first_scale, slot_bytes

POLICY = ScalingPolicy(slots_min=2, slots_max=64, up_seconds=2.0, down_seconds=60.0, slot_memory_bytes=GIB // 4)

policies = st.builds(
    lambda low, more, up, longer, memory: ScalingPolicy(low, low + more, up, up + longer, memory),
    st.integers(1, 20),
    st.integers(0, 100),
    st.floats(0, 10),
    st.floats(0, 100),
    st.sampled_from([0, GIB // 8, GIB]),
)
loads = st.builds(
    Load,
    queued=st.integers(0, 300),
    used=st.integers(0, 130),
    memory_available_bytes=st.none() | st.integers(0, 64 * GIB),
    memory_used_bytes=st.integers(0, 64 * GIB),
)
moments = st.lists(st.tuples(st.floats(0.01, 50), loads), max_size=60)


def play(policy: ScalingPolicy, steps: Iterable[tuple[float, Load]]) -> list[tuple[float, Load, Scale, Decision]]:
    """The decisions of a history of loads: when, on what, what was before, what was decided."""
    now, scale = 1000.0, first_scale(policy, 1000.0)
    decisions = []
    for seconds, load in steps:
        now += seconds
        decision = decide(policy, scale, load, now)
        decisions.append((now, load, scale, decision))
        scale = decision.scale
    return decisions


def served(policy: ScalingPolicy, demand: Iterable[int]) -> list[int]:
    """The slots over seconds in which so many slots are wanted in all, and used as far as there are any."""
    now, scale, slots = 0.0, first_scale(policy, 0.0), []
    for wanted in demand:
        now += 1.0
        used = min(wanted, scale.slots)
        scale = decide(policy, scale, Load(wanted - used, used), now).scale
        slots.append(scale.slots)
    return slots


def changes(slots: list[int]) -> int:
    return sum(one != two for one, two in pairwise(slots))


@given(policies, moments)
def test_q9_slots_never_leave_their_bounds(policy: ScalingPolicy, steps: list[tuple[float, Load]]) -> None:
    for _, _, _, decision in play(policy, steps):
        assert policy.slots_min <= decision.scale.slots <= policy.slots_max


@given(policies, moments)
def test_q9_nothing_changes_within_a_cool_down(policy: ScalingPolicy, steps: list[tuple[float, Load]]) -> None:
    for now, load, before, decision in play(policy, steps):
        slots, since = decision.scale.slots, now - before.changed
        if slots != before.slots:
            assert since >= policy.up_seconds
        if slots < before.slots and load.memory_available_bytes is None:
            assert since >= policy.down_seconds


@given(policies, moments)
def test_q9_each_step_at_most_doubles_or_halves_and_each_has_a_reason(
    policy: ScalingPolicy, steps: list[tuple[float, Load]]
) -> None:
    for now, _, before, decision in play(policy, steps):
        slots = decision.scale.slots
        assert before.slots // 2 <= slots <= before.slots * 2
        assert bool(decision.reason) is (slots != before.slots)
        assert decision.scale.changed == (now if decision.reason else before.changed)


@given(policies, moments)
def test_q9_want_of_work_alone_never_takes_a_slot_that_is_in_use_or_wanted(
    policy: ScalingPolicy, steps: list[tuple[float, Load]]
) -> None:
    for _, load, before, decision in play(policy, steps):
        if decision.scale.slots < before.slots and load.memory_available_bytes is None:
            assert decision.scale.slots >= min(policy.slots_max, load.used + load.queued)


@settings(max_examples=50)
@given(policies, st.integers(0, 200))
def test_q9_a_steady_load_gets_what_it_wants_and_then_nothing_moves(policy: ScalingPolicy, wanted: int) -> None:
    seconds = int(7 * (policy.up_seconds + 1) + 10 * (policy.down_seconds + 1) + 10)
    slots = served(policy, [wanted] * (seconds + 200))
    target = max(policy.slots_min, min(policy.slots_max, wanted))
    assert set(slots[seconds:]) == {target}
    assert changes(slots) <= 7


@settings(max_examples=50)
@given(st.integers(1, 59), st.integers(3, 200))
def test_q9_a_load_that_comes_and_goes_within_the_cool_down_moves_nothing(half_period: int, wanted: int) -> None:
    wave = ([wanted] * half_period + [0] * half_period) * (1200 // half_period)
    slots = served(POLICY, wave)
    assert changes(slots) <= 6
    assert slots == sorted(slots)


def test_q9_a_slow_wave_costs_one_way_up_and_one_way_down_each() -> None:
    slots = served(POLICY, ([64] * 600 + [0] * 600) * 5)
    assert changes(slots) <= 5 * (5 + 5)
    assert max(slots) == 64
    assert min(slots[600:]) == 2


def test_q9_it_grows_within_seconds_and_shrinks_within_minutes() -> None:
    slots = served(POLICY, [64] * 20 + [0] * 600)
    assert slots.index(64) <= 10
    quiet = slots[20:]
    assert quiet[59] == 64
    assert quiet.index(2) >= 5 * 60


def test_q9_one_that_is_wanted_again_within_the_cool_down_is_still_there() -> None:
    slots = served(POLICY, [32] * 20 + [1] * 50 + [32])
    assert slots[-1] == 32


def test_q9_a_pool_that_grows_to_what_runs_already_says_so() -> None:
    grown = decide(POLICY, first_scale(POLICY, 0.0), Load(0, 5), 10.0)
    assert grown.reason == "from 2 to 4 slots: 5 are in use"


def test_q9_memory_bounds_growth_and_takes_slots_back() -> None:
    scale = Scale(8, 0.0, 0.0)
    grown = decide(POLICY, scale, Load(50, 8, 4 * (GIB // 4)), 10.0)
    assert grown.scale.slots == 11
    assert grown.reason == "from 8 to 11 slots: 50 more are wanted; memory: 1.0 GiB are free, a slot takes 0.25 GiB"
    shrunk = decide(POLICY, scale, Load(50, 5, GIB // 4), 10.0)
    assert shrunk.scale.slots == 6
    assert shrunk.reason == "from 8 to 6 slots: memory: 0.2 GiB are free, a slot takes 0.25 GiB"


@pytest.mark.parametrize("spare", [0, 1, 2])
def test_q9_at_the_edge_of_memory_nothing_moves(spare: int) -> None:
    scale, free = Scale(8, 0.0, 0.0), GIB // 4
    decision = decide(POLICY, scale, Load(50, 8, spare * free), 10.0)
    assert decision.scale.slots == {0: 8, 1: 8, 2: 9}[spare]


def test_q9_memory_that_comes_and_goes_moves_little() -> None:
    now, scale, slots = 0.0, first_scale(POLICY, 0.0), []
    for second in range(1200):
        now += 1.0
        free = 16 * GIB if second // 5 % 2 else 0
        scale = decide(POLICY, scale, Load(64, min(4, scale.slots), free), now).scale
        slots.append(scale.slots)
    assert max(slots) > 4
    assert changes(slots) <= 6 * 1200 / POLICY.down_seconds


def test_q9_a_slot_is_taken_to_need_what_those_in_use_hold() -> None:
    assert slot_bytes(POLICY, Load(0, 0)) == GIB // 4
    assert slot_bytes(POLICY, Load(0, 4, memory_used_bytes=8 * GIB)) == 2 * GIB
    assert slot_bytes(POLICY, Load(0, 4, memory_used_bytes=8)) == GIB // 4


def test_q9_without_scaling_nothing_ever_changes() -> None:
    fixed = ScalingPolicy(4, 4, 1.0, 60.0, GIB)
    steps = [(100.0, Load(100, 4, 0)), (100.0, Load(0, 0, 0)), (100.0, Load(0, 0))]
    assert [decision.scale.slots for _, _, _, decision in play(fixed, steps)] == [4, 4, 4]
