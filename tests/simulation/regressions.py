"""Seeds that once failed, with what they found: they run before all others.

When actions are weighed anew or draw otherwise, a seed makes another run: what it found is held by a mutant as well,
and here stands a seed that tells it from then on.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Regression:
    """A seed, and what it found."""

    seed: int
    promise: str
    found: str
    first_actions: bool = False
    """It was found when there were fewer actions, and repeats only with these."""
    beside: bool = False
    """It needs what goes on beside the other steps, which came later still."""


REGRESSIONS = (
    Regression(1, "L6", "an attempt that its worker ended for its lease failed the job: own_end_fails_the_job", True),
    Regression(845, "I5", "a finish whose commit failed counted its slot as free", True),
    Regression(2786, "I12", "of two attempts of one job that a worker held, one was never answered", True),
    Regression(80, "Q1", "a key's head stayed above a job that came in the transaction that ended another"),
    Regression(961, "I5", "a cycle counted on the slots of a finish that could not be committed"),
    Regression(8405, "I4", "a buffered tick waited for the next one when its schedule was edited before a cycle"),
    Regression(1191, "I4", "slots of an earlier incarnation stayed empty when its lease had ended", beside=True),
    Regression(6069, "X1", "a fork forgot what it goes on from when a turn of the CLI had ended", beside=True),
    Regression(8437, "I4", "a cycle beside words that could not be committed was not followed by another", beside=True),
    Regression(9540, "L1", "a hello heard late took back what a later stream had been given", beside=True),
)
