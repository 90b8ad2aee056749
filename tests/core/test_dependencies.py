"""What the ends of parents mean for a job, and order in graphs."""

from itertools import product
from random import Random

import pytest

from headrace_server.core.dependencies import (
    CancelAction,
    Condition,
    DependencyRule,
    FailureAction,
    Judgement,
    Verdict,
    judge,
)
from headrace_server.core.graph import circles, ordered
from headrace_server.core.states import JobState

GOOD, BAD, OFF, OPEN = JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, None


@pytest.mark.parametrize(
    ("condition", "ends", "verdict"),
    [
        (Condition.ALL_SUCCEEDED, [GOOD, GOOD], Verdict.RUN),
        (Condition.ALL_SUCCEEDED, [GOOD, OPEN], Verdict.WAIT),
        (Condition.ALL_SUCCEEDED, [OPEN, BAD], Verdict.SKIP),
        (Condition.ALL_SUCCEEDED, [GOOD, OFF], Verdict.SKIP),
        (Condition.ALL_ENDED, [BAD, OFF], Verdict.RUN),
        (Condition.ALL_ENDED, [GOOD, OPEN], Verdict.WAIT),
        (Condition.ANY_SUCCEEDED, [OPEN, GOOD], Verdict.RUN),
        (Condition.ANY_SUCCEEDED, [BAD, OPEN], Verdict.WAIT),
        (Condition.ANY_SUCCEEDED, [BAD, OFF], Verdict.SKIP),
    ],
)
def test_q6_what_each_condition_makes_of_ends(
    condition: Condition, ends: list[JobState | None], verdict: Verdict
) -> None:
    assert judge(DependencyRule(condition), ends).verdict is verdict


def test_q6_the_first_parent_that_did_not_succeed_is_named() -> None:
    rule = DependencyRule(on_failure=FailureAction.FAIL)
    assert judge(rule, [GOOD, JobState.EXPIRED, BAD]) == Judgement(Verdict.FAIL, 1)


@pytest.mark.parametrize("condition", list(Condition))
def test_c2_a_cancel_that_is_passed_on_comes_before_whatever_else_is_true(condition: Condition) -> None:
    rule = DependencyRule(condition, on_cancel=CancelAction.CANCEL)
    assert judge(rule, [GOOD, BAD, OFF]) == Judgement(Verdict.CANCEL, 2)
    assert judge(rule, [OPEN, OFF]) == Judgement(Verdict.CANCEL, 1)


def test_a_rule_is_read_as_it_was_written() -> None:
    rules = [DependencyRule(*parts) for parts in product(Condition, FailureAction, CancelAction)]
    assert [DependencyRule.decode(rule.encode()) for rule in rules] == rules
    assert len({rule.encode() for rule in rules}) == len(rules)


def test_order_is_that_of_the_numbers_where_parents_allow_it() -> None:
    assert ordered([[], [3], [], [], [1]]) == [0, 2, 3, 1, 4]


def test_order_leaves_out_what_is_on_a_circle_or_behind_one() -> None:
    assert ordered([[], [2], [1], [2], [0]]) == [0, 4]


def test_circles_are_found_apart_and_without_what_is_behind_them() -> None:
    assert circles([[1], [0], [0], [4], [5], [3], [6], []]) == [[0, 1], [3, 4, 5], [6]]
    assert circles([[], [0], [0, 1]]) == []


def test_a_circle_of_a_thousand_is_found() -> None:
    assert circles([[(node + 1) % 1000] for node in range(1000)]) == [list(range(1000))]


@pytest.mark.parametrize("seed", range(20))
def test_circles_are_what_reaches_itself_in_random_graphs(seed: int) -> None:
    chance = Random(seed)
    count = chance.randint(1, 12)
    parents = [[chance.randrange(count) for _ in range(chance.randint(0, 2))] for _ in range(count)]
    reach = [{node} for node in range(count)]
    for _ in range(count):
        reach = [one.union(*(reach[parent] for node in one for parent in parents[node])) for one in reach]
    above = [set().union(*(reach[parent] for parent in parents[node])) for node in range(count)]
    on_one = sorted(node for node in range(count) if node in above[node])
    assert sorted(node for circle in circles(parents) for node in circle) == on_one
    for circle in circles(parents):
        assert all(
            set(circle) == {one for one in on_one if one in above[node] and node in above[one]} for node in circle
        )
    order = ordered(parents)
    assert all(set(parents[node]) <= set(order[:place]) for place, node in enumerate(order))
