"""What a follower is told when a budget is used up to a mark."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.cli import narration
from headrace.cli.parts import Tone
from headrace.v1 import capacity_pb2, event_pb2

OF_ANN: dict[str, Any] = {
    "namespace": "default",
    "owner": "ann",
    "period": capacity_pb2.BUDGET_PERIOD_DAY,
    "max_cost_usd_micros": 5_000_000,
    "used_usd_micros": 1_500_000,
    "reserved_usd_micros": 1_000_000,
}
OF_ALL: dict[str, Any] = {
    "namespace": "default",
    "period": capacity_pb2.BUDGET_PERIOD_TOTAL,
    "max_tokens": 1000,
    "used_tokens": 850,
}


@pytest.mark.parametrize(
    ("mark", "budget", "told"),
    [
        (event_pb2.BUDGET_MARK_WARNING, OF_ALL, "budget of namespace default in total: 850 of 1.0k tokens used"),
        (
            event_pb2.BUDGET_MARK_LIMIT,
            {**OF_ALL, "used_tokens": 1200},
            "budget of namespace default in total: 1.2k of 1.0k tokens used; the attempt has to end",
        ),
        (
            event_pb2.BUDGET_MARK_RESERVATION,
            OF_ANN,
            "budget of owner ann by day: $1.50 of $5.00 used; the attempt has used the $1.00 that it had reserved,"
            " and ends",
        ),
    ],
)
def test_x6_the_budget_its_period_its_limit_and_what_is_used_are_told(mark: Any, budget: Any, told: str) -> None:
    event = event_pb2.Event(budget_reached=event_pb2.BudgetReached(mark=mark, **budget))
    (line,) = narration.lines(event)
    assert (line.text, line.tone) == (told, Tone.WARNING)
