"""What can happen next: each action is one step of a run.

It draws everything from the chance that it is given, so that a step that is left out leaves the others as they were.
"""

from collections.abc import Callable
from random import Random

from headrace.v1 import event_pb2, job_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.store.codec import number
from simulation.attempts import ACCEPTED, FINISHED, STARTED, HeldAttempt
from simulation.ground import Ending
from simulation.workers import Worker
from simulation.world import World

Action = Callable[[World, Random], None]

FAILURE_CLASSES = (
    FailureClass.CRASH,
    FailureClass.CRASH,
    FailureClass.OVERLOADED,
    FailureClass.INVALID,
    FailureClass.ERROR,
    FailureClass.SCHEMA,
    FailureClass.QUOTA,
)


def submit(world: World, chance: Random) -> None:
    """A client submits."""
    if world.server is not None:
        world.clients.submit(world.server, chance)
        world.server.run()


def submit_bulk(world: World, chance: Random) -> None:
    """A client submits jobs that come together."""
    if world.server is not None:
        world.clients.submit_bulk(world.server, chance)
        world.server.run()


def cancel(world: World, chance: Random) -> None:
    """A client cancels."""
    if world.server is not None:
        world.clients.cancel(world.server, chance)
        world.server.run()


def follow(world: World, chance: Random) -> None:
    """A client follows a job that it knows of."""
    known = list(world.clients.told.acknowledged)
    if known and len(world.readers.all) < 6:
        world.readers.follow(chance.choice(known), chance)


def read(world: World, chance: Random) -> None:
    """A follower reads what is there, or opens its stream, or loses it."""
    if not world.readers.all:
        return
    reader = chance.choice(world.readers.all)
    if reader.wire is None:
        if world.server is not None and not reader.ended:
            reader.open(world.server)
    elif chance.random() < 0.1:
        reader.cut(lingers=chance.random() < 0.5)
    else:
        for _ in range(chance.randint(1, 4)):
            if reader.has_more():
                reader.read()
                if world.server is not None:
                    world.server.run()
    if world.server is not None:
        world.server.run()


def move(world: World, chance: Random) -> None:
    """Something that is under way gets on: the writer commits, messages reach the server, or a worker acts on some."""
    for _ in range(chance.randint(1, 4)):
        moves = _moves(world)
        if not moves:
            return
        chance.choice(moves)(chance)


def _moves(world: World) -> list[Callable[[Random], None]]:
    moves: list[Callable[[Random], None]] = []
    if world.server is not None and world.server.writer.waiting_count:
        moves += [lambda chance: _commit(world, chance)] * 2
    for wire in world.wires():
        if wire.up and world.server is not None:
            moves.append(lambda chance, wire=wire: world.deliver(wire, chance.randint(1, 3)))  # type: ignore[misc]  # bound
    for worker in world.awake():
        if (worker.control is not None and worker.control.down) or (worker.data is not None and worker.data.down):
            moves.append(lambda chance, worker=worker: _hear(world, worker, chance))  # type: ignore[misc]  # bound
    return moves


def _commit(world: World, chance: Random) -> None:
    world.commit(chance.choice((1, 2, 5, 64)))


def _hear(world: World, worker: Worker, chance: Random) -> None:
    for _ in range(chance.randint(1, 3)):
        world.hear(worker)
    _speak(worker, chance)


def connect(world: World, chance: Random) -> None:
    """A worker without a stream opens one."""
    apart = [worker for worker in world.awake() if worker.control is None]
    if apart:
        world.connect(chance.choice(apart))


def work(world: World, chance: Random) -> None:
    """A worker goes on with some of its attempts."""
    busy = [worker for worker in world.awake() if any(one.phase != FINISHED for one in worker.attempts.values())]
    if busy:
        _work(chance.choice(busy), chance)


def _work(worker: Worker, chance: Random) -> None:
    worker.look_at_clock()
    for _ in range(chance.randint(1, 3)):
        attempts = [attempt for attempt in worker.attempts.values() if attempt.phase != FINISHED]
        if attempts:
            _go_on(worker, chance.choice(attempts), chance)
    _speak(worker, chance)


def renew(world: World, chance: Random) -> None:
    """A worker renews before it has to."""
    awake = world.awake()
    if awake:
        worker = chance.choice(awake)
        worker.look_at_clock()
        worker.renew()


def drain(world: World, chance: Random) -> None:
    """A worker begins to drain, or takes work again."""
    awake = world.awake()
    if not awake:
        return
    worker = chance.choice(awake)
    worker.look_at_clock()
    worker.draining = not any(one.draining for one in awake) and chance.random() < 0.5
    for attempt in list(worker.attempts.values()):
        if worker.draining and attempt.phase == ACCEPTED:
            worker.release(attempt, event_pb2.RELEASE_CAUSE_DRAINING)
        elif worker.draining and attempt.phase == STARTED and chance.random() < 0.5:
            worker.conclude(attempt, Ending.RETURNED)
    worker.renew()


