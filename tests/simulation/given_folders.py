"""Clients whose Claude jobs are given folders, some of them the same ones, spelled in more than one way.

With a chance of its own, in some seeds only: the others take the steps that they took without.
"""

from random import Random

from headrace.v1 import job_pb2
from simulation.actions import Action
from simulation.attempts import STARTED
from simulation.checkers.folders import folder_of
from simulation.clients import RESUME_POLICIES, new_spec
from simulation.ground import Ending
from simulation.policies import FAIR_QUEUE, KEYS, NARROW_QUEUE, OWNERS, RATED_QUEUE
from simulation.world import World

FOLDERS_SHARE = 0.4
"""After which part of the other steps one of these is taken, in a seed that has them."""
FOLDERS_EVERY, FOLDERS_PLACE = 20, 11
"""Of so many seeds one has them, which is the one at this place, from zero."""
PATHS = ("/srv/site", "/srv/site/", "//srv/site", "/srv/site/docs", "/srv")
QUEUES = ("default", "default", NARROW_QUEUE, FAIR_QUEUE, RATED_QUEUE)


def submit_in_folders(world: World, chance: Random) -> None:
    """A client has several jobs at once in folders, in any queue."""
    if world.server is None:
        return
    for _ in range(chance.randint(1, 3)):

        def spec_of(number: int) -> job_pb2.JobSpec:
            spec = new_spec(number, world.clock.now(), chance)
            spec.queue, spec.owner = chance.choice(QUEUES), chance.choice(OWNERS)
            spec.concurrency_key = chance.choice(KEYS)
            spec.claude.prompt, spec.claude.resume_policy = "hi", chance.choice(RESUME_POLICIES)
            spec.claude.workspace.folder = chance.choice(PATHS)
            spec.claude.workspace.shared = chance.random() < 0.15
            return spec

        world.clients.ask_submit(world.server, world.clients.want(spec_of, chance), chance)
    world.server.run()


def leave_folder(world: World, chance: Random) -> None:
    """An attempt in a folder ends well, so that the next one can begin."""
    able = [
        (worker, attempt)
        for worker in world.awake()
        for attempt in worker.attempts.values()
        if attempt.phase == STARTED and not attempt.endless and folder_of(attempt.assignment.spec)
    ]
    if able:
        worker, attempt = chance.choice(able)
        worker.look_at_clock()
        if attempt.phase == STARTED:
            worker.conclude(attempt, Ending.SUCCEEDED)
            worker.send_output(chance)
            worker.say()


FOLDERS: dict[str, tuple[Action, float]] = {
    "submit_in_folders": (submit_in_folders, 2),
    "leave_folder": (leave_folder, 3),
}
"""With how often each is taken."""
