"""Capacity domains and budgets as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.cli import amounts
from headrace.cli.describe import tables
from headrace.cli.parts import one_line
from headrace.v1 import capacity_pb2

DOMAIN_COLUMNS = ("NAME", "STATE", "UNTIL", "RUNNING", "WAITING", "CAUSE", "BY", "REASON")
BUDGET_COLUMNS = ("OWNER", "PERIOD", "SPENT", "RESERVED", "LEFT", "LIMIT", "TOKENS", "TOKENS LEFT", "ANEW AT")
REASON_CHARACTERS = 80
EVERYBODY = "(namespace)"


def domain_table(domains: Sequence[capacity_pb2.CapacityDomain]) -> list[str]:
    """Domains, a line each."""
    return tables.dense_table(DOMAIN_COLUMNS, [_domain_row(domain) for domain in domains])


def domain_line(domain: capacity_pb2.CapacityDomain) -> str:
    """What became of one."""
    until = f" until {_until(domain)}" if _until(domain) else ""
    unused = "; no job uses it yet, see `headrace capacity list` for those in use" if domain.unused else ""
    return f"{domain.name}: {_state(domain)}{until}{unused}"


def budget_table(budgets: Sequence[capacity_pb2.Budget]) -> list[str]:
    """Budgets, a line each."""
    return tables.dense_table(BUDGET_COLUMNS, [_budget_row(budget) for budget in budgets])


def _domain_row(domain: capacity_pb2.CapacityDomain) -> tuple[str, ...]:
    most = f"/{domain.max_concurrency}" if domain.max_concurrency else ""
    return (
        domain.name,
        _state(domain),
        _until(domain),
        f"{domain.running}{most}",
        str(domain.waiting),
        capacity_pb2.CapacityCause.Name(domain.cause).removeprefix("CAPACITY_CAUSE_") if domain.cause else "",
        domain.actor,
        one_line(domain.reason, REASON_CHARACTERS),
    )


def _state(domain: capacity_pb2.CapacityDomain) -> str:
    return capacity_pb2.CapacityState.Name(domain.state).removeprefix("CAPACITY_STATE_")


def _until(domain: capacity_pb2.CapacityDomain) -> str:
    if domain.state != capacity_pb2.CAPACITY_STATE_CLOSED:
        return ""
    return amounts.clock(domain.until_time) if domain.HasField("until_time") else "somebody opens it"


def _budget_row(budget: capacity_pb2.Budget) -> tuple[str, ...]:
    in_dollars, in_tokens = budget.HasField("left_usd_micros"), budget.HasField("left_tokens")
    return (
        budget.owner or EVERYBODY,
        capacity_pb2.BudgetPeriod.Name(budget.period).removeprefix("BUDGET_PERIOD_").lower(),
        amounts.dollars(budget.spent_usd_micros),
        amounts.dollars(budget.reserved_usd_micros) if budget.reserved_usd_micros else "",
        amounts.dollars(max(0, budget.left_usd_micros)) if in_dollars else "",
        amounts.dollars(budget.max_cost_usd_micros) if in_dollars else "",
        amounts.tokens(budget.spent_tokens + budget.running_tokens),
        amounts.tokens(max(0, budget.left_tokens)) if in_tokens else "",
        amounts.clock(budget.reset_time) if budget.HasField("reset_time") else "",
    )
