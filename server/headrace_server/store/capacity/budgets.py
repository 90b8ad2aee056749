"""Budgets in the store: their limits, which are remembered, and what was spent of them (X6)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headrace_server.core.budgets import Budget, BudgetPeriod, Spending, day_of, is_low, next_day
from headrace_server.core.ids import Micros
from headrace_server.store.engine import Connection, Query, Row
from headrace_server.store.ledger import Ledger

BUDGETS_COUNT_MAX = 1000
"""Of the whole store."""

_NAME = "budgets"
_LIMITS = "namespace, owner, period, cost_max, tokens_max, warn_fraction, reservation"
_SPENT = "day, spent, spent_tokens"
_PERIOD_TOTAL = int(BudgetPeriod.TOTAL)

Scope = tuple[str, str]
"""Namespace and owner; an empty owner stands for the namespace."""


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A budget, how far it is used, and who set it when."""

    budget: Budget
    spending: Spending
    actor: str
    created: Micros
    updated: Micros


def budgets(ledger: Ledger) -> Sequence[Budget]:
    """Every budget; almost always none."""
    return ledger.value(_NAME, lambda: [_budget(row) for row in ledger.look_up(f"SELECT {_LIMITS} FROM budgets")])


def covering(ledger: Ledger, namespace: str, owner: str) -> list[Budget]:
    """The budgets that jobs of an owner are paid from."""
    return [budget for budget in budgets(ledger) if budget.covers(namespace, owner)]


def budgets_of_owner(query: Query, namespace: str, owner: str) -> list[Budget]:
    """The same, for a reader."""
    condition, parameters = _only((namespace, owner))
    return [_budget(row) for row in query(f"SELECT {_LIMITS} FROM budgets{condition}", parameters)]


def spendings(query: Query, now: Micros, only: Scope | None = None) -> dict[tuple[str, str, BudgetPeriod], Spending]:
    """How far each budget is used, or those of an owner and of its namespace; by scope and period."""
    condition, parameters = _only(only)
    found = query(f"SELECT namespace, owner, period, {_SPENT} FROM budgets{condition}", parameters)
    held = _held(query, only)
    return {
        (namespace, owner, BudgetPeriod(period)): _spending(period, day, spent, tokens, held[namespace, owner], now)
        for namespace, owner, period, day, spent, tokens in found
    }


def pay(ledger: Ledger, paid: Iterable[Budget], usd_micros: int, tokens: int) -> None:
    """Takes note of what an attempt that has ended used."""
    today = day_of(ledger.now)
    for budget in paid:
        ledger.run(
            "UPDATE budgets SET spent = CASE WHEN period = ? OR day = ? THEN spent ELSE 0 END + ?,"
            " spent_tokens = CASE WHEN period = ? OR day = ? THEN spent_tokens ELSE 0 END + ?, day = ?"
            " WHERE namespace = ? AND owner = ? AND period = ?",
            (
                *(_PERIOD_TOTAL, today, usd_micros),
                *(_PERIOD_TOTAL, today, tokens, today),
                *(budget.namespace, budget.owner, int(budget.period)),
            ),
        )


def next_reset(ledger: Ledger) -> Micros | None:
    """When a budget by day begins anew."""
    by_day = any(budget.period is BudgetPeriod.DAY for budget in budgets(ledger))
    return next_day(ledger.now) if by_day else None


def store_budget(ledger: Ledger, budget: Budget, actor: str) -> None:
    """Sets a budget, which is made when there is none; what was spent stays."""
    values = (
        *(budget.namespace, budget.owner, int(budget.period), budget.cost_max_usd_micros, budget.tokens_max),
        *(
            budget.warn_fraction,
            budget.reservation_usd_micros,
            actor,
            ledger.now,
            ledger.now,
            day_of(ledger.now),
            0,
            0,
            0,
        ),
    )
    columns = (*_LIMITS.split(", "), "actor", "created", "updated", "day", "spent", "spent_tokens", "warned")
    changed = ("cost_max", "tokens_max", "warn_fraction", "reservation", "actor", "updated", "warned")
    conflict = "ON CONFLICT (namespace, owner, period) DO UPDATE SET "
    ledger.insert("budgets", columns, [values], conflict + ", ".join(f"{name} = excluded.{name}" for name in changed))
    ledger.forget(_NAME)
    reset = next_reset(ledger)
    if reset is not None:
        ledger.effects.next_due = min(reset, ledger.effects.next_due or reset)


