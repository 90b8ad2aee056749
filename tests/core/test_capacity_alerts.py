"""Closed capacity domains and budgets that run low are among the alerts, with names and numbers (X5, X6)."""

from headrace_server.core.alerts import AlertName, Finding, Severity, Verdict
from headrace_server.core.budgets import Budget, BudgetPeriod, Spending
from headrace_server.core.capacity import Cause, Domain, DomainState
from headrace_server.core.health import Sample, Thresholds, find
from headrace_server.core.ids import SECOND, Micros

LIMITS = Thresholds(queue_saturation=0.9, commit_seconds=1.0, lag_seconds=1.0, disk_reserve_bytes=0)
UNTIL = Micros(1_800_000_000 * SECOND)


def finding(name: AlertName, sample: Sample) -> Finding:
    (found,) = [one for one in find(sample, LIMITS) if one.name is name]
    return found


def test_a_closed_domain_is_a_warning_and_one_that_needs_an_operator_is_critical() -> None:
    assert finding(AlertName.CAPACITY_CLOSED, Sample()).verdict is Verdict.GOOD
    closed = ("default/opus", Domain(DomainState.CLOSED, until=UNTIL, cause=Cause.QUOTA))
    tries = ("default/haiku", Domain(DomainState.HALF_OPEN, cause=Cause.OVERLOADED))
    found = finding(AlertName.CAPACITY_CLOSED, Sample(closed=[closed, tries]))
    assert (found.verdict, found.severity) == (Verdict.BAD, Severity.WARNING)
    assert found.message == (
        "no Claude jobs are started in default/opus (QUOTA, until 2027-01-15 08:00:00 UTC),"
        " default/haiku (OVERLOADED, one job tries)"
    )
    refused = ("team/opus", Domain(DomainState.CLOSED, cause=Cause.AUTH))
    found = finding(AlertName.CAPACITY_CLOSED, Sample(closed=[refused, closed]))
    assert found.severity is Severity.CRITICAL
    assert "team/opus (AUTH, until an operator opens it)" in found.message


def test_a_budget_that_is_nearly_used_is_a_warning() -> None:
    assert finding(AlertName.BUDGET_LOW, Sample()).verdict is Verdict.GOOD
    of_owner = Budget("default", "ann", BudgetPeriod.DAY, 1_000_000, 0, 0.8, 1_000_000)
    of_all = Budget("default", "", BudgetPeriod.TOTAL, 1_000_000, 1000, 0.8, 1_000_000)
    low = [
        (of_owner, Spending(spent_usd_micros=800_000, used_usd_micros=50_000)),
        (of_all, Spending(spent_tokens=1200)),
    ]
    found = finding(AlertName.BUDGET_LOW, Sample(low_budgets=low))
    assert (found.verdict, found.severity) == (Verdict.BAD, Severity.WARNING)
    assert found.message == (
        "budgets are nearly or wholly used:"
        " 85 % of owner ann in default (by day), 120 % of namespace default (in total)"
    )
