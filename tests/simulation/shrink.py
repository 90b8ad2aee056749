"""Makes a failing run short: leaves out steps as long as the same promise stays broken, larger pieces first."""

from simulation.run import Failed, Step, run_steps
from simulation.storage import MemoryEngine

RUNS_MAX = 400


def shrink(engine: MemoryEngine, failed: Failed) -> Failed:
    """The shortest run that was found. It needs the world of the same seed."""
    shortest = failed
    size = max(1, len(failed.steps) // 2)
    runs = 0
    while size:
        start = 0
        while start < len(shortest.steps) and runs < RUNS_MAX:
            steps = _taken(shortest)
            shorter = run_steps(engine, failed.seed, steps[:start] + steps[start + size :])
            runs += 1
            if shorter is not None and shorter.promise == failed.promise and len(shorter.steps) < len(shortest.steps):
                shortest = shorter
            else:
                start += size
        size //= 2
    return shortest


def _taken(failed: Failed) -> list[Step]:
    return [step for step in failed.steps if not step.is_rest]
