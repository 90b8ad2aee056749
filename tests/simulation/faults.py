"""What can go wrong next. Faults are actions, too; each is one step of a run."""

from random import Random

from simulation.actions import Action
from simulation.storage import CommitFault
from simulation.world import World


def kill_server(world: World, chance: Random) -> None:
    """The control plane is killed, now or around its next commit; some of its workers do not notice at once."""
    fault = chance.choice((None, CommitFault.KILLED_BEFORE, CommitFault.KILLED_AFTER))
    if fault is not None:
        world.engine.faults.append(fault)
        return
    world.kill_server()
    for worker in world.workers.values():
        if chance.random() < 0.5:
            worker.disconnect()


def start_server(world: World, chance: Random) -> None:
    """The control plane is started again, seldom from a backup."""
    if world.server is None:
        world.engine.faults.clear()
        if chance.random() < 0.12:
            world.restore()
        world.start_server()


def fill_disk(world: World, chance: Random) -> None:
    """The next commits find no room."""
    fault = chance.choice((CommitFault.DISK_FULL, CommitFault.DISK_FULL_AT_ONCE))
    world.engine.faults.extend([fault] * chance.randint(1, 3))


def cut_stream(world: World, chance: Random) -> None:
    """A worker's streams are cut, and the server may go on reading for a while what was on its way."""
    connected = [worker for worker in world.workers.values() if worker.control is not None and not worker.dead]
    if not connected:
        return
    worker = chance.choice(connected)
    lingers = chance.random() < 0.5
    if lingers and world.server is not None:
        world.lingering += [wire for wire in (worker.control, worker.data) if wire is not None and wire.server_open]
    worker.disconnect(lingers=lingers)
    if world.server is not None:
        world.server.run()


def notice_cut(world: World, chance: Random) -> None:
    """The server notices that a stream was cut."""
    if world.lingering:
        world.lingering.pop(chance.randrange(len(world.lingering))).notice()
        if world.server is not None:
            world.server.run()


def kill_worker(world: World, chance: Random) -> None:
    """A worker's process is killed."""
    alive = [worker for worker in world.workers.values() if not worker.dead]
    if alive:
        chance.choice(alive).kill()
        if world.server is not None:
            world.server.run()


def start_worker(world: World, chance: Random) -> None:
    """A worker's process is started again."""
    dead = [worker for worker in world.workers.values() if worker.dead]
    if dead:
        kind = chance.choice(dead).kind
        world.workers[kind.name] = world.new_worker(kind)


def freeze(world: World, chance: Random) -> None:
    """A worker's process stands still; its keepers do not."""
    awake = world.awake()
    if awake:
        chance.choice(awake).frozen = True


def thaw(world: World, chance: Random) -> None:
    """A worker's process goes on, as if no time had passed."""
    frozen = [worker for worker in world.workers.values() if worker.frozen]
    if frozen:
        chance.choice(frozen).frozen = False


def jump_clock(world: World, chance: Random) -> None:
    """The wall clock jumps."""
    world.clock.jump(chance.choice((-3600.0, -40.0, -1.0, 1.0, 40.0, 3600.0)))


FAULTS: dict[str, tuple[Action, float]] = {
    "kill_server": (kill_server, 1.0),
    "start_server": (start_server, 6.0),
    "fill_disk": (fill_disk, 0.7),
    "cut_stream": (cut_stream, 2.0),
    "notice_cut": (notice_cut, 2.0),
    "kill_worker": (kill_worker, 0.7),
    "start_worker": (start_worker, 4.0),
    "freeze": (freeze, 1.0),
    "thaw": (thaw, 3.0),
    "jump_clock": (jump_clock, 1.0),
}
"""With how often each is taken."""
REPAIRS = frozenset({"start_server", "notice_cut", "start_worker", "thaw"})
"""What a run without the fault has no use for, and never leaves out."""
