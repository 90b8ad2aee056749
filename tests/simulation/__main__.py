"""The command `scripts/simulate`: runs seeds, stops at the first that breaks a promise, shows how to see it again."""

import argparse
import logging
import sys
import time
from contextlib import nullcontext

from simulation.many import run_all
from simulation.mutants import MUTANTS, planted
from simulation.run import STEPS_COUNT_DEFAULT, Failed
from simulation.shrink import shrink
from simulation.storage import MemoryEngine

LAST_STEPS_COUNT = 12


def main() -> int:
    """The exit status: 1 when a promise was broken."""
    asked = _parse()
    logging.disable(logging.NOTSET if asked.verbose else logging.CRITICAL)
    begun = time.perf_counter()
    seeds = range(asked.first, asked.first + asked.seeds)
    done, failed = run_all(seeds, asked.steps, asked.mutant, asked.processes)
    if failed is not None:
        _show(failed, asked)
    seconds = time.perf_counter() - begun
    rate = done / seconds if seconds else 0.0
    verdict = "every promise held" if failed is None else f"{failed.promise} was broken by seed {failed.seed}"
    print(f"{done} seeds, {done * asked.steps} steps, {seconds:.1f} s, {rate:.1f} seeds/s: {verdict}")
    return 0 if failed is None else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--steps", type=int, default=STEPS_COUNT_DEFAULT, help="steps of each run")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="run a broken variant, which has to be caught")
    parser.add_argument("--processes", type=int, default=1, help="how many at once")
    parser.add_argument(
        "--verbose", action="store_true", help="show the log, every step, and where a promise was broken"
    )
    return parser.parse_args()


def _show(failed: Failed, asked: argparse.Namespace) -> None:
    with planted(asked.mutant) if asked.mutant else nullcontext():
        shortest = shrink(MemoryEngine(), failed)
    print(f"seed {failed.seed} breaks {failed.promise} at step {len(failed.steps)}: {failed.what}")
    print(f"  and still with {len(shortest.steps)} of its steps: {shortest.what}")
    shown = shortest.steps if asked.verbose else shortest.steps[-LAST_STEPS_COUNT:]
    for step in shown:
        print(f"    {step.action} {step.seed}")
    if asked.verbose:
        print(shortest.where)
    options = f" --steps {asked.steps}" + (f" --mutant {asked.mutant}" if asked.mutant else "")
    print(f"again: scripts/simulate --first {failed.seed} --seeds 1 --verbose{options}")


if __name__ == "__main__":
    sys.exit(main())
