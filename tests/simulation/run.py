"""One run: a seed makes a world and a list of steps; they are taken one by one, and all is checked after each."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from headrace_server.core.limits import EVENT_PAGE_COUNT
from simulation.actions import ACTIONS, Action, submit
from simulation.beside import ANSWERING, ANSWERING_SHARE, BESIDE, BESIDE_SHARE
from simulation.conversing import CONVERSING, CONVERSING_EVERY, CONVERSING_PLACES, CONVERSING_SHARE
from simulation.faults import FAULTS, REPAIRS
from simulation.given_folders import FOLDERS, FOLDERS_EVERY, FOLDERS_PLACE, FOLDERS_SHARE
from simulation.kept_room import KEPT_ROOM, KEPT_ROOM_EVERY, KEPT_ROOM_PLACE, KEPT_ROOM_SHARE
from simulation.later_actions import LATER_ACTIONS
from simulation.rest import come_to_rest
from simulation.server import pages_of
from simulation.spending import SPENDING, SPENDING_EVERY, SPENDING_PLACE, SPENDING_SHARE
from simulation.storage import MemoryEngine
from simulation.violation import Violation
from simulation.world import World

STEPS_COUNT_DEFAULT = 150
PAGE_COUNTS = (2, 7, EVENT_PAGE_COUNT)
"""How many events readers get at once, by seed."""
AT_REST = "coming to rest"
_ALL = {**ACTIONS, **LATER_ACTIONS, **BESIDE, **ANSWERING, **SPENDING, **CONVERSING, **FOLDERS, **KEPT_ROOM, **FAULTS}


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


def plan(seed: int, count: int, *, first_actions: bool = False, beside: bool = True) -> list[Step]:
    """The steps of a seed. Each seed likes some actions more and leaves some faults out, so that runs differ.

    With `first_actions` it takes only those that were there when the oldest regressions were found. What goes on
    `beside` comes between the steps, and is not counted.
    """
    chance = Random(seed)
    actions = ACTIONS if first_actions else {**ACTIONS, **LATER_ACTIONS}
    weights = {name: weight * chance.choice((0.5, 1.0, 2.0)) for name, (_, weight) in actions.items()}
    for name, (_, weight) in FAULTS.items():
        weights[name] = weight * (1.0 if name in REPAIRS else chance.choice((0.0, 0.5, 1.0, 3.0)))
    names = chance.choices(list(weights), list(weights.values()), k=count)
    steps = [Step(name, chance.getrandbits(32)) for name in names]
    if not beside:
        return steps
    steps = _beside(steps, BESIDE, BESIDE_SHARE, Random(f"beside {seed}"))
    if seed % CONVERSING_EVERY in CONVERSING_PLACES:
        steps = _beside(steps, CONVERSING, CONVERSING_SHARE, Random(f"conversing {seed}"))
    if seed % FOLDERS_EVERY == FOLDERS_PLACE:
        steps = _beside(steps, FOLDERS, FOLDERS_SHARE, Random(f"folders {seed}"))
    if seed % KEPT_ROOM_EVERY == KEPT_ROOM_PLACE:
        steps = _beside(steps, KEPT_ROOM, KEPT_ROOM_SHARE, Random(f"kept room {seed}"))
    if seed % SPENDING_EVERY != SPENDING_PLACE:
        return steps
    steps = _beside(steps, SPENDING, SPENDING_SHARE, Random(f"spending {seed}"))
    return _beside(steps, ANSWERING, ANSWERING_SHARE, Random(f"answering {seed}"))


def _beside(steps: list[Step], others: Mapping[str, tuple[Action, float]], share: float, chance: Random) -> list[Step]:
    names, weights = list(others), [weight for _, weight in others.values()]
    all_steps = []
    for step in steps:
        all_steps.append(step)
        if chance.random() < share:
            all_steps.append(Step(chance.choices(names, weights)[0], chance.getrandbits(32)))
    return all_steps


def run_seed(engine: MemoryEngine, seed: int, count: int = STEPS_COUNT_DEFAULT) -> Failed | None:
    """Runs what a seed plans; None when every promise held."""
    return run_steps(engine, seed, plan(seed, count))


def run_steps(engine: MemoryEngine, seed: int, steps: Sequence[Step]) -> Failed | None:
    """Takes steps in the world of a seed, then lets it come to rest."""
    with pages_of(PAGE_COUNTS[seed % len(PAGE_COUNTS)]):
        return _run_steps(engine, seed, steps)


def _run_steps(engine: MemoryEngine, seed: int, steps: Sequence[Step]) -> Failed | None:
    taken: list[Step] = []
    world: World | None = None
    try:
        talks = any(step.action in CONVERSING for step in steps)
        world = World(engine, Random(seed), talks=talks)
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
    action, _ = _ALL[step.action]
    action(world, Random(step.seed))
    world.check()
