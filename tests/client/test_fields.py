"""Values that a field of the contract can't hold are named, with what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import headrace
from headrace import calls, policies, session_specs, tasks

TASK = headrace.handler("h")


def wrong(value: Any) -> Any:
    """A value of a type that is not meant, which mypy would see as well."""
    return value


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: tasks.spec(TASK, labels=wrong({"a": 1})),
            "labels is {'a': 1}; it has to be a mapping from text to text",
        ),
        (
            lambda: tasks.spec(TASK, priority=wrong(1.5)),
            "priority is 1.5; it has to be a whole number from -2147483648",
        ),
        (lambda: tasks.spec(TASK, queue=wrong(3)), "queue is 3; it has to be text"),
        (lambda: tasks.spec(TASK, placement=wrong(3)), "placement is 3; it has to be a Placement"),
        (
            lambda: headrace.claude("x", allowed_tools=wrong([1])),
            "allowed_tools is .1.; it has to be a list, each of it text",
        ),
        (lambda: headrace.claude("x", max_turns=wrong(1.5)), "max_turns is 1.5; it has to be a whole number"),
        (
            lambda: headrace.command("echo", "a", wrong(1)),
            "arguments is .'a', 1.; it has to be a list, each of it text",
        ),
        (lambda: headrace.timeouts(run=wrong("1h")), "'1h' is not a length of time: give seconds, or a timedelta"),
        (lambda: policies.retry_policy(wrong(1.5)), "max_attempts is 1.5; it has to be a whole number"),
        (lambda: session_specs.session(labels=wrong({1: "a"})), "labels is {1: 'a'}; it has to be a mapping"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: headrace.placement(slots=2**40), "slots is 1099511627776; it has to be a whole number from -2147483"),
        (lambda: headrace.placement(cpus=0.0001), "cpus is 0.0001; it has to be 0, or a number from 0.001 on"),
        (lambda: headrace.claude("x", max_cost_usd=1e-9), "max_cost_usd is 1e-09; it has to be 0, or a number from"),
        (lambda: calls.capacity.set_budget("", "", "day", {"max_cost_usd": float("nan")}), "max_cost_usd is nan"),
        (lambda: policies.queue("q", max_queued=2**63), "max_queued is 9223372036854775808; it has to be a whole"),
        (lambda: headrace.timeouts(run=float("inf")), "inf seconds are no length of time"),
    ],
)
def test_a_number_out_of_range_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_long_value_is_not_repeated_as_a_whole() -> None:
    with pytest.raises(TypeError) as caught:
        tasks.spec(TASK, labels=wrong({"a": [0] * 10_000}))
    assert len(str(caught.value)) < 250
