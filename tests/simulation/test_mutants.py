"""The simulation can fail: every broken variant is caught within its number of seeds."""

import logging
from collections.abc import Iterator

import pytest

from simulation.mutants import MUTANTS, planted
from simulation.run import run_seed
from simulation.storage import MemoryEngine

SEEDS_COUNT = 25
"""Within which a mutant has to be caught, unless it says otherwise."""
SEEDS_OF_RARE = {"cancel_lost": 80, "restart_ends_leases": 80}


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


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_caught(engine: MemoryEngine, name: str) -> None:
    seeds = range(SEEDS_OF_RARE.get(name, SEEDS_COUNT))
    with planted(name):
        assert any(run_seed(engine, seed) is not None for seed in seeds), (
            f"{name} was not noticed in {len(seeds)} seeds"
        )
