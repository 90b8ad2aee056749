"""A node without its RPC edge: a store, a registry and a scheduler on a manual clock, with lanes that nobody reads."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from headrace.v1 import worker_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.job import Job
from headrace_server.core.placement import Capabilities
from headrace_server.core.refusal import Refusal
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.effects import Effects
from headrace_server.store.jobs.submit import Accepted, NewJob, submit_each
from headrace_server.store.records import reads
from headrace_server.store.sqlite import SqliteEngine
from headrace_server.store.store import Store
from manual_clock import ManualClock
from store.checkers import check_store
from store.driving import HOME, NAMESPACE, Bench, capabilities, new_job

LEASE_SECONDS = 30.0


@dataclass
class Node:
    """What one control plane process holds of the runtime."""

    folder: Path
    clock: ManualClock = field(default_factory=ManualClock)
    effects: list[Effects] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = Registry(LEASE_SECONDS)
        self.store = Store(SqliteEngine(self.folder), self.clock.now, Random(0), self._committed)
        self.scheduler = Scheduler(self.store, self.registry, self.clock)

    def _committed(self, effects: Effects) -> None:
        self.effects.append(effects)
        self.scheduler.committed(effects)

    async def submit(self, *jobs: NewJob) -> list[JobId]:
        """Submits jobs; without any, one with defaults."""
        accepted = await self.store.write(lambda ledger: submit_each(ledger, jobs or (new_job(),)))
        assert not any(isinstance(one, Refusal) for one in accepted), accepted
        return [one.job.id for one in accepted if isinstance(one, Accepted)]

    def connect(self, holder: Holder = HOME, slots: int = 1, able: Capabilities | None = None) -> ControlLane:
        """A worker connects, and is watched from now on."""
        lane = ControlLane(holder, "c", slots, able or capabilities())
        self.registry.connect(lane)
        self.registry.watch.observe(holder.worker, holder.incarnation, 1, self.clock.monotonic())
        self.scheduler.wake()
        return lane

    async def job(self, job_id: JobId) -> Job:
        """A job as it stands in the store."""
        job = await self.store.read(reads.get_job, NAMESPACE, job_id)
        assert job is not None
        return job


def sent(lane: ControlLane) -> list[worker_pb2.Assignment]:
    """The assignments that wait to be sent on a lane; takes them."""
    return list(lane.next_message(1 << 30, 0.0).assignments)


def leases_of(lane: ControlLane) -> list[Lease]:
    """The leases that a lane holds, oldest first."""
    return list(lane.leases)


Test = Callable[[Node], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Test], None]:
    """Runs a test on a node of its own, and checks its store at the end."""

    def run(test: Test) -> None:
        async def main() -> None:
            node = Node(tmp_path / "data")
            try:
                await test(node)
                await node.store.read(check_store)
            finally:
                await asyncio.get_running_loop().run_in_executor(None, node.store.close)

        asyncio.run(asyncio.wait_for(main(), 30))

    return run


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A store without a node around it."""
    bench = Bench(SqliteEngine(tmp_path / "data"))
    yield bench
    bench.read(check_store)
    bench.close()
