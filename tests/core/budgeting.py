"""The budget of tests: 5 dollars in all for a namespace, a dollar of which is reserved for each attempt."""

from typing import Any

from headrace_server.core.budgets import Budget, BudgetPeriod

DOLLAR = 1_000_000
"""In millionths, as everywhere."""


def budget(**changes: Any) -> Budget:
    """It, with other fields where they are named."""
    fields: dict[str, Any] = {
        "namespace": "default",
        "owner": "",
        "period": BudgetPeriod.TOTAL,
        "cost_max_usd_micros": 5 * DOLLAR,
        "tokens_max": 0,
        "warn_fraction": 0.8,
        "reservation_usd_micros": DOLLAR,
    }
    return Budget(**{**fields, **changes})