def remove_budget(ledger: Ledger, namespace: str, owner: str, period: BudgetPeriod) -> None:
    """Removes a budget."""
    ledger.run("DELETE FROM budgets WHERE namespace = ? AND owner = ? AND period = ?", (namespace, owner, int(period)))
    ledger.forget(_NAME)


def budgets_count(query: Query) -> int:
    """How many there are."""
    return int(query("SELECT count(*) FROM budgets", ())[0][0])


def read_budget(query: Query, namespace: str, owner: str, period: BudgetPeriod, now: Micros) -> BudgetRow | None:
    """One budget, or None."""
    condition, parameters = " WHERE namespace = ? AND owner = ? AND period = ?", (namespace, owner, int(period))
    found = query(f"SELECT {_LIMITS}, {_SPENT}, actor, created, updated FROM budgets{condition}", parameters)
    return _row(found[0], _held(query, (namespace, owner)), now) if found else None


def list_budgets(
    connection: Connection, namespace: str, owner: str, after: tuple[str, int] | None, count: int, now: Micros
) -> list[BudgetRow]:
    """Budgets of a namespace by owner and period, from right after one; with an owner only those of it."""
    conditions, parameters = ["namespace = ?"], [namespace]
    more: list[Any] = []
    if owner:
        conditions.append("owner = ?")
        more.append(owner)
    if after is not None:
        conditions.append("(owner, period) > (?, ?)")
        more += after
    found = connection.rows(
        f"SELECT {_LIMITS}, {_SPENT}, actor, created, updated FROM budgets WHERE {' AND '.join(conditions)}"
        " ORDER BY owner, period LIMIT ?",
        (*parameters, *more, count),
    )
    held = _held(connection.rows, (namespace, ""))
    return [_row(row, held, now) for row in found]


def read_low(query: Query, now: Micros) -> list[tuple[Budget, Spending]]:
    """The budgets of which so much is used that somebody should know."""
    limits = [_budget(row) for row in query(f"SELECT {_LIMITS} FROM budgets", ())]
    if not limits:
        return []
    used = spendings(query, now)
    pairs = [(budget, used[budget.namespace, budget.owner, budget.period]) for budget in limits]
    return [(budget, spending) for budget, spending in pairs if is_low(budget, spending)]


_NOTHING: Row = (0, 0, 0)


def _held(query: Query, only: Scope | None) -> Mapping[Scope, Row]:
    """What attempts that run hold, have used, and have used in tokens: by owner, and by namespace."""
    condition, parameters = "", []
    if only is not None:
        condition, parameters = " WHERE namespace = ?", [only[0]]
    found = query(
        "SELECT namespace, owner, sum(CASE WHEN used > reserved THEN used ELSE reserved END), sum(used),"
        f" sum(used_tokens) FROM reservations{condition} GROUP BY namespace, owner",
        parameters,
    )
    held: dict[Scope, Row] = defaultdict(lambda: _NOTHING)
    for namespace, owner, *amounts in found:
        for scope in {(namespace, owner), (namespace, "")}:
            held[scope] = tuple(a + b for a, b in zip(held[scope], amounts, strict=True))
    return held


def _only(only: Scope | None) -> tuple[str, Sequence[Any]]:
    return ("", ()) if only is None else (" WHERE namespace = ? AND owner IN (?, '')", only)


def _spending(period: int, day: int, spent: int, tokens: int, held: Row, now: Micros) -> Spending:
    spending = Spending(spent, tokens, *held)
    if period == BudgetPeriod.DAY and day != day_of(now):
        return replace(spending, spent_usd_micros=0, spent_tokens=0)
    return spending


def _budget(row: Row) -> Budget:
    namespace, owner, period, cost_max, tokens_max, warn_fraction, reservation = row[:7]
    return Budget(namespace, owner, BudgetPeriod(period), cost_max, tokens_max, warn_fraction, reservation)


def _row(row: Row, held: Mapping[Scope, Row], now: Micros) -> BudgetRow:
    budget = _budget(row)
    day, spent, tokens, actor, created, updated = row[7:]
    spending = _spending(budget.period, day, spent, tokens, held[budget.namespace, budget.owner], now)
    return BudgetRow(budget, spending, actor, Micros(created), Micros(updated))
