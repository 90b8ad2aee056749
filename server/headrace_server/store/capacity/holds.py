"""Whether a job is kept from starting by its capacity domain, by a budget or by another job in its folder, whatever
workers there are (X5, X6, Q3)."""

from headrace_server.core.budgets import is_spent
from headrace_server.core.capacity import standing
from headrace_server.core.job import Job
from headrace_server.store.capacity.budgets import covering, spendings
from headrace_server.store.capacity.domains import domain_of, known, room_of
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.folders import waits_for_folder


def is_kept(ledger: Ledger, job: Job) -> bool:
    """Whether a Claude job could not start now. A wait that is not its worker's fault is not held against it."""
    name = domain_of(ledger, job)
    if not name:
        return False
    domain = known(ledger).get(name)
    if domain is not None and room_of(ledger.query, name, standing(domain, ledger.now)) == 0:
        return True
    if waits_for_folder(ledger, job):
        return True
    paid = covering(ledger, job.namespace, job.owner)
    if not paid:
        return False
    used = spendings(ledger.look_up, ledger.now, (job.namespace, job.owner))
    return any(is_spent(budget, used[budget.namespace, budget.owner, budget.period]) for budget in paid)
