"""I1 to I13 hold in a few hundred seeded runs of the real control plane among faults, after every step.

`scripts/simulate` runs more of them, and shows a failing one.
"""

import logging
from collections.abc import Iterator

import pytest

from simulation.caught import FIRST_SEEDS
from simulation.many import CHUNK_SEEDS, run_all
from simulation.mutants import planted
from simulation.regressions import REGRESSIONS, Regression
from simulation.run import STEPS_COUNT_DEFAULT, Failed, plan, run_seed, run_steps
from simulation.shrink import shrink
from simulation.storage import MemoryEngine

SEEDS_COUNT = 120
PARTS_COUNT = 4


@pytest.fixture(scope="module")
def engine() -> MemoryEngine:
    """One database for all runs, emptied before each."""
    return MemoryEngine()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Ended leases and full disks are what these runs are about; the log would be all of it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def told(failed: Failed | None) -> str:
    """What a person needs in order to see a failing run again."""
    if failed is None:
        return ""
    again = f"scripts/simulate --first {failed.seed} --seeds 1 --verbose"
    return f"{failed.promise}: {failed.what} at step {len(failed.steps)}; again: {again}\n{failed.where}"


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda one: str(one.seed))
def test_what_once_failed_holds(engine: MemoryEngine, regression: Regression) -> None:
    options = {"first_actions": regression.first_actions, "beside": regression.beside}
    steps = plan(regression.seed, STEPS_COUNT_DEFAULT, **options)
    assert told(run_steps(engine, regression.seed, steps)) == ""


@pytest.mark.parametrize("part", range(PARTS_COUNT))
def test_i1_to_i13_hold_on_every_seed(engine: MemoryEngine, part: int) -> None:
    for seed in range(part, SEEDS_COUNT, PARTS_COUNT):
        assert told(run_seed(engine, seed)) == ""


def test_a_seed_repeats_its_run(engine: MemoryEngine) -> None:
    with planted("no_holder_check"):
        first, second = (run_seed(engine, FIRST_SEEDS["no_holder_check"]) for _ in range(2))
    assert first is not None
    assert second is not None
    assert (first.steps, first.what) == (second.steps, second.what)


def test_a_failing_run_shrinks_and_still_fails(engine: MemoryEngine) -> None:
    with planted("request_id_forgotten"):
        failed = run_steps(engine, 1, plan(1, 150))
        assert failed is not None
        shortest = shrink(engine, failed)
        again = run_steps(engine, 1, [step for step in shortest.steps if not step.is_rest])
    assert shortest.promise == failed.promise
    assert len(shortest.steps) <= 12
    assert again == shortest


def test_several_processes_share_the_seeds() -> None:
    assert run_all(range(2 * CHUNK_SEEDS), 3, None, processes=2) == (2 * CHUNK_SEEDS, None)
