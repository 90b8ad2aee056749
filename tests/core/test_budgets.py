"""Budgets: what is reserved and spent together stays within the limit, and who uses more is stopped (X6, I15)."""

from functools import partial
from random import Random

import pytest

from core.budgeting import DOLLAR
from core.budgeting import budget as some_budget
from headrace_server.core import prices
from headrace_server.core.budgets import (
    RESERVATION_USD_MICROS_MIN,
    Spending,
    day_of,
    is_low,
    is_passed,
    is_spent,
    left_tokens,
    left_usd_micros,
    next_day,
    reservation,
    tokens_of,
)
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.job import Usage

budget = partial(some_budget, cost_max_usd_micros=10 * DOLLAR)


def test_x6_a_budget_covers_an_owner_or_the_whole_namespace() -> None:
    assert budget().covers("default", "ann")
    assert not budget().covers("other", "ann")
    assert budget(owner="ann").covers("default", "ann")
    assert not budget(owner="ann").covers("default", "bob")


def test_x6_a_job_reserves_its_own_limit_or_the_default_and_at_most_what_is_left() -> None:
    fresh = [(budget(), Spending())]
    assert reservation(0, fresh) == DOLLAR
    assert reservation(3 * DOLLAR, fresh) == 3 * DOLLAR
    assert reservation(30 * DOLLAR, fresh) == 10 * DOLLAR
    nearly = Spending(spent_usd_micros=9 * DOLLAR, held_usd_micros=DOLLAR // 2)
    assert reservation(0, [(budget(), nearly)]) == DOLLAR // 2


def test_x6_of_several_budgets_the_one_with_least_left_counts() -> None:
    pairs = [
        (budget(), Spending()),
        (budget(owner="ann", cost_max_usd_micros=DOLLAR, reservation_usd_micros=2 * DOLLAR), Spending(400_000)),
        (budget(cost_max_usd_micros=0, tokens_max=5), Spending()),
    ]
    assert reservation(0, pairs) == 600_000
    assert reservation(0, pairs[2:]) == 0, "no limit in dollars, nothing to reserve"


def test_x6_with_too_little_left_nothing_is_started() -> None:
    edge = 10 * DOLLAR - RESERVATION_USD_MICROS_MIN
    assert not is_spent(budget(), Spending(spent_usd_micros=edge))
    assert is_spent(budget(), Spending(spent_usd_micros=edge + 1))
    assert is_spent(budget(), Spending(held_usd_micros=10 * DOLLAR))
    tokens = budget(cost_max_usd_micros=0, tokens_max=100)
    assert not is_spent(tokens, Spending(spent_tokens=60, used_tokens=39))
    assert is_spent(tokens, Spending(spent_tokens=60, used_tokens=40))
    assert (left_tokens(tokens, Spending(spent_tokens=60)), left_usd_micros(tokens, Spending())) == (40, None)


def test_x6_who_uses_more_than_there_is_has_passed_it_and_a_warning_comes_before() -> None:
    limited = budget(cost_max_usd_micros=1000, tokens_max=100)
    assert not is_low(limited, Spending(500, 50, 1000, 299, 29))
    assert is_low(limited, Spending(500, 50, 1000, 300, 0))
    assert is_low(limited, Spending(0, 50, 0, 0, 30))
    assert not is_passed(limited, Spending(500, 50, 2000, 500, 50))
    assert is_passed(limited, Spending(500, 50, 2000, 501, 50))
    assert is_passed(limited, Spending(500, 50, 0, 0, 51))


@pytest.mark.parametrize("seed", range(40))
def test_i15_spent_and_reserved_stay_within_the_limit_but_for_one_call_of_each_that_runs(seed: int) -> None:
    chance = Random(seed)
    limit = budget(cost_max_usd_micros=chance.randint(RESERVATION_USD_MICROS_MIN, 5 * DOLLAR))
    call_max, spent, together = 50_000, 0, 0
    running: dict[int, list[int]] = {}

    def spending() -> Spending:
        held = sum(max(reserved, used) for reserved, used in running.values())
        return Spending(spent, 0, held, sum(used for _, used in running.values()), 0)

    for step in range(300):
        choice = chance.random()
        if choice < 0.4 and not is_spent(limit, spending()):
            running[step] = [reservation(chance.choice([0, 20_000, 2 * DOLLAR]), [(limit, spending())]), 0]
            together = len(running)
        elif choice < 0.8 and running:
            name = chance.choice(list(running))
            running[name][1] += chance.randint(1, call_max)
            if running[name][1] > running[name][0]:
                spent += running.pop(name)[1]
        elif running:
            spent += running.pop(chance.choice(list(running)))[1]
        left = left_usd_micros(limit, spending())
        assert left is not None
        assert -left <= call_max * together
    assert spent > 0


def test_x6_a_day_is_that_of_utc() -> None:
    noon = Micros((20_000 * 86_400 + 43_200) * SECOND)
    assert day_of(noon) == 20_000
    assert next_day(noon) == noon + 43_200 * SECOND
    assert day_of(next_day(noon)) == 20_001


def test_x6_the_clis_word_on_cost_counts_and_the_list_only_without_it() -> None:
    tokens = {"input_tokens": 1_000, "output_tokens": 1_000, "cache_creation_tokens": 1_000, "cache_read_tokens": 1_000}
    assert prices.cost_usd_micros(Usage(**tokens, cost_usd_micros=7), "opus") == 7
    assert prices.cost_usd_micros(Usage(**tokens), "sonnet") == 3_000 + 15_000 + 3_750 + 300
    assert prices.cost_usd_micros(Usage(**tokens), "unheard-of") == prices.cost_usd_micros(Usage(**tokens), "opus")
    assert prices.cost_usd_micros(Usage(), "opus") == 0
    assert tokens_of(Usage(**tokens)) == 4_000
