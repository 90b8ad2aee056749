"""The simulation can fail: every broken variant is caught, each by the first seed that tells it."""

import logging
from collections.abc import Iterator

import pytest

from simulation.caught import FIRST_SEEDS
from simulation.mutants import MUTANTS, planted
from simulation.run import run_seed
from simulation.storage import MemoryEngine

SEEDS_COUNT_MAX = 100
"""Within which every mutant has to be caught."""


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
    assert max(FIRST_SEEDS.values()) < SEEDS_COUNT_MAX


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_caught(engine: MemoryEngine, name: str) -> None:
    with planted(name):
        failed = run_seed(engine, FIRST_SEEDS[name])
    assert failed is not None, f"{name} was not noticed by its seed; scripts/simulate --mutant {name} finds another"
