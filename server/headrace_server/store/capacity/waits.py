"""What of capacity domains and budgets keeps a job from starting, read in one moment (Q8). The text is made
elsewhere."""

from dataclasses import dataclass

from headrace_server.core.budgets import Budget, BudgetPeriod, Spending, is_spent, next_day
from headrace_server.core.capacity import Domain, DomainState
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import Job
from headrace_server.store.capacity.budgets import budgets_of_owner, spendings
from headrace_server.store.capacity.domains import domain_of_key, probes_of, read_domain, room_of, running_count
from headrace_server.store.engine import Query


@dataclass(frozen=True, slots=True)
class DomainWait:
    """A capacity domain of which no further job may start."""

    name: str
    domain: Domain
    """As it is now."""
    running: int
    probe: JobId | None
    """While it is half open: the job that tries."""


@dataclass(frozen=True, slots=True)
class BudgetWait:
    """A budget of which too little is left."""

    budget: Budget
    spending: Spending
    until: Micros
    """When it begins anew; zero for never."""


def domain_wait(query: Query, key: int, now: Micros) -> DomainWait | None:
    """The capacity domain of the jobs of a ready key, when it holds them."""
    name = domain_of_key(query, key)
    domain = read_domain(query, name, now)
    if not name or domain.is_plain or room_of(query, name, domain) > 0:
        return None
    probes = probes_of(query, name, domain.since) if domain.state is DomainState.HALF_OPEN else []
    return DomainWait(name, domain, running_count(query, name), probes[0] if probes else None)


def budget_waits(query: Query, job: Job, now: Micros) -> tuple[BudgetWait, ...]:
    """The budgets that hold a job."""
    covering = budgets_of_owner(query, job.namespace, job.owner)
    if not covering or not domain_of_key(query, job.key):
        return ()
    used = spendings(query, now, (job.namespace, job.owner))
    waits = []
    for budget in covering:
        spending = used[budget.namespace, budget.owner, budget.period]
        if is_spent(budget, spending):
            until = next_day(now) if budget.period is BudgetPeriod.DAY else Micros(0)
            waits.append(BudgetWait(budget, spending, until))
    return tuple(waits)
