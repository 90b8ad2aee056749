"""Many seeds, in one process or several. A module of its own, since spawned processes import it by its name."""

import logging
from contextlib import nullcontext
from multiprocessing import get_context

from simulation.mutants import planted
from simulation.run import Failed, run_seed
from simulation.storage import MemoryEngine

CHUNK_SEEDS = 25


def run_all(seeds: range, steps: int, mutant: str | None, processes: int) -> tuple[int, Failed | None]:
    """How many were run, and the first that broke a promise."""
    chunks = [(seeds[at : at + CHUNK_SEEDS], steps, mutant) for at in range(0, len(seeds), CHUNK_SEEDS)]
    done = 0
    if processes == 1:
        for chunk in chunks:
            count, failed = _run_chunk(chunk)
            done += count
            if failed is not None:
                return done, failed
        return done, None
    with get_context("spawn").Pool(processes, initializer=logging.disable) as pool:
        for count, failed in pool.imap(_run_chunk, chunks):
            done += count
            if failed is not None:
                return done, failed
    return done, None


def _run_chunk(chunk: tuple[range, int, str | None]) -> tuple[int, Failed | None]:
    seeds, steps, mutant = chunk
    engine = MemoryEngine()
    with planted(mutant) if mutant else nullcontext():
        for count, seed in enumerate(seeds, start=1):
            failed = run_seed(engine, seed, steps)
            if failed is not None:
                return count, failed
    return len(seeds), None
