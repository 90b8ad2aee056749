"""Steps after which room that was kept for a large job is for others, though no worker has more of it than before.

With a chance of its own, in some seeds only: the others take the steps that they took without.
"""

from random import Random

from headrace.v1 import job_pb2
from headrace_server.core.states import JobState
from headrace_server.runtime.plan import RESERVE_AFTER_SECONDS
from simulation.actions import Action
from simulation.attempts import ACCEPTED, STARTED
from simulation.ground import Ending
from simulation.world import World

KEPT_ROOM_SHARE = 0.15
"""After which part of the other steps one of these is taken, in a seed that has them."""
KEPT_ROOM_EVERY, KEPT_ROOM_PLACE = 20, 3
"""Of so many seeds one has them, which is the one at this place, from zero."""
ROUND_SECONDS = 2.0


def wait_for_room(world: World, chance: Random) -> None:
    """Clients have small jobs that fill every worker, a large one, and small ones behind it; the large one waits so
    long that the first slot is kept for it that an end makes free."""
    for slots in (*[1] * sum(worker.kind.slots for worker in world.awake()), 2, 1, 1):
        _submit(world, slots, chance)
    world.flow(chance)
    for _ in range(int(RESERVE_AFTER_SECONDS / ROUND_SECONDS) + 1):
        world.advance(ROUND_SECONDS)
        for worker in world.awake():
            worker.look_at_clock()
            for attempt in [one for one in worker.attempts.values() if one.phase == ACCEPTED]:
                worker.start(attempt)
        world.flow(chance)
    ending = [
        (worker, attempt)
        for worker in world.awake()
        for attempt in worker.attempts.values()
        if worker.kind.slots > 1 and attempt.phase == STARTED and not attempt.endless
    ]
    if ending:
        worker, attempt = chance.choice(ending)
        worker.conclude(attempt, Ending.SUCCEEDED)
        world.flow(chance)


def _submit(world: World, slots: int, chance: Random) -> None:
    def spec_of(number: int) -> job_pb2.JobSpec:
        spec = job_pb2.JobSpec(display_name=str(number), queue="default")
        spec.handler.name, spec.placement.resources.slots = "echo", slots
        return spec

    if world.server is not None:
        world.clients.ask_submit(world.server, world.clients.want(spec_of, chance), chance)
        world.server.run()


def cancel_large(world: World, chance: Random) -> None:
    """A client cancels a large job that room is kept for."""
    if world.server is None:
        return
    kept = set(world.server.registry.reserved.values())
    large = [one for one in world.chronicle.jobs.values() if one.row.state is JobState.QUEUED and one.row.id in kept]
    if large:
        world.clients.ask_cancel(world.server, chance.choice(large).id)
        world.server.run()
        world.commit()


KEPT_ROOM: dict[str, tuple[Action, float]] = {
    "wait_for_room": (wait_for_room, 1),
    "cancel_large": (cancel_large, 2),
}
"""With how often each is taken."""