def snooze(world: World, chance: Random) -> None:
    """The work of an attempt puts itself off, rather one that may not do so for ever."""
    able = [
        (worker, attempt)
        for worker in world.awake()
        for attempt in worker.attempts.values()
        if attempt.phase == STARTED and attempt.assignment.spec.HasField("handler") and not attempt.cancelling
    ]
    bounded = [one for one in able if _is_bounded(one[1].assignment.spec)]
    if able:
        worker, attempt = chance.choice(bounded or able)
        worker.look_at_clock()
        if attempt.phase == STARTED:
            worker.conclude(attempt, Ending.SNOOZED, retry_after=chance.choice((1, 5, 30)))
            _speak(worker, chance)


def _is_bounded(spec: job_pb2.JobSpec) -> bool:
    return spec.retry_policy.HasField("max_snoozes") or spec.timeouts.HasField("total_timeout")


def decline(world: World, chance: Random) -> None:
    """A worker hands back something that it has not started."""
    for worker in world.awake():
        accepted = [attempt for attempt in worker.attempts.values() if attempt.phase == ACCEPTED]
        if accepted:
            worker.look_at_clock()
            attempt = chance.choice(accepted)
            if attempt.key in worker.attempts:
                worker.release(attempt, event_pb2.RELEASE_CAUSE_DECLINED)
            worker.say()
            return


def say_checkpoint(world: World, chance: Random) -> None:
    """The work of an attempt says how far it is; mostly it is cut off soon after."""
    for worker in world.awake():
        for attempt in list(worker.attempts.values()):
            if attempt.phase == STARTED and attempt.assignment.spec.HasField("handler"):
                worker.look_at_clock()
                if attempt.phase == STARTED:
                    for _ in range(chance.randint(1, 2)):
                        attempt.produce(dirty=False, checkpoint=True)
                    _speak(worker, chance)
                if chance.random() < 0.5:
                    return


def pass_time(world: World, chance: Random) -> None:
    """Time passes while everybody goes on."""
    left = chance.choice((0.5, 2.0, 6.0, 6.0, 15.0, 25.0, 40.0))
    while left > 0:
        world.advance(min(left, 2.0))
        left -= 2.0
        for worker in world.awake():
            worker.look_at_clock()
            if worker.control is None and chance.random() < 0.7:
                world.connect(worker)
            if chance.random() < 0.7:
                _work(worker, chance)
        world.flow(chance)


def stand_still(world: World, chance: Random) -> None:
    """Time passes, and nothing arrives anywhere meanwhile."""
    world.advance(chance.choice((0.5, 3.0, 12.0, 31.0)))


ACTIONS: dict[str, tuple[Action, float]] = {
    "submit": (submit, 11),
    "submit_bulk": (submit_bulk, 1.5),
    "cancel": (cancel, 2.5),
    "follow": (follow, 1.5),
    "read": (read, 5),
    "move": (move, 40),
    "connect": (connect, 8),
    "work": (work, 26),
    "renew": (renew, 2),
    "drain": (drain, 1.0),
    "pass_time": (pass_time, 6),
    "stand_still": (stand_still, 2),
}
"""With how often each is taken."""


def _speak(worker: Worker, chance: Random) -> None:
    """Says at once what there is to say, most of the time."""
    if chance.random() < 0.8:
        worker.say()
    if chance.random() < 0.8:
        worker.send_output(chance)


def _go_on(worker: Worker, attempt: HeldAttempt, chance: Random) -> None:
    draw = chance.random()
    if attempt.phase == ACCEPTED:
        if draw < 0.06:
            worker.release(attempt, event_pb2.RELEASE_CAUSE_DECLINED)
        elif draw < 0.1:
            worker.forget(attempt)
        elif draw < 0.9:
            worker.start(attempt)
    elif attempt.phase == STARTED and attempt.cancelling and draw < 0.6:
        _obey(worker, attempt, chance)
    elif attempt.phase == STARTED and attempt.returning and draw < 0.6:
        worker.conclude(attempt, Ending.RETURNED)
    elif attempt.phase == STARTED and draw > 0.98:
        worker.forget(attempt)
    elif attempt.phase == STARTED and (draw < 0.8 or attempt.endless):
        _make(attempt, chance)
    elif attempt.phase == STARTED:
        _finish(worker, attempt, chance)


def _make(attempt: HeldAttempt, chance: Random) -> None:
    if chance.random() < 0.15:
        attempt.report(step=attempt.cancelling)
    else:
        for _ in range(chance.randint(1, 3)):
            attempt.produce(dirty=chance.random() < 0.1)


def _obey(worker: Worker, attempt: HeldAttempt, chance: Random) -> None:
    draw = chance.random()
    if draw < 0.3:
        attempt.report(step=True)
    elif draw < 0.8:
        worker.conclude(attempt, Ending.CANCELLED)
    else:
        _finish(worker, attempt, chance)


def _finish(worker: Worker, attempt: HeldAttempt, chance: Random) -> None:
    if chance.random() < 0.5:
        worker.conclude(attempt, Ending.SUCCEEDED)
        return
    failure = chance.choice(FAILURE_CLASSES)
    retry_after = chance.choice((0, 0, 3, 40))
    worker.conclude(attempt, Ending.FAILED, number(failure), retry_after)
