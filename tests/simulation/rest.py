"""The end of a run: faults stop, everybody does what is due, time passes, and everything that can end has to."""

from collections.abc import Set
from random import Random

from headrace.v1 import job_pb2
from headrace.v1.outcome_pb2 import FAILURE_CLASS_CRASH
from headrace_server.core.job import Job
from headrace_server.core.refusal import Refused
from headrace_server.core.states import ENDED, LEASED, JobState
from simulation.attempts import ACCEPTED, STARTED
from simulation.beside import begin_sweep
from simulation.checkers.conversations import check_conversations, processes_in_vain
from simulation.checkers.rest import check_explained, check_rest, fits_nobody, shut_until, waits_for_nobody
from simulation.feed_readers import FeedReader
from simulation.ground import Ending
from simulation.held_process import Process
from simulation.operators import DRAIN, drain_busy_queue, resume_all
from simulation.server import HEARTBEAT_SECONDS
from simulation.spending import lift_all, open_refused
from simulation.violation import hold
from simulation.workers import Worker
from simulation.world import World

ROUNDS_MAX = 300
ROUND_SECONDS = 2.0
PROCESS_ROUNDS_MAX = 30
MISSED_SECONDS = 100.0
FEED_ROUNDS_MAX = 2000
FEED_SECONDS = 0.01
"""After which a reader of the feed has what is there."""
KEPT_SECONDS = 40
"""How long the sweep at the end keeps jobs that have ended."""
OUTPUT_KEPT_SECONDS = 8
"""Or their output."""


def come_to_rest(world: World, chance: Random) -> None:
    """Stops every fault, lets time pass, and checks what has to be true in the end."""
    _repair(world, chance)
    _let_drains_end(world, chance)
    _let_schedules_fire(world, chance)
    resume_all(world)
    lift_all(world, chance)
    _everybody_acts(world, chance)
    for _ in range(ROUNDS_MAX):
        if not _live_jobs(world):
            break
        world.advance(_seconds_to_pass(world))
        _everybody_acts(world, chance)
        open_refused(world, chance)
        world.check()
    for _ in range(3):
        world.advance(ROUND_SECONDS)
        _everybody_acts(world, chance)
    _let_processes_end(world, chance)
    check_conversations(world.sessions.rows, world.disks, world.ground.turns)
    _sweep(world, chance)
    _read_to_the_end(world)
    world.check()
    with world.engine.reading() as connection:
        check_rest(world.chronicle, connection, world.awake())
    world.check_readers_at_rest()
    _check_explained(world)
    _read_feed_to_the_end(world)


def _repair(world: World, chance: Random) -> None:
    world.engine.faults.clear()
    for worker in world.workers.values():
        if chance.random() < 0.15:
            worker.kill()
    if chance.random() < 0.3:
        world.kill_server()
    if world.server is None:
        world.start_server()
    assert world.server is not None
    world.server.inline.slow = False
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


def _let_drains_end(world: World, chance: Random) -> None:
    """Q7: what runs of a drained queue is handed back once its grace is over, though it would go on by itself."""
    running: list[str] = []
    drain_busy_queue(world, chance)
    for _ in range(ROUNDS_MAX):
        with world.engine.reading() as connection:
            found = connection.rows("SELECT queue FROM queue_stops WHERE kind = ? AND until > 0", (DRAIN,))
        draining = {queue for (queue,) in found}
        running = [one.id for one in world.chronicle.jobs.values() if _runs_in(one.row, draining)]
        if not running:
            return
        world.advance(ROUND_SECONDS)
        _everybody_acts(world, chance, spared=draining)
        world.check()
    hold(False, "Q7", f"{running} of drained queues are never handed back")


def _runs_in(job: Job, queues: Set[str]) -> bool:
    return job.queue in queues and job.state in LEASED


def _let_schedules_fire(world: World, chance: Random) -> None:
    """I4: ticks that are due are dealt with, before nobody waits for them any more."""
    assert world.server is not None
    if not world.schedules.names:
        return
    if chance.random() < 0.5:
        # Some ticks are missed.
        world.clock.jump(MISSED_SECONDS)
    for _ in range(3):
        world.advance(ROUND_SECONDS)
        _everybody_acts(world, chance)
    with world.engine.reading() as connection:
        world.schedules.check_rest(world.chronicle, connection, world.server.now())


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
    assert world.server is not None
    times = [job.wake for job in jobs if job.wake]
    with world.engine.reading() as connection:
        workers = world.awake()
        shut = shut_until(connection, world.server.now())
        times += set(shut.values())
        there = {"", *(worker.kind.name for worker in workers if worker.connected)}
        goes_on = any(
            job.state in LEASED
            or (
                job.state is JobState.QUEUED
                and job.holder in there
                and job.key not in shut
                and not fits_nobody(job, connection, workers)
            )
            for job in jobs
        )
    if not times or goes_on:
        return ROUND_SECONDS
    return max(ROUND_SECONDS, world.server.seconds_until(min(times)) + 0.1)


