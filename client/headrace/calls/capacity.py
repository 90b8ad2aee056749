"""The calls of AdminService about capacity domains and budgets."""

from __future__ import annotations

from headrace import fields, policies
from headrace.calls.call import Call, Page
from headrace.options import check_names
from headrace.policies import BudgetLimits, Seconds
from headrace.tasks import usd_micros
from headrace.v1 import admin_service_pb2, capacity_pb2

PERIODS = {"day": capacity_pb2.BUDGET_PERIOD_DAY, "total": capacity_pb2.BUDGET_PERIOD_TOTAL}


def domains_page(page_size: int, page_token: str) -> Call[Page[capacity_pb2.CapacityDomain]]:
    request = admin_service_pb2.ListCapacityDomainsRequest(page_size=page_size, page_token=page_token)
    return Call(
        lambda s: s.admin.ListCapacityDomains,
        request,
        lambda response: Page(response.domains, response.next_page_token),
    )


def open_domain(name: str, reason: str) -> Call[capacity_pb2.CapacityDomain]:
    return _update(name, admin_service_pb2.CAPACITY_ORDER_OPEN, reason, None)


def close_domain(name: str, reason: str, duration: Seconds | None) -> Call[capacity_pb2.CapacityDomain]:
    return _update(name, admin_service_pb2.CAPACITY_ORDER_CLOSE, reason, duration)


def budgets_page(namespace: str, owner: str, page_size: int, page_token: str) -> Call[Page[capacity_pb2.Budget]]:
    request = admin_service_pb2.ListBudgetsRequest(
        namespace=namespace, owner=owner, page_size=page_size, page_token=page_token
    )
    return Call(
        lambda s: s.admin.ListBudgets, request, lambda response: Page(response.budgets, response.next_page_token)
    )


def set_budget(namespace: str, owner: str, period: str, limits: BudgetLimits) -> Call[capacity_pb2.Budget]:
    check_names(limits, BudgetLimits)
    budget = fields.message(
        capacity_pb2.Budget,
        namespace=namespace,
        owner=owner,
        period=_period(period),
        max_cost_usd_micros=usd_micros("max_cost_usd", limits.get("max_cost_usd", 0)),
        max_tokens=limits.get("max_tokens", 0),
        warn_fraction=limits.get("warn_fraction", 0),
        reservation_usd_micros=usd_micros("reservation_usd", limits.get("reservation_usd", 0)),
    )
    request = admin_service_pb2.SetBudgetRequest(budget=budget)
    return Call(lambda s: s.admin.SetBudget, request, lambda response: response.budget)


def delete_budget(namespace: str, owner: str, period: str) -> Call[None]:
    request = admin_service_pb2.DeleteBudgetRequest(namespace=namespace, owner=owner, period=_period(period))
    return Call(lambda s: s.admin.DeleteBudget, request, lambda response: None)


def _update(
    name: str, order: admin_service_pb2.CapacityOrder, reason: str, duration: Seconds | None
) -> Call[capacity_pb2.CapacityDomain]:
    request = admin_service_pb2.UpdateCapacityDomainRequest(
        name=name, order=order, reason=reason, duration=policies.optional_duration(duration)
    )
    return Call(lambda s: s.admin.UpdateCapacityDomain, request, lambda response: response.domain)


def _period(name: str) -> capacity_pb2.BudgetPeriod:
    if name not in PERIODS:
        raise ValueError(f"period is {name!r}; it has to be one of {', '.join(PERIODS)}")
    return PERIODS[name]
