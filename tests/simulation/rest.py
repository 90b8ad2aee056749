"""The end of a run: faults stop, everybody does what is due, time passes, and everything that can end has to."""

from random import Random

from headrace.v1.outcome_pb2 import FAILURE_CLASS_CRASH
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED, LEASED, JobState
from simulation.attempts import ACCEPTED, STARTED
from simulation.checkers.rest import check_explained, check_rest, waits_for_nobody
from simulation.ground import Ending
from simulation.operators import resume_all
from simulation.violation import hold
from simulation.workers import Worker
from simulation.world import World

ROUNDS_MAX = 300
ROUND_SECONDS = 2.0


def come_to_rest(world: World, chance: Random) -> None:
    """Stops every fault, lets time pass, and checks what has to be true in the end."""
    _repair(world, chance)
    resume_all(world)
    _everybody_acts(world, chance)
    for _ in range(ROUNDS_MAX):
        if not _live_jobs(world):
            break
        world.advance(_seconds_to_pass(world))
        _everybody_acts(world, chance)
        world.check()
    for _ in range(3):
        world.advance(ROUND_SECONDS)
        _everybody_acts(world, chance)
    _read_to_the_end(world)
    world.check()
    with world.engine.reading() as connection:
        check_rest(world.chronicle, connection, world.awake())
    world.check_readers_at_rest()
    _check_explained(world)


def _repair(world: World, chance: Random) -> None:
    world.engine.faults.clear()
    for worker in world.workers.values():
        if chance.random() < 0.15:
            worker.kill()
    if chance.random() < 0.3:
        world.kill_server()
    if world.server is None:
        world.start_server()
    for wire in world.lingering:
        wire.notice()
    world.lingering.clear()
    for name, worker in list(world.workers.items()):
        worker.frozen = False
        if worker.dead:
            # Some never come back: their leases have to end all the same.
            if chance.random() < 0.5 or not world.awake():
                world.workers[name] = world.new_worker(worker.kind)
        elif worker.draining:
            worker.draining = False
            worker.renew()


def _live_jobs(world: World) -> list[Job]:
    with world.engine.reading() as connection:
        workers = world.awake()
        return [
            known.row
            for known in world.chronicle.jobs.values()
            if known.row.state not in ENDED and not waits_for_nobody(known, world.chronicle, connection, workers)
        ]


def _seconds_to_pass(world: World) -> float:
    """To the next time that a job waits for, when nothing else goes on."""
    jobs = _live_jobs(world)
    times = [job.wake for job in jobs if job.wake]
    if not times or any(job.state in LEASED or (job.state is JobState.QUEUED and not job.holder) for job in jobs):
        return ROUND_SECONDS
    assert world.server is not None
    return max(ROUND_SECONDS, world.server.seconds_until(min(times)) + 0.1)


def _everybody_acts(world: World, chance: Random) -> None:
    for worker in world.awake():
        worker.look_at_clock()
        world.connect(worker)
    world.flow(chance)
    for worker in world.awake():
        _work_off(world, worker, chance)
    world.flow(chance)


def _work_off(world: World, worker: Worker, chance: Random) -> None:
    for attempt in list(worker.attempts.values()):
        if attempt.phase == ACCEPTED:
            worker.start(attempt)
        if attempt.phase != STARTED:
            continue
        if attempt.returning and not attempt.cancelling:
            worker.conclude(attempt, Ending.RETURNED)
        elif attempt.cancelling:
            worker.conclude(attempt, Ending.CANCELLED)
        elif attempt.key.job_id not in world.clients.told.cancelled:
            # One that is to be cancelled goes on until its worker is told: it would not end by itself.
            failed = chance.random() < 0.2
            worker.conclude(attempt, Ending.FAILED if failed else Ending.SUCCEEDED, FAILURE_CLASS_CRASH)


def _read_to_the_end(world: World) -> None:
    assert world.server is not None
    for reader in world.readers.all:
        for _ in range(2000):
            if reader.wire is None and not reader.ended:
                reader.open(world.server)
            world.server.run()
            if reader.wire is None or not reader.wire.down:
                break
            reader.read()
        reader.cut()
        world.server.run()


def _check_explained(world: World) -> None:
    assert world.server is not None
    for known in world.chronicle.jobs.values():
        if known.row.state in ENDED:
            continue
        task = world.clients.explain(world.server, known.id)
        world.server.run()
        hold(task.done(), "Q8", "no explanation")
        check_explained(known.row.state, list(task.result().wait_reasons))
