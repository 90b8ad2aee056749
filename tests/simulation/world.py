"""The simulated world: a control plane, its workers, clients and followers, and the moves by which anything happens.

No move waits for another: what is committed, delivered or read, and when, is decided by whoever makes the moves.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from random import Random

from headrace.v1 import worker_pb2
from headrace_server.core.limits import LEASE_SECONDS_DEFAULT
from headrace_server.core.states import LEASED
from headrace_server.store.queueing.queues import create_queue
from headrace_worker.lease import LeaseKey
from simulation.checkers.assignments import check_assignment
from simulation.checkers.attempts import AttemptChecker
from simulation.checkers.bounds import BoundChecker
from simulation.checkers.capacity import CapacityChecker
from simulation.checkers.counters import CounterChecker
from simulation.checkers.feed import FeedChecker
from simulation.checkers.folders import FolderChecker
from simulation.checkers.graphs import GraphChecker
from simulation.checkers.idle import IdleChecker
from simulation.checkers.limits import LimitChecker
from simulation.checkers.log import LogChecker
from simulation.checkers.order import OrderChecker, ShareChecker
from simulation.checkers.promises import PromiseChecker
from simulation.checkers.readers import ReaderChecker, check_acknowledged_output
from simulation.checkers.retention import RetentionChecker
from simulation.checkers.schedules import ScheduleChecker
from simulation.checkers.sessions import SessionChecker
from simulation.checkers.times import TimeChecker
from simulation.chronicle import Chronicle
from simulation.clients import Clients
from simulation.clock import SimulatedClock
from simulation.conversations import Disk
from simulation.feed_readers import FeedReader
from simulation.ground import Ground
from simulation.network import Wire
from simulation.policies import queues
from simulation.readers import Readers
from simulation.server import Server
from simulation.session_clients import SessionClients
from simulation.storage import Killed, MemoryEngine
from simulation.surroundings import Surroundings, WorkerKind
from simulation.workers import Worker

GROUP_COUNT = 64
FLOW_ROUNDS_MAX = 60
QUIET_SECONDS = 1.0
"""After a commit; by then every reader that waits for it has got it."""


class World:
    """Everything that one run is about."""

    def __init__(self, engine: MemoryEngine, chance: Random, *, talks: bool = False) -> None:
        """`talks`: there are sessions, and every worker can run them."""
        engine.reset()
        self.engine = engine
        self.clock = SimulatedClock()
        self.entropy = Random(chance.getrandbits(32))
        self.ground = Ground(self._lives)
        self.clients = Clients(self.clock.now)
        self.talkers = SessionClients(self.clients)
        self.readers = Readers()
        self.feed_readers: list[FeedReader] = []
        self.chronicle = Chronicle(self.clients.told.deleting, self.clients.take_note)
        self.lingering: list[Wire] = []
        """Streams that their clients have left and the server still reads."""
        self.server: Server | None = None
        self.kinds = _make_kinds(chance)
        if talks:
            self.kinds = [_talking(kind) for kind in self.kinds]
        self.disks = {kind.name: Disk() for kind in self.kinds}
        self._incarnations = 0
        self._commits_seen = 0
        self._committed_at = 0.0
        told = self.clients.told
        self._promises = PromiseChecker(told, self.ground)
        self.retention = RetentionChecker(lambda: self._server().now())
        self._reading = ReaderChecker(self.readers, self.retention)
        self.feed = FeedChecker(self.feed_readers)
        self._idle = IdleChecker(engine)
        self.schedules = ScheduleChecker(told.deleting)
        self.capacity = CapacityChecker(told)
        self.sessions = SessionChecker(self.talkers, self.ground.turns)
        self._of_commit = (
            LogChecker(),
            CounterChecker(),
            AttemptChecker(self.ground, told),
            BoundChecker(self.kinds),
            LimitChecker(),
            FolderChecker(told),
            OrderChecker(),
            ShareChecker(),
            GraphChecker(told),
            TimeChecker(told),
            self.schedules,
            self.capacity,
            self.sessions,
            self._promises,
            self.feed,
            self.retention,
        )
        self.start_server()
        self._create_queues()
        self.workers = {kind.name: self.new_worker(kind) for kind in self.kinds}

    def start_server(self) -> None:
        """A new life of the control plane."""
        entropy = Random(self.entropy.getrandbits(32))
        self.server = Server(self.engine, self.clock, entropy, LEASE_SECONDS_DEFAULT)
        self.server.run()

    def kill_server(self) -> None:
        """The control plane's process is gone, with all that it had in memory."""
        if self.server is not None:
            server, self.server = self.server, None
            self.lingering.clear()
            server.kill()

    def restore(self) -> None:
        """The store was restored, to the moment at which its server ended: only the generation tells."""
        assert self.server is None
        with self.engine.writing() as connection:
            connection.run("UPDATE sequences SET value = value + 1 WHERE name = 'generation'")
        self.chronicle.generation += 1

    def new_worker(self, kind: WorkerKind) -> Worker:
        """A worker's process starts."""
        self._incarnations += 1
        around = Surroundings(
            self.ground,
            self.disks[kind.name],
            self.clock.monotonic,
            lambda: self.engine.reading() if self.server is not None else None,
            lambda: self._server().open_control_lane(),
            lambda: self._server().open_data_lane(),
            lambda assignment: check_assignment(self.chronicle, self.clients.told, assignment),
        )
        return Worker(kind, f"i{self._incarnations}", around, keeper_share=self.entropy.random() * 0.95)

    def commit(self, count: int = GROUP_COUNT) -> bool:
        """The writer commits what waits, at most so many operations; false when nothing waits."""
        if self.server is None:
            return False
        try:
            committed = self.server.writer.commit(count)
        except Killed:
            self.look()
            self.kill_server()
            return True
        self.look()
        self.server.run()
        self._idle.check_step(self.server)
        return committed

    def look(self) -> None:
        """Checks what was committed."""
        if self.engine.commits_count == self._commits_seen:
            return
        self._commits_seen = self.engine.commits_count
        self._committed_at = self.clock.monotonic()
        with self.engine.reading() as connection:
            fresh = self.chronicle.look(connection)
            for checker in self._of_commit:
                checker.check_commit(self.chronicle, fresh, connection)

    def check(self) -> None:
        """Checks what was told."""
        self._promises.check_step(self.chronicle)
        self.sessions.check_step()
        self._reading.check_step(self.chronicle)
        self.feed.check_step(self.chronicle)
        quiet = self.clock.monotonic() - self._committed_at > QUIET_SECONDS
        if quiet and self.server is not None and not self.server.inline.has_late:
            self.feed.check_quiet(self.chronicle)
        for worker in self.workers.values():
            check_acknowledged_output(self.chronicle, worker)
        if self.server is not None:
            self._idle.check_step(self.server)

    def check_readers_at_rest(self) -> None:
        """Every reader has got everything."""
        self._reading.check_end(self.chronicle)

    def advance(self, seconds: float) -> None:
        """Time passes, and nothing but timers and keepers act."""
        end = self.clock.monotonic() + seconds
        while (next_time := self._next_time()) is not None and next_time <= end:
            self.clock.move_to(next_time)
            for worker in self.workers.values():
                ending = worker.trees_end()
                if ending is not None and ending <= self.clock.monotonic():
                    worker.end_trees()
            if self.server is not None:
                self.server.run()
        self.clock.move_to(end)

    def wires(self) -> Iterator[Wire]:
        """Every stream on which something may be on its way to the server."""
        for worker in self.workers.values():
            if worker.control is not None:
                yield worker.control
            if worker.data is not None:
                yield worker.data
        yield from self.lingering

    def deliver(self, wire: Wire, count: int) -> None:
        """Messages of a stream reach the server."""
        if self.server is not None:
            wire.deliver_up(count)
            self.server.run()

    def awake(self) -> list[Worker]:
        """Workers that can do something."""
        return [worker for worker in self.workers.values() if not worker.dead and not worker.frozen]

    def connect(self, worker: Worker) -> None:
        """A worker opens its stream, when there is a server."""
        if self.server is not None and worker.control is None:
            with self.server.loop.running():
                worker.connect()
            self.server.run()

    def hear(self, worker: Worker) -> bool:
        """A worker acts on the next message that is there for it; false when there is none."""
        worker.look_at_clock()
        if worker.control is not None and worker.control.down:
            if self.server is None:
                worker.disconnect() if not worker.connected else worker.hear_control()
                return True
            with self.server.loop.running():
                worker.hear_control()
        elif worker.data is not None and worker.data.down:
            worker.hear_data()
        else:
            return False
        if self.server is not None:
            self.server.run()
        return True

    def flow(self, chance: Random) -> None:
        """Everything that is on its way arrives, is committed and answered, until nothing is on its way."""
        for _ in range(FLOW_ROUNDS_MAX):
            moved = self.commit()
            for wire in list(self.wires()):
                if wire.up and self.server is not None:
                    self.deliver(wire, len(wire.up))
                    moved = True
            for worker in self.awake():
                while self.hear(worker):
                    moved = True
                worker.say()
                worker.send_output(chance)
            if self.server is not None and self.server.inline.has_late:
                self.server.run()
            elif not moved:
                return

    def _next_time(self) -> float | None:
        times = [worker.trees_end() for worker in self.workers.values()]
        if self.server is not None:
            times.append(self.server.loop.next_time())
        return min((time for time in times if time is not None), default=None)

    def _server(self) -> Server:
        assert self.server is not None
        return self.server

    def _lives(self, key: LeaseKey) -> bool:
        if key.generation != self.chronicle.generation:
            # What a restore has forgotten goes on until its worker is told.
            return True
        if key.job_id not in self.chronicle.jobs:
            return False
        known = self.chronicle.jobs[key.job_id].row
        return known.epoch == key.epoch and known.state in LEASED

    def _create_queues(self) -> None:
        server = self._server()
        with server.loop.running():
            for queue in queues():
                server.writer.write(partial(create_queue, namespace="default", body=queue, actor="operator"))
        self.commit()


def _talking(kind: WorkerKind) -> WorkerKind:
    """The same with room for sessions besides other work."""
    able = worker_pb2.WorkerCapabilities()
    able.CopyFrom(kind.capabilities)
    able.executors[:] = ["handler", "claude"]
    return replace(kind, slots=kind.slots + 2, capabilities=able)


def _make_kinds(chance: Random) -> list[WorkerKind]:
    kinds = []
    for number in range(1, chance.randint(2, 4) + 1):
        able = worker_pb2.WorkerCapabilities(executors=["handler"], handlers=["echo"])
        if chance.random() < 0.6:
            able.executors.append("claude")
        if chance.random() < 0.4:
            able.handlers.append("rare")
        if chance.random() < 0.6:
            able.labels["zone"] = chance.choice("ab")
        kinds.append(WorkerKind(f"w{number}", chance.randint(1, 3), able, chance.random() < 0.2, chance.random() < 0.3))
    return kinds
