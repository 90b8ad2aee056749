"""What the logs of jobs say of the budgets that pay for them: which is nearly used, and which ends an attempt (X6).

A log takes it only while the attempt has its lease: its end comes last.
"""

from collections.abc import Sequence

from headrace.v1 import event_pb2
from headrace_server.core import facts
from headrace_server.core.budgets import (
    Budget,
    BudgetMark,
    BudgetPeriod,
    Spending,
    day_of,
    is_low,
    is_passed,
    left_usd_micros,
)
from headrace_server.core.job import Job
from headrace_server.store.codec import number
from headrace_server.store.ledger import Ledger

Used = Sequence[tuple[Budget, Spending]]
"""The budgets that pay for an attempt, and how far they are used with it."""


def tell_warnings(ledger: Ledger, job: Job, used: Used, usd_micros: int) -> None:
    """Says which of the budgets are used so far that somebody should know, once for each period. `usd_micros`: what the
    attempt has used."""
    for budget, spending in used:
        if is_low(budget, spending) and job.worker and not _is_warned(ledger, budget):
            ledger.run(
                "UPDATE budgets SET warned = ? WHERE namespace = ? AND owner = ? AND period = ?",
                (day_of(ledger.now), budget.namespace, budget.owner, int(budget.period)),
            )
            _tell(ledger, job, BudgetMark.WARNING, budget, spending, usd_micros, 0)


def tell_stop(ledger: Ledger, job: Job, used: Used, usd_micros: int, reserved: int) -> None:
    """Says for which of the budgets the attempt has to end: those that are passed; else it has used what it had
    reserved, and the one with the least left is named."""
    if not job.worker:
        return
    passed = [one for one in used if is_passed(*one)]
    for budget, spending in passed:
        _tell(ledger, job, BudgetMark.LIMIT, budget, spending, usd_micros, reserved)
    in_dollars = [one for one in used if left_usd_micros(*one) is not None]
    if not passed and in_dollars:
        budget, spending = min(in_dollars, key=lambda one: left_usd_micros(*one) or 0)
        _tell(ledger, job, BudgetMark.RESERVATION, budget, spending, usd_micros, reserved)


def _is_warned(ledger: Ledger, budget: Budget) -> bool:
    found = ledger.look_up(
        "SELECT warned FROM budgets WHERE namespace = ? AND owner = ? AND period = ?",
        (budget.namespace, budget.owner, int(budget.period)),
    )
    warned = int(found[0][0])
    return warned == day_of(ledger.now) if budget.period is BudgetPeriod.DAY else warned > 0


def _tell(
    ledger: Ledger, job: Job, mark: BudgetMark, budget: Budget, spending: Spending, usd_micros: int, reserved: int
) -> None:
    event = event_pb2.BudgetReached(
        mark=number(mark),
        namespace=budget.namespace,
        owner=budget.owner,
        period=number(budget.period),
        max_cost_usd_micros=budget.cost_max_usd_micros,
        max_tokens=budget.tokens_max,
        used_usd_micros=spending.all_usd_micros,
        used_tokens=spending.all_tokens,
        attempt_usd_micros=usd_micros,
        reserved_usd_micros=reserved,
    )
    ledger.record(job, facts.BudgetReached(event.SerializeToString()))
