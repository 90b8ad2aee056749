"""Sessions: clients that talk, and what their processes do by themselves. With a chance of its own, in some seeds only:
the others take the steps that they took without."""

from random import Random

from simulation.actions import Action
from simulation.answers import answer
from simulation.attempts import ACCEPTED, STARTED
from simulation.ground import Ending
from simulation.held_sessions import Session
from simulation.session_clients import Wanted
from simulation.spending import use_model
from simulation.workers import Worker
from simulation.world import World

CONVERSING_SHARE = 0.6
"""After which part of the other steps one of these is taken, in a seed that has them."""
CONVERSING_EVERY, CONVERSING_PLACES = 10, (6, 9)
"""Of so many seeds those have them that are at these places, from zero."""


def create_session(world: World, chance: Random) -> None:
    """A client wants a session."""
    if world.server is not None:
        world.talkers.create(world.server, chance)


def fork_session(world: World, chance: Random) -> None:
    """A client wants a session that goes on from another, rather from one in which something was said."""
    rows, known = world.sessions.rows, world.talkers.known
    begun = [one for one in known if one.id in rows and rows[one.id].conversation]
    source = chance.choice(begun) if begun and chance.random() < 0.9 else _session(world, chance)
    if world.server is not None and source is not None:
        world.talkers.fork(world.server, source, chance)


def say(world: World, chance: Random) -> None:
    """A client says something, or two do."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        session = _session(world, chance)
        if world.server is not None and session is not None:
            world.talkers.say(world.server, session, chance)


def interrupt(world: World, chance: Random) -> None:
    """A client interrupts, rather a session in which something runs."""
    busy = {job.row.turn.session_id.hex() for job in world.chronicle.jobs.values() if job.row.turn and job.row.worker}
    known = [one for one in world.talkers.known if one.id.replace("-", "") in busy]
    session = chance.choice(known) if known else _session(world, chance)
    if world.server is not None and session is not None:
        world.talkers.interrupt(world.server, session, chance)


def close_session(world: World, chance: Random) -> None:
    """A client closes a session."""
    session = _session(world, chance)
    if world.server is not None and session is not None:
        world.talkers.close(world.server, session, chance)


def change_session(world: World, chance: Random) -> None:
    """A client changes a session."""
    session = _session(world, chance)
    if world.server is not None and session is not None:
        world.talkers.change(world.server, session, chance)


def answer_in_session(world: World, chance: Random) -> None:
    """Somebody answers what a turn asks, naming the job or the session."""
    asking = [known for known in world.chronicle.jobs.values() if known.row.open_inputs and known.row.turn is not None]
    if not asking or chance.random() < 0.4:
        answer(world, chance)
        return
    row = chance.choice(asking).row
    assert row.turn is not None
    session = next((one for one in world.talkers.known if one.id.replace("-", "") == row.turn.session_id.hex()), None)
    if world.server is not None and session is not None:
        world.talkers.answer(world.server, session, chance.choice(row.open_inputs).request_id, chance)


def begin_own_turn(world: World, chance: Random) -> None:
    """A CLI that is idle begins a turn by itself."""
    idle = [one for one in _idle(world) if one[1].process is not None and one[1].process.transcript.said]
    if idle:
        worker, session = chance.choice(idle)
        worker.look_at_clock()
        if session.process is not None:
            worker.sessions.begin_own_turn(session)
            if chance.random() < 0.8:
                worker.say()
            draw = chance.random()
            if draw < 0.5:
                world.flow(chance)
            elif draw < 0.8:
                _cut_before_answer(world, worker)


def _cut_before_answer(world: World, worker: Worker) -> None:
    """The server hears all that a worker has said, and its answer is lost."""
    if worker.control is not None:
        world.deliver(worker.control, len(worker.control.up))
        world.commit()
        worker.disconnect()
        if world.server is not None:
            world.server.run()


def end_idle_process(world: World, chance: Random) -> None:
    """A process ends that is in no turn: by itself, or since its worker wants the memory."""
    idle = _idle(world)
    if idle:
        worker, session = chance.choice(idle)
        worker.look_at_clock()
        worker.sessions.end_idle(session)


def kill_holder(world: World, chance: Random) -> None:
    """A worker is killed that has a session's process, and now and then its data folder is gone with it."""
    holders = [worker for worker in world.workers.values() if not worker.dead and worker.sessions.processes]
    if holders:
        worker = chance.choice(holders)
        worker.kill()
        if chance.random() < 0.25:
            world.disks[worker.kind.name].wipe()
        if world.server is not None:
            world.server.run()


def lose_folder(world: World, chance: Random) -> None:
    """The data folder of a worker is lost whose process is gone."""
    dead = [worker.kind.name for worker in world.workers.values() if worker.dead]
    if dead:
        world.disks[chance.choice(dead)].wipe()


def talk_on(world: World, chance: Random) -> None:
    """Turns that were begun get on: they say something, and some end well."""
    use_model(world, chance)
    for worker in world.awake():
        worker.look_at_clock()
        for attempt in list(worker.attempts.values()):
            goes_on = attempt.phase == STARTED and not attempt.cancelling
            if goes_on and attempt.assignment.HasField("session") and chance.random() < 0.5:
                worker.conclude(attempt, Ending.SUCCEEDED)
        worker.say()
    if chance.random() < 0.5:
        world.flow(chance)


def catch_up(world: World, chance: Random) -> None:
    """What is on its way arrives, and turns that were given to a worker begin."""
    for worker in world.awake():
        worker.look_at_clock()
        if chance.random() < 0.8:
            world.connect(worker)
    world.flow(chance)
    for worker in world.awake():
        for attempt in list(worker.attempts.values()):
            if attempt.phase == ACCEPTED and attempt.assignment.HasField("session") and chance.random() < 0.8:
                worker.start(attempt)
    if chance.random() < 0.7:
        world.flow(chance)


CONVERSING: dict[str, tuple[Action, float]] = {
    "create_session": (create_session, 4),
    "fork_session": (fork_session, 2),
    "say": (say, 11),
    "interrupt": (interrupt, 2),
    "close_session": (close_session, 1),
    "change_session": (change_session, 0.5),
    "answer_in_session": (answer_in_session, 1.5),
    "begin_own_turn": (begin_own_turn, 6),
    "end_idle_process": (end_idle_process, 1),
    "kill_holder": (kill_holder, 0.8),
    "lose_folder": (lose_folder, 0.4),
    "talk_on": (talk_on, 8),
    "catch_up": (catch_up, 14),
}
"""With how often each is taken."""


def _session(world: World, chance: Random) -> Wanted | None:
    """One that is rather open still."""
    known = world.talkers.known
    open_still = [one for one in known if not one.closing and one.id not in world.talkers.lost]
    return chance.choice(open_still if open_still and chance.random() < 0.9 else known) if known else None


def _idle(world: World) -> list[tuple[Worker, Session]]:
    return [(worker, session) for worker in world.awake() for session in worker.sessions.idle]