def _everybody_acts(world: World, chance: Random, spared: Set[str] = frozenset()) -> None:
    """Attempts of the queues that are spared go on."""
    for worker in world.awake():
        worker.look_at_clock()
        world.connect(worker)
    world.flow(chance)
    for worker in world.awake():
        _work_off(world, worker, chance, spared)
    world.flow(chance)


def _work_off(world: World, worker: Worker, chance: Random, spared: Set[str]) -> None:
    for attempt in list(worker.attempts.values()):
        if attempt.phase == ACCEPTED:
            worker.start(attempt)
        if attempt.phase != STARTED:
            continue
        if attempt.returning and not attempt.cancelling:
            worker.conclude(attempt, Ending.RETURNED)
        elif attempt.cancelling:
            worker.conclude(attempt, Ending.CANCELLED)
        elif attempt.assignment.spec.queue not in spared and attempt.key.job_id not in world.clients.told.cancelled:
            # One that is to be cancelled goes on until its worker is told: it would not end by itself.
            failed = chance.random() < 0.2
            worker.conclude(attempt, Ending.FAILED if failed else Ending.SUCCEEDED, FAILURE_CLASS_CRASH)


def _let_processes_end(world: World, chance: Random) -> None:
    """X4: a process of a session that is over ends, and one of an older binding."""
    vain: list[Process] = []
    for _ in range(PROCESS_ROUNDS_MAX):
        vain = list(processes_in_vain(world.chronicle, world.sessions.rows, world.awake()))
        if not vain:
            return
        world.advance(ROUND_SECONDS)
        _everybody_acts(world, chance)
    hold(False, "X4", f"processes go on that nobody wants: {[(one.worker, one.session_id) for one in vain]}")


def _sweep(world: World, chance: Random) -> None:
    """E8, I14, S1: what ended long ago is removed, nothing else; whoever submits it again hears which job it was."""
    assert world.server is not None
    server, told = world.server, world.clients.told
    task, old, outputs_of = begin_sweep(world, server, KEPT_SECONDS, chance.choice((OUTPUT_KEPT_SECONDS, KEPT_SECONDS)))
    for _ in range(ROUNDS_MAX):
        server.run()
        world.flow(chance)
        if task.done():
            break
    hold(task.done() and not isinstance(task.result(), Refused), "E8", "a sweep does not come to its end")
    left = old & world.chronicle.jobs.keys()
    hold(not left, "E8", f"{left} ended long ago and are there still")
    world.retention.check_swept(outputs_of)
    for submit in told.submits:
        if submit.request_id and not submit.bulk and submit.job_id in told.deleting:
            world.clients.ask_submit(server, submit, chance)
    world.flow(chance)


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


def _read_feed_to_the_end(world: World) -> None:
    """E1, E7: what is there comes at once, and a reader of little is told its place after a while."""
    for reader in world.feed_readers:
        for _ in range(FEED_ROUNDS_MAX):
            if not _reads_feed(world, reader):
                break
    world.feed.check_end(world.chronicle, told=False)
    for reader in world.feed_readers:
        hold(reader.wire is not None, "E1", "a stream of the feed does not stay")
    world.advance(HEARTBEAT_SECONDS + 1)
    for reader in world.feed_readers:
        while reader.has_more():
            reader.read()
    world.feed.check_end(world.chronicle, told=True)


def _reads_feed(world: World, reader: FeedReader) -> bool:
    assert world.server is not None
    if reader.wire is None:
        reader.open(world.server, world.chronicle.position, no_follow=False)
    world.advance(FEED_SECONDS)
    world.server.run()
    more = reader.has_more()
    if more:
        reader.read()
    return more or reader.wire is None


def _check_explained(world: World) -> None:
    assert world.server is not None
    now = world.server.now()
    with world.engine.reading() as connection:
        paused = {queue for (queue,) in connection.rows("SELECT queue FROM queue_stops WHERE until > ?", (now,))}
        shut = shut_until(connection, now)
    for known in world.chronicle.jobs.values():
        if known.row.state in ENDED:
            continue
        task = world.clients.explain(world.server, known.id)
        world.server.run()
        hold(task.done(), "Q8", "no explanation")
        holds = [job_pb2.WAIT_CAUSE_QUEUE_PAUSED] * (known.row.queue in paused)
        ready = known.row.state is JobState.QUEUED
        holds += [job_pb2.WAIT_CAUSE_CAPACITY_DOMAIN] * (ready and known.row.key in shut)
        check_explained(known, list(task.result().wait_reasons), holds)
