"""Seeds that once failed, with what they found: they run before all others.

When actions are added or weighed anew, a seed makes another run: what it found is held by a mutant as well, and here
stands a seed that tells it from then on.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Regression:
    """A seed, and what it found."""

    seed: int
    promise: str
    found: str


REGRESSIONS = (
    Regression(1, "L6", "an attempt that its worker ended for its lease failed the job: own_end_fails_the_job"),
    Regression(845, "I5", "a finish whose commit failed counted its slot as free"),
    Regression(2786, "I12", "of two attempts of one job that a worker held, one was never answered"),
)
