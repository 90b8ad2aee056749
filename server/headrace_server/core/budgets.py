"""Budgets: what Claude jobs of a namespace, or of an owner in it, may spend, and what a job reserves of it (X6, I15).

Pure. What ended attempts have spent and what running ones hold comes in. A job reserves before it starts, so what is
spent and reserved together never passes a limit; a running one is stopped by its own reservation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.job import Usage

RESERVATION_USD_MICROS_DEFAULT = 1_000_000
RESERVATION_USD_MICROS_MIN = 10_000
"""With less left, nothing is started: it would not pay for one call."""
WARN_FRACTION_DEFAULT = 0.8
DAY_MICROS = 86_400 * SECOND


class BudgetPeriod(IntEnum):
    """What a limit is for; numbers are those of `BudgetPeriod` in capacity.proto."""

    DAY = 1
    TOTAL = 2


class BudgetMark(IntEnum):
    """How far a budget is used, as a log tells it; numbers are those of `BudgetMark` in event.proto."""

    WARNING = 1
    RESERVATION = 2
    LIMIT = 3


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits that somebody has set. Zero limits nothing."""

    namespace: str
    owner: str
    """Empty for all of the namespace."""
    period: BudgetPeriod
    cost_max_usd_micros: int
    tokens_max: int
    warn_fraction: float
    reservation_usd_micros: int

    def covers(self, namespace: str, owner: str) -> bool:
        """Whether jobs of an owner are paid from it."""
        return self.namespace == namespace and self.owner in ("", owner)


@dataclass(frozen=True, slots=True)
class Spending:
    """How far a budget is used."""

    spent_usd_micros: int = 0
    """By attempts that have ended."""
    spent_tokens: int = 0
    held_usd_micros: int = 0
    """By attempts that run: reserved, or used where that is more."""
    used_usd_micros: int = 0
    """By attempts that run, so far."""
    used_tokens: int = 0

    @property
    def all_usd_micros(self) -> int:
        """What is used of it, whether or not the attempt has ended."""
        return self.spent_usd_micros + self.used_usd_micros

    @property
    def all_tokens(self) -> int:
        """The same in tokens."""
        return self.spent_tokens + self.used_tokens

    def and_reserved(self, usd_micros: int) -> "Spending":
        """After one more attempt has reserved so much."""
        return Spending(
            self.spent_usd_micros,
            self.spent_tokens,
            self.held_usd_micros + usd_micros,
            self.used_usd_micros,
            self.used_tokens,
        )


def left_usd_micros(budget: Budget, spending: Spending) -> int | None:
    """What may still be reserved; None without a limit. Less than nothing when a call passed it, or it was lowered."""
    if not budget.cost_max_usd_micros:
        return None
    return budget.cost_max_usd_micros - spending.spent_usd_micros - spending.held_usd_micros


def left_tokens(budget: Budget, spending: Spending) -> int | None:
    """The same in tokens."""
    if not budget.tokens_max:
        return None
    return budget.tokens_max - spending.spent_tokens - spending.used_tokens


def is_spent(budget: Budget, spending: Spending) -> bool:
    """Whether nothing more may be started."""
    usd, tokens = left_usd_micros(budget, spending), left_tokens(budget, spending)
    return (usd is not None and usd < RESERVATION_USD_MICROS_MIN) or (tokens is not None and tokens <= 0)


def is_passed(budget: Budget, spending: Spending) -> bool:
    """Whether more was used than there is: what runs has to stop."""
    usd, tokens = budget.cost_max_usd_micros, budget.tokens_max
    return (usd > 0 and spending.all_usd_micros > usd) or (tokens > 0 and spending.all_tokens > tokens)


def is_low(budget: Budget, spending: Spending) -> bool:
    """Whether so much was used that somebody should know."""
    usd, tokens = budget.cost_max_usd_micros, budget.tokens_max
    return (usd > 0 and spending.all_usd_micros >= usd * budget.warn_fraction) or (
        tokens > 0 and spending.all_tokens >= tokens * budget.warn_fraction
    )


def reservation(own_max_usd_micros: int, budgets: Iterable[tuple[Budget, Spending]]) -> int:
    """What a job reserves of budgets none of which is spent: its own limit, else what they say, at most what is left.
    Zero when none of them has a limit in dollars."""
    in_dollars = [
        (budget, left) for budget, spending in budgets if (left := left_usd_micros(budget, spending)) is not None
    ]
    if not in_dollars:
        return 0
    wanted = own_max_usd_micros or min(budget.reservation_usd_micros for budget, _ in in_dollars)
    return min(wanted, *(left for _, left in in_dollars))


def tokens_of(usage: Usage) -> int:
    """Tokens of all kinds."""
    return usage.input_tokens + usage.output_tokens + usage.cache_creation_tokens + usage.cache_read_tokens


def day_of(now: Micros) -> int:
    """The number of the UTC day."""
    return now // DAY_MICROS


def next_day(now: Micros) -> Micros:
    """When the next UTC day begins."""
    return Micros((day_of(now) + 1) * DAY_MICROS)
