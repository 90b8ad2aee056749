"""One run: a seed makes a world and a list of steps; they are taken one by one, and all is checked after each."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from simulation.actions import ACTIONS, submit
from simulation.faults import FAULTS, REPAIRS
from simulation.later_actions import LATER_ACTIONS
from simulation.rest import come_to_rest
from simulation.storage import MemoryEngine
from simulation.violation import Violation
from simulation.world import World

STEPS_COUNT_DEFAULT = 150
AT_REST = "coming to rest"


@dataclass(frozen=True, slots=True)
class Step:
    """What is done, and the chance that it draws from."""

    action: str
    seed: int

    @property
    def is_rest(self) -> bool:
        """Whether it is the end that every run has."""
        return self.action == AT_REST


@dataclass(frozen=True, slots=True)
class Failed:
    """A run that broke a promise."""

    seed: int
    steps: tuple[Step, ...]
    """Up to the one that broke it."""
    promise: str
    what: str
    where: str


def plan(seed: int, count: int, *, first_actions: bool = False) -> list[Step]:
    """The steps of a seed. Each seed likes some actions more and leaves some faults out, so that runs differ.

    With `first_actions` it takes only those that were there when the oldest regressions were found.
    """
    chance = Random(seed)
    actions = ACTIONS if first_actions else {**ACTIONS, **LATER_ACTIONS}
    weights = {name: weight * chance.choice((0.5, 1.0, 2.0)) for name, (_, weight) in actions.items()}
    for name, (_, weight) in FAULTS.items():
        weights[name] = weight * (1.0 if name in REPAIRS else chance.choice((0.0, 0.5, 1.0, 3.0)))
    names = chance.choices(list(weights), list(weights.values()), k=count)
    return [Step(name, chance.getrandbits(32)) for name in names]


def run_seed(engine: MemoryEngine, seed: int, count: int = STEPS_COUNT_DEFAULT) -> Failed | None:
    """Runs what a seed plans; None when every promise held."""
    return run_steps(engine, seed, plan(seed, count))


def run_steps(engine: MemoryEngine, seed: int, steps: Sequence[Step]) -> Failed | None:
    """Takes steps in the world of a seed, then lets it come to rest."""
    taken: list[Step] = []
    world: World | None = None
    try:
        world = World(engine, Random(seed))
        begin(world, Random(seed))
        for step in steps:
            taken.append(step)
            take(world, step)
        taken.append(Step(AT_REST, seed))
        come_to_rest(world, Random(seed))
    except Violation as violation:
        return Failed(seed, tuple(taken), violation.promise, violation.what, traceback.format_exc())
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        return Failed(seed, tuple(taken), "no part fails", what, traceback.format_exc())
    finally:
        if world is not None:
            world.kill_server()
    return None


def begin(world: World, chance: Random) -> None:
    """Most runs begin with workers that are connected and have something to do: faults hit harder then."""
    if chance.random() < 0.8:
        for worker in world.awake():
            world.connect(worker)
        for _ in range(chance.randint(2, 8)):
            submit(world, chance)
        world.flow(chance)


def take(world: World, step: Step) -> None:
    """Takes one step, and checks."""
    action, _ = ACTIONS.get(step.action) or LATER_ACTIONS.get(step.action) or FAULTS[step.action]
    action(world, Random(step.seed))
    world.check()
