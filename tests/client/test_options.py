"""Options by name: what the client does not know is refused before anything is sent."""

from collections.abc import Callable
from typing import Any

import pytest

import headrace
from headrace import calls, policies, session_specs, tasks
from headrace.calls import capacity, following, sessions

TASK = headrace.command("true")

TAKERS: dict[str, Callable[[Any], object]] = {
    "submit": lambda options: calls.jobs.submit("", TASK, None, False, options),
    "spec": lambda options: tasks.spec(TASK, **options),
    "item": lambda options: headrace.item(TASK, **options),
    "claude": lambda options: tasks.claude("Say hello", **options),
    "timeouts": lambda options: policies.timeouts(**options),
    "queue": lambda options: policies.queue("batch", **options),
    "queue update": lambda options: calls.queues.update("", "batch", (), "", options),
    "schedule": lambda options: policies.schedule("nightly", **options),
    "session": lambda options: session_specs.session(**options),
    "session update": session_specs.changes,
    "budget": lambda options: capacity.set_budget("", "", "day", options),
    "follow": lambda options: following.of_job("", "", options),
    "converse": lambda options: sessions.opening("", "", options),
}


@pytest.mark.parametrize("taker", TAKERS.values(), ids=TAKERS)
def test_an_option_that_nobody_reads_is_refused_with_those_there_are(taker: Callable[[Any], object]) -> None:
    taker({})
    with pytest.raises(TypeError, match=r"there is no option 'nonsense'; there are \w+, \w+"):
        taker({"nonsense": 1})
