"""What operators change: capacity domains are opened and closed, budgets set and deleted, each with an entry in the
audit log."""

from datetime import UTC, datetime

from headrace_server.core.budgets import Budget, BudgetPeriod
from headrace_server.core.capacity import OPEN, Cause, closed_by, opened_by, standing
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.refusal import Reason, Refusal, Violation
from headrace_server.store.capacity import domains
from headrace_server.store.capacity.budgets import (
    BUDGETS_COUNT_MAX,
    BudgetRow,
    budgets_count,
    read_budget,
    remove_budget,
    store_budget,
)
from headrace_server.store.capacity.domains import DomainRow, read_row
from headrace_server.store.capacity.reservations import drop_uncovered, open_keys
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit

_UPDATE = "AdminService.UpdateCapacityDomain"
DOMAINS_NAMED_COUNT_MAX = 10
"""In the refusal of one that is not there."""


def open_domain(ledger: Ledger, name: str, reason: str, actor: str) -> DomainRow | Refusal:
    """Lets one job of a domain try, and the others after it."""
    used = read_row(ledger.query, name, ledger.now).used
    if not used and name not in domains.known(ledger):
        return _no_domain(ledger, name)
    before = standing(domains.known(ledger).get(name, OPEN), ledger.now)
    # Of one that was only ever closed ahead of use nothing is to be tried, nor remembered.
    plain = before.cause is Cause.OPERATOR and not used
    domains.change(ledger, name, OPEN if plain else opened_by(before, actor, reason, ledger.now))
    record_audit(ledger, actor, _UPDATE, "", "capacity", name, "; ".join(["opened", *_because(reason)]))
    return read_row(ledger.query, name, ledger.now)


def close_domain(ledger: Ledger, name: str, reason: str, length: int | None, actor: str) -> DomainRow:
    """Has no job of a domain start, for so many microseconds or until somebody opens it; also ahead of its first."""
    until = Micros(0) if length is None else Micros(ledger.now + length)
    before = standing(domains.known(ledger).get(name, OPEN), ledger.now)
    domains.change(ledger, name, closed_by(before, actor, reason, until, ledger.now))
    detail = ["closed", *([f"until {_clock(until)}"] if until else []), *_because(reason)]
    record_audit(ledger, actor, _UPDATE, "", "capacity", name, "; ".join(detail))
    return read_row(ledger.query, name, ledger.now)


def set_budget(ledger: Ledger, budget: Budget, actor: str) -> BudgetRow | Refusal:
    """Sets a budget; jobs that wait may be let go by it."""
    scope = (budget.namespace, budget.owner, budget.period)
    before = read_budget(ledger.look_up, *scope, ledger.now)
    if before is None and budgets_count(ledger.look_up) >= BUDGETS_COUNT_MAX:
        text = f"can't be made: {BUDGETS_COUNT_MAX} budgets are set already, delete one"
        return Refusal(Reason.INVALID_FIELD, f"budget {text}", violations=(Violation("budget", text),))
    store_budget(ledger, budget, actor)
    open_keys(ledger, budget.namespace, budget.owner)
    detail = _limits(budget) if before is None else f"{_limits(before.budget)} → {_limits(budget)}"
    record_audit(ledger, actor, "AdminService.SetBudget", budget.namespace, "budget", budget_name(budget), detail)
    after = read_budget(ledger.look_up, *scope, ledger.now)
    assert after is not None, "a budget that was just set"
    return after


def delete_budget(ledger: Ledger, namespace: str, owner: str, period: BudgetPeriod, actor: str) -> Refusal | None:
    """Deletes a budget; what waited for it goes on."""
    before = read_budget(ledger.look_up, namespace, owner, period, ledger.now)
    if before is None:
        whose = f"owner {owner!r} in namespace {namespace!r}" if owner else f"namespace {namespace!r}"
        message = f"there is no budget by {period.name} for {whose}"
        return Refusal(Reason.NOT_FOUND, message, "headrace.v1.Budget", owner or namespace)
    remove_budget(ledger, namespace, owner, period)
    drop_uncovered(ledger, namespace)
    open_keys(ledger, namespace, owner)
    name = budget_name(before.budget)
    record_audit(ledger, actor, "AdminService.DeleteBudget", namespace, "budget", name, _limits(before.budget))
    return None


def _no_domain(ledger: Ledger, name: str) -> Refusal:
    """Nothing is closed by that name; most likely another one was meant."""
    found = domains.names(ledger.query, "", DOMAINS_NAMED_COUNT_MAX + 1)
    named, more = ", ".join(found[:DOMAINS_NAMED_COUNT_MAX]), " …" if len(found) > DOMAINS_NAMED_COUNT_MAX else ""
    there_are = f"there are {named}{more}" if found else "there is none yet"
    message = f"there is no capacity domain {name!r} to open: no job uses it, and nobody closed it; {there_are}"
    return Refusal(Reason.NOT_FOUND, message, "headrace.v1.CapacityDomain", name)


def budget_name(budget: Budget) -> str:
    """How the audit log names a budget."""
    return f"{budget.owner}/{budget.period.name}" if budget.owner else budget.period.name


def _limits(budget: Budget) -> str:
    parts = [f"${budget.cost_max_usd_micros / 1e6:.2f}"] if budget.cost_max_usd_micros else []
    return ", ".join(parts + ([f"{budget.tokens_max} tokens"] if budget.tokens_max else []))


def _because(reason: str) -> list[str]:
    return [f"reason: {reason}"] if reason else []


def _clock(time: Micros) -> str:
    return datetime.fromtimestamp(time // SECOND, UTC).isoformat()
