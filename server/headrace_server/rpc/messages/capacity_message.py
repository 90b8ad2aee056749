"""Capacity domains and budgets as messages of the contract."""

from headrace.v1 import capacity_pb2
from headrace_server.core.budgets import (
    RESERVATION_USD_MICROS_DEFAULT,
    WARN_FRACTION_DEFAULT,
    Budget,
    BudgetPeriod,
    left_tokens,
    left_usd_micros,
    next_day,
)
from headrace_server.core.ids import Micros
from headrace_server.rpc.namespace import namespace_of
from headrace_server.store.capacity.budgets import BudgetRow
from headrace_server.store.capacity.domains import DomainRow
from headrace_server.store.codec import number, set_time


def domain_message(row: DomainRow) -> capacity_pb2.CapacityDomain:
    """A capacity domain."""
    domain = row.domain
    message = capacity_pb2.CapacityDomain(
        name=row.name,
        state=number(domain.state),
        cause=number(domain.cause),
        reason=domain.reason,
        actor=domain.actor,
        max_concurrency=domain.most,
        running=row.running,
        waiting=row.waiting,
        refusals=domain.refusals,
        unused=not row.used,
    )
    for field, time in ((message.since_time, domain.since), (message.until_time, domain.until)):
        if time:
            set_time(field, time)
    return message


def budget_of(message: capacity_pb2.Budget) -> Budget:
    """What is set of a budget, with its defaults."""
    return Budget(
        namespace=namespace_of(message.namespace),
        owner=message.owner,
        period=BudgetPeriod(message.period),
        cost_max_usd_micros=message.max_cost_usd_micros,
        tokens_max=message.max_tokens,
        warn_fraction=message.warn_fraction or WARN_FRACTION_DEFAULT,
        reservation_usd_micros=message.reservation_usd_micros or RESERVATION_USD_MICROS_DEFAULT,
    )


def budget_message(row: BudgetRow, now: Micros) -> capacity_pb2.Budget:
    """A budget and how far it is used."""
    budget, spending = row.budget, row.spending
    message = capacity_pb2.Budget(
        namespace=budget.namespace,
        owner=budget.owner,
        period=number(budget.period),
        max_cost_usd_micros=budget.cost_max_usd_micros,
        max_tokens=budget.tokens_max,
        warn_fraction=budget.warn_fraction,
        reservation_usd_micros=budget.reservation_usd_micros,
        spent_usd_micros=spending.spent_usd_micros,
        spent_tokens=spending.spent_tokens,
        reserved_usd_micros=spending.held_usd_micros,
        running_tokens=spending.used_tokens,
        left_usd_micros=left_usd_micros(budget, spending),
        left_tokens=left_tokens(budget, spending),
        actor=row.actor,
    )
    if budget.period is BudgetPeriod.DAY:
        set_time(message.reset_time, next_day(now))
    set_time(message.create_time, row.created)
    set_time(message.update_time, row.updated)
    return message
