"""Alerts: one for each incident, with an all-clear, however the look of things comes and goes."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.alerts import (
    HISTORY_COUNT_MAX,
    MESSAGE_CHARACTERS_MAX,
    Alert,
    AlertName,
    Alerts,
    Change,
    Finding,
    Severity,
    Timing,
    Verdict,
    judge,
    named,
)
from headrace_server.core.ids import SECOND, Micros

TIMING = Timing(raise_seconds=10, clear_seconds=15, cool_down_seconds=60, update_seconds=5)
NAME = AlertName.QUEUE_FULL
BAD, BETWEEN, GOOD = Verdict.BAD, Verdict.BETWEEN, Verdict.GOOD


class Looks:
    """A look each second."""

    def __init__(self, timing: Timing = TIMING) -> None:
        self.alerts = Alerts(timing)
        self.seconds = 0
        self.changes: list[tuple[int, Change, Alert]] = []

    def see(
        self, verdict: Verdict, count: int = 1, message: str = "full", name: AlertName = NAME, **more: Severity
    ) -> None:
        for _ in range(count):
            now = Micros(self.seconds * SECOND)
            found = self.alerts.observe([Finding(name, verdict, message=message, **more)], self.seconds, now)
            self.changes += [(self.seconds, change, alert) for change, alert in found]
            self.seconds += 1

    @property
    def said(self) -> list[tuple[int, Change]]:
        return [(seconds, change) for seconds, change, _ in self.changes]


def test_an_alert_begins_after_a_while_and_clears_after_a_while() -> None:
    looks = Looks()
    looks.see(BAD, 10)
    assert looks.said == []
    looks.see(BAD, 5)
    looks.see(GOOD, 16)
    assert looks.said == [(10, Change.BEGAN), (30, Change.CLEARED)]
    alert = looks.changes[-1][2]
    assert (alert.start, alert.update, alert.clear) == (10 * SECOND, 10 * SECOND, 30 * SECOND)
    assert looks.alerts.standing() == []


@pytest.mark.parametrize("pause", [GOOD, BETWEEN])
def test_what_is_bad_for_moments_only_is_no_alert(pause: Verdict) -> None:
    looks = Looks()
    for _ in range(20):
        looks.see(BAD, 9)
        looks.see(pause)
    assert looks.said == []


def test_what_is_neither_good_nor_bad_leaves_an_alert_standing() -> None:
    looks = Looks()
    looks.see(BAD, 11)
    looks.see(BETWEEN, 500)
    assert [alert.name for alert in looks.alerts.standing()] == [NAME]


@pytest.mark.parametrize("name", [AlertName.STORE_UNAVAILABLE, AlertName.WORKER_LOST, AlertName.LOCAL_WORKER_FAILING])
def test_what_is_known_for_certain_is_an_alert_at_once(name: AlertName) -> None:
    looks = Looks()
    looks.see(BAD, name=name)
    assert looks.said == [(0, Change.BEGAN)]


def test_what_comes_back_within_the_cool_down_is_the_same_alert_and_then_takes_the_cool_down_to_clear() -> None:
    looks = Looks()
    looks.see(BAD, 11)
    looks.see(GOOD, 20)
    looks.see(BAD, 11)
    looks.see(GOOD, 60)
    assert looks.said == [(10, Change.BEGAN), (26, Change.CLEARED), (41, Change.CAME_BACK)]
    looks.see(GOOD)
    assert looks.said[-1] == (102, Change.CLEARED)
    assert {alert.start for _, _, alert in looks.changes} == {10 * SECOND}
    assert len(looks.alerts.since(0)) == 1, "one incident"


def test_what_comes_back_after_the_cool_down_is_another_alert() -> None:
    looks = Looks()
    looks.see(BAD, 11)
    looks.see(GOOD, 80)
    looks.see(BAD, 11)
    assert [change for _, change in looks.said] == [Change.BEGAN, Change.CLEARED, Change.BEGAN]
    assert [bool(alert.clear) for alert in looks.alerts.since(0)] == [True, False]


def test_a_message_changes_every_few_seconds_at_most_and_at_once_when_it_gets_graver() -> None:
    looks = Looks()
    looks.see(BAD, 11)
    for number in range(20):
        looks.see(BAD, message=f"{number} jobs")
    assert looks.said[1:] == [(15, Change.CHANGED), (20, Change.CHANGED), (25, Change.CHANGED), (30, Change.CHANGED)]
    looks.see(BAD, message="all is lost", severity=Severity.CRITICAL)
    assert looks.said[-1] == (31, Change.CHANGED)
    looks.see(BAD, 4, message="less so")
    assert looks.said[-1] == (31, Change.CHANGED)
    looks.see(GOOD, 16)
    assert looks.changes[-1][2].message == "all is lost"


def test_a_reader_is_told_once_of_what_began_and_cleared_meanwhile() -> None:
    looks = Looks()
    looks.see(BAD, 11)
    looks.see(GOOD, 16)
    (alert,) = looks.alerts.since(0)
    assert alert.clear
    assert looks.alerts.since(looks.alerts.number) == []


def test_a_message_is_bounded() -> None:
    looks = Looks()
    looks.see(BAD, 11, message="x" * 10 * MESSAGE_CHARACTERS_MAX)
    assert len(looks.alerts.standing()[0].message) == MESSAGE_CHARACTERS_MAX


def test_what_is_remembered_of_cleared_alerts_is_bounded() -> None:
    looks = Looks(Timing(0, 0, 0))
    for _ in range(2 * HISTORY_COUNT_MAX):
        looks.see(BAD)
        looks.see(GOOD)
    assert len(looks.alerts.since(0)) == HISTORY_COUNT_MAX


Step = tuple[AlertName, Verdict, int]
steps = st.lists(
    st.tuples(
        st.sampled_from([AlertName.QUEUE_FULL, AlertName.WORKER_LOST]), st.sampled_from(Verdict), st.integers(1, 40)
    ),
    max_size=40,
)


@given(steps)
def test_at_most_one_alert_of_a_kind_stands_and_an_all_clear_always_follows(steps: Sequence[Step]) -> None:
    looks = Looks()
    for name, verdict, count in steps:
        for number in range(count):
            looks.see(verdict, message=f"{number}", name=name)
            standing = [alert.name for alert in looks.alerts.standing()]
            assert len(standing) == len(set(standing))
    looks.see(GOOD, 200)
    assert looks.alerts.standing() == []
    numbers = [alert.number for _, _, alert in looks.changes]
    assert numbers == list(range(1, len(numbers) + 1))
    for name in AlertName:
        ends = [change for _, change, alert in looks.changes if alert.name is name and change is not Change.CHANGED]
        assert all((before is Change.CLEARED) is (after is not Change.CLEARED) for before, after in pairwise(ends))
        assert not ends or (ends[0] is Change.BEGAN and ends[-1] is Change.CLEARED)


@given(st.lists(st.tuples(st.integers(11, 99), st.integers(1, 59)), min_size=5, max_size=30))
def test_what_flaps_within_the_cool_down_is_told_three_times_at_most(phases: Sequence[tuple[int, int]]) -> None:
    """That it began, an all-clear that was too early, and that it is back: then it stands until it is over."""
    looks = Looks()
    for bad, good in phases:
        looks.see(BAD, bad)
        looks.see(GOOD, good)
    changes = [change for _, change in looks.said]
    assert changes == [Change.BEGAN, Change.CLEARED, Change.CAME_BACK][: len(changes)]


@pytest.mark.parametrize(
    ("value", "raise_at", "clear_at", "verdict"),
    [
        (0.9, 0.9, 0.75, BAD),
        (0.8, 0.9, 0.75, BETWEEN),
        (0.75, 0.9, 0.75, GOOD),
        (100, 100, 125, BAD),
        (110, 100, 125, BETWEEN),
        (125, 100, 125, GOOD),
    ],
)
def test_a_value_is_judged_in_either_direction(
    value: float, raise_at: float, clear_at: float, verdict: Verdict
) -> None:
    assert judge(value, raise_at, clear_at) is verdict


def test_of_many_names_the_first_are_said() -> None:
    assert named(["a", "b", "c"]) == "a, b, c"
    assert named(["a", "b", "c", "d"], 9) == "a, b, c and 6 more"
