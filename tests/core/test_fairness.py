"""Shares of slot time: who goes first, what it costs, and who wakes up where (Q2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.fairness import (
    HALF_LIFE_SECONDS,
    IDLE,
    SLOT_SECONDS_MEAN_DEFAULT,
    FairLine,
    Running,
    Standings,
    Usage,
    standings,
)
from headrace_server.core.ids import SECOND, Micros

NOW = Micros(1_700_000_000 * SECOND)
amounts = st.floats(0, 1e6)
usages = st.builds(
    Usage, amounts, st.integers(0, 10**12).map(lambda ago: Micros(NOW - ago)), st.floats(0.001, 3600), st.booleans()
)
names = st.sampled_from("abcdef")
weights = st.dictionaries(names, st.floats(0.001, 1000))


def of(usage: float, *, active: bool = True, mean: float = 1.0) -> Usage:
    return Usage(usage, NOW, mean, active)


def test_q2_usage_is_halved_every_hour() -> None:
    assert of(80).at(Micros(NOW + int(2 * HALF_LIFE_SECONDS * SECOND))) == pytest.approx(20)


@given(usages, st.floats(0.001, 1e5), st.integers(1, 100))
def test_q2_a_charge_adds_what_was_used(usage: Usage, seconds: float, slots: int) -> None:
    charged = usage.charged(seconds, slots, NOW)
    assert charged.at(NOW) == pytest.approx(usage.at(NOW) + seconds)
    assert charged.active is usage.active
    assert 0.001 <= charged.mean <= 3600


@given(st.dictionaries(names, usages), st.dictionaries(names, st.integers(1, 9)), st.sets(names), weights)
def test_q2_nobody_stands_lower_than_the_lowest_who_was_there_all_along(
    known: dict[str, Usage], held: dict[str, int], waiting: set[str], shares: dict[str, float]
) -> None:
    running = {name: Running(slots, slots * 2.0) for name, slots in held.items()}
    found = standings(known, running, waiting, shares, NOW)
    there = {*running, *waiting}
    assert set(found.consumed) == there
    stayed = [found.consumed[name] for name in there if name in known and known[name].active]
    for name in there:
        assert found.consumed[name] >= min(stayed, default=0.0) * (1 - 1e-9)
        assert found.cost[name] > 0
    for name, usage in found.changed.items():
        assert usage.active is (name in there)
        assert name not in found.forgotten
    assert not there & set(found.forgotten)


def test_q2_a_share_that_was_away_for_a_week_starts_where_the_lowest_stands() -> None:
    known = {"busy": of(900), "busier": of(1000), "away": of(0, active=False)}
    found = standings(known, {}, ["busy", "busier", "away"], {"away": 2.0}, NOW)
    assert found.consumed["away"] == pytest.approx(900)
    assert found.changed["away"].at(NOW) == pytest.approx(1800), "its own weight times what the lowest has"


def test_q2_whoever_leaves_after_more_than_its_share_is_remembered() -> None:
    found = standings({"here": of(10), "left": of(500), "small": of(5)}, {}, ["here"], {}, NOW)
    assert found.changed == {"left": of(500, active=False)}
    assert found.forgotten == ("small",)


def test_q2_what_runs_counts_as_it_goes_on_and_at_once_as_much_as_jobs_mostly_run() -> None:
    known = {"long": of(0, mean=100), "short": of(0, mean=1)}
    running = {"long": Running(1, 3.0), "short": Running(1, 7.0)}
    found = standings(known, running, [], {}, NOW)
    assert found.consumed == {"long": 100.0, "short": 7.0}
    assert standings({}, {}, ["new"], {}, NOW).cost == {"new": SLOT_SECONDS_MEAN_DEFAULT}
    assert IDLE.slots == 0


def line_of(consumed: dict[str, float], cost: dict[str, float], jobs: dict[str, list[int]]) -> FairLine[str]:
    line: FairLine[str] = FairLine(Standings(consumed, cost, {}, ()))
    for name, ranks in jobs.items():
        for rank in ranks:
            line.share(name).add((rank, rank), name)
    line.begin()
    return line


def served(line: FairLine[str], count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count and (name := line.pop()) is not None:
        found.append(name)
        line.charge(name, 1)
    return found


def test_q2_the_least_served_goes_first_and_then_all_take_turns() -> None:
    line = line_of({"a": 2.0, "b": 0.0}, {"a": 1.0, "b": 1.0}, {"a": [1, 2, 3, 4], "b": [11, 12, 13, 14]})
    assert "".join(served(line, 8)) == "bbababaa"


def test_q2_a_fair_queue_stands_where_its_best_rank_is() -> None:
    line = line_of({"a": 9.0, "b": 0.0}, {"a": 1.0, "b": 1.0}, {"a": [5], "b": [7]})
    assert line.bound() == line.peek() == (5, 5)
    assert line.pop() == "b"
    assert line.peek() == (5, 5)
    line.charge("b", 1)
    assert line.pop() == "a"
    assert line.peek() is None


@given(
    st.dictionaries(names, st.floats(0.1, 10), min_size=1),
    st.dictionaries(names, st.integers(1, 40), min_size=1),
    st.integers(1, 60),
)
def test_q2_turns_follow_weights_and_never_end_while_there_is_a_job(
    shares: dict[str, float], counts: dict[str, int], room: int
) -> None:
    cost = {name: 1.0 / shares.get(name, 1.0) for name in counts}
    jobs = {name: list(range(count)) for name, count in counts.items()}
    found = served(line_of(dict.fromkeys(counts, 0.0), cost, jobs), room)
    assert len(found) == min(room, sum(counts.values()))
    given_ = {name: found.count(name) for name in counts}
    for one, count in counts.items():
        for other in counts:
            if given_[one] < count:
                assert (given_[other] - 1) * cost[other] <= given_[one] * cost[one] * (1 + 1e-9)
