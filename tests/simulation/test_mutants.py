"""The simulation can fail: every broken variant is caught, each by the first seed that tells it."""

import logging
from collections.abc import Iterator

import pytest

from simulation.caught import FIRST_SEEDS
from simulation.mutants import MUTANTS, planted
from simulation.regressions import REGRESSIONS
from simulation.run import run_seed
from simulation.storage import MemoryEngine

SEEDS_COUNT_MAX = 100
"""Within which every mutant has to be caught, unless it is what a regression was about."""
FIRST_COUNT = 30
"""Seeds that are tried when the noted one does not tell a mutant any more."""


@pytest.fixture(scope="module")
def engine() -> MemoryEngine:
    """One database for all runs, emptied before each."""
    return MemoryEngine()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What mutants log is of no interest."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_every_mutant_has_its_seed() -> None:
    assert set(FIRST_SEEDS) == set(MUTANTS)
    rare = {regression.seed for regression in REGRESSIONS}
    assert max(set(FIRST_SEEDS.values()) - rare) < SEEDS_COUNT_MAX


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_caught(engine: MemoryEngine, name: str) -> None:
    """By the seed that is noted, or by one of the first: whatever the product does otherwise moves them."""
    with planted(name):
        caught = any(run_seed(engine, seed) for seed in (FIRST_SEEDS[name], *range(FIRST_COUNT)))
    assert caught, f"{name} is noticed by none of these seeds; scripts/simulate --mutant {name} finds another"
