"""What budgets leave to be started, while one plan is made (X6): exact, from rows of this transaction and from what the
plan has reserved since."""

from headrace_server.core.budgets import Budget, BudgetPeriod, Spending, is_spent, next_day, reservation
from headrace_server.core.job import Job
from headrace_server.store.attempts.leases import spec_of
from headrace_server.store.capacity.budgets import Scope, budgets, covering, spendings
from headrace_server.store.counters import UNTIL_FREED
from headrace_server.store.ledger import Ledger

_Name = tuple[str, str, BudgetPeriod]


class BudgetRoom:
    """The budgets of a store, and what was reserved of them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._budgets = budgets(ledger)
        self._read: dict[_Name, Spending] | None = None
        self._covering: dict[Scope, list[Budget]] = {}

    def is_namespace_spent(self, namespace: str) -> bool:
        """Whether no Claude job of a namespace may start."""
        return bool(self._budgets) and any(not budget.owner for budget in self._spent(namespace, ""))

    def is_spent(self, namespace: str, owner: str) -> bool:
        """Whether no Claude job of an owner may start."""
        return bool(self._budgets) and bool(self._spent(namespace, owner))

    def parked_until(self, namespace: str, owner: str) -> int | None:
        """Until when the keys of an owner need no look, for a budget of its own; None when that is not spent."""
        own = [budget for budget in self._spent(namespace, owner) if budget.owner]
        if not own:
            return None
        by_day = all(budget.period is BudgetPeriod.DAY for budget in own)
        return next_day(self._ledger.now) if by_day else UNTIL_FREED

    def spent_owners(self) -> list[Scope]:
        """The scopes that no Claude job may start of."""
        scopes = {(budget.namespace, budget.owner) for budget in self._budgets}
        return sorted(scope for scope in scopes if self.is_spent(*scope))

    def take(self, job: Job) -> int | None:
        """Reserves for a job of budgets that are not spent; None when no budget covers it."""
        if not self._budgets:
            return None
        paid = self._covered(job.namespace, job.owner)
        if not paid:
            return None
        own = spec_of(self._ledger, job).claude.limits.max_cost_usd_micros
        reserved = reservation(own, [(budget, self._spending(budget)) for budget in paid])
        for budget in paid:
            self._spendings()[_name(budget)] = self._spending(budget).and_reserved(reserved)
        return reserved

    def _spent(self, namespace: str, owner: str) -> list[Budget]:
        covered = self._covered(namespace, owner)
        return [budget for budget in covered if is_spent(budget, self._spending(budget))]

    def _covered(self, namespace: str, owner: str) -> list[Budget]:
        scope = (namespace, owner)
        if scope not in self._covering:
            self._covering[scope] = covering(self._ledger, namespace, owner)
        return self._covering[scope]

    def _spending(self, budget: Budget) -> Spending:
        return self._spendings()[_name(budget)]

    def _spendings(self) -> dict[_Name, Spending]:
        if self._read is None:
            self._read = spendings(self._ledger.look_up, self._ledger.now)
        return self._read


def _name(budget: Budget) -> _Name:
    return budget.namespace, budget.owner, budget.period
