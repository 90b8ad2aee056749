"""Broken variants of capacity domains and budgets."""

from typing import Any

from headrace_server.core import budgets as core_budgets
from headrace_server.core import facts
from headrace_server.runtime import cycle
from headrace_server.store.capacity import budgets, domains, reservations
from simulation.broken.queueing import Patches


def closed_domain_grants() -> Patches:
    """Nobody asks whether a domain is closed."""
    return [(domains.DomainRoom, "hold", lambda room, name: None)]


def probes_not_counted() -> Patches:
    """A job that tries a half-open domain does not count."""
    return [(domains, "probes_of", lambda *arguments: [])]


def reservations_not_counted() -> Patches:
    """What running attempts have reserved is there for others."""
    return [(core_budgets, "left_usd_micros", lambda budget, spending: budget.cost_max_usd_micros or None)]


def paid_twice() -> Patches:
    """What an attempt used is paid again."""
    pay = budgets.pay

    def twice(ledger: Any, paid: Any, usd_micros: int, tokens: int) -> None:
        pay(ledger, paid, 2 * usd_micros, 2 * tokens)

    return [(reservations, "pay", twice)]


def lost_attempt_not_paid() -> Patches:
    """What an attempt had used whose worker was lost is paid by nobody."""
    note = reservations.note

    def skip(ledger: Any, word: Any) -> None:
        if type(word.fact) is facts.AttemptLost:
            word = word._replace(after=word.before)
        note(ledger, word)

    return [(reservations, "note", skip)]


def reservation_outlives_its_lease() -> Patches:
    """What was reserved is not given back."""
    return [(reservations, "_drop", lambda ledger, job: None)]


def cap_left_out() -> Patches:
    """A worker is not told what an attempt may cost."""
    granted = cycle._granted
    return [(cycle, "_granted", lambda ledger, candidate, offer, reserved: granted(ledger, candidate, offer, 0))]
