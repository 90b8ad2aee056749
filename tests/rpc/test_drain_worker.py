"""How people see workers, and drain them: the servicer on a real store, without its transport (Q7, Q9)."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace.v1 import worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.ids import SECOND
from headrace_server.core.placement import Needs
from headrace_server.core.refusal import Reason, Refused
from headrace_server.core.resources import Resources
from headrace_server.rpc.checks.validation import CHECKS
from headrace_server.rpc.worker_service import WorkerService
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.registry import ControlLane, SlotBounds
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.attempts.worker_drains import WorkerDrain
from headrace_server.store.attempts.workers import Greeting, welcome
from rpc.worker_lanes import lanes_of
from runtime.conftest import Node
from store.driving import HANDLER, new_job

RUN, DRAIN, EXIT = pb.WANTED_WORKER_RUN, pb.WANTED_WORKER_DRAIN, pb.WANTED_WORKER_EXIT
HELLO = pb.WorkerHello(slots=8, host="h", host_resources=worker_pb2.HostResources(memory_bytes=1, cpu_millis=2))
CALL: Any = SimpleNamespace(principal="ada")


class Edge:
    """A node with the servicer in front of it."""

    def __init__(self, folder: Path) -> None:
        self.node = node = Node(folder)
        self.drains: list[tuple[str, WorkerDrain | None]] = []
        self.service = WorkerService(lanes_of(node), Deltas(), Feed(), lambda *drain: self.drains.append(drain))

    async def connect(self, worker: str = "w1") -> ControlLane:
        """A worker connects."""
        holder = Holder(worker, "i1")
        greeting = Greeting(holder, False, HELLO.SerializeToString(), 1, ())
        await self.node.store.write(lambda ledger: welcome(ledger, greeting))
        return self.node.connect(holder, slots=8)

    async def drain(self, worker: str, wanted: pb.WantedWorker = DRAIN, **grace: int) -> worker_pb2.Worker:
        request = pb.DrainWorkerRequest(worker_id=worker, wanted=wanted)
        if grace:
            request.grace.seconds = grace["grace"]
        return (await self.service.drain_worker(request, CALL)).worker

    async def get(self, worker: str = "w1") -> worker_pb2.Worker:
        return (await self.service.get_worker(pb.GetWorkerRequest(worker_id=worker), CALL)).worker


Test = Callable[[Edge], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Test], None]:
    """Runs a test on an edge of its own."""

    def run(test: Test) -> None:
        async def main() -> None:
            edge = Edge(tmp_path / "data")
            try:
                await test(edge)
            finally:
                edge.node.store.close()

        asyncio.run(asyncio.wait_for(main(), 30))

    return run


Run = Callable[[Test], None]


def test_q7_a_drain_is_told_to_the_worker_at_once_and_shown(run: Run) -> None:
    async def test(edge: Edge) -> None:
        lane = await edge.connect()
        worker = await edge.drain("w1", grace=60)
        assert worker.state == worker_pb2.WORKER_STATE_DRAINING
        assert (worker.drain.actor, worker.drain.exit) == ("ada", False)
        now = edge.node.clock.now()
        assert worker.drain.time.ToMicroseconds() == now
        assert worker.drain.return_time.ToMicroseconds() == now + 60 * SECOND
        assert (lane.free_slots, lane.next_message(1 << 20, 0.0).wanted_worker) == (0, DRAIN)
        assert await edge.get() == worker

    run(test)


def test_q7_each_change_of_a_drain_is_passed_on(run: Run) -> None:
    async def test(edge: Edge) -> None:
        lane = await edge.connect()
        for wanted in (pb.WANTED_WORKER_UNSPECIFIED, EXIT, RUN):
            await edge.drain("w1", wanted)
        now = edge.node.clock.now()
        no_return = type(now)(0)
        assert edge.drains == [
            ("w1", WorkerDrain("ada", now, no_return, exits=False)),
            ("w1", WorkerDrain("ada", now, no_return, exits=True)),
            ("w1", None),
        ]
        worker = await edge.get()
        assert (worker.state, worker.HasField("drain")) == (worker_pb2.WORKER_STATE_READY, False)
        assert (lane.free_slots, lane.next_message(1 << 20, 0.0).wanted_worker) == (8, RUN)

    run(test)


def test_q7_a_worker_that_is_away_can_be_drained(run: Run) -> None:
    async def test(edge: Edge) -> None:
        edge.node.registry.disconnect(await edge.connect())
        worker = await edge.drain("w1", EXIT)
        assert worker.state == worker_pb2.WORKER_STATE_DISCONNECTED
        assert worker.drain.exit
        assert not worker.drain.HasField("return_time")

    run(test)


def test_q7_an_unknown_worker_is_not_found(run: Run) -> None:
    async def test(edge: Edge) -> None:
        for wanted in (DRAIN, RUN):
            with pytest.raises(Refused) as caught:
                await edge.drain("w9", wanted)
            assert caught.value.refusal.reason is Reason.NOT_FOUND
        assert edge.drains == []

    run(test)


def test_q9_a_worker_shows_its_slots_their_bounds_and_what_its_jobs_take(run: Run) -> None:
    async def test(edge: Edge) -> None:
        node = edge.node
        lane = await edge.connect()
        worker = await edge.get()
        assert (worker.slots, worker.slots_min, worker.slots_max, worker.slots_used) == (8, 8, 8, 0)
        node.registry.scale("w1", SlotBounds(3, 2, 6))
        lane.renewed(
            pb.WorkerRenewal(host_resources=worker_pb2.HostResources(memory_bytes=9, memory_available_bytes=5))
        )
        await node.submit(new_job(needs=Needs("handler", HANDLER, resources=Resources(2, 4, 7))), new_job())
        await node.scheduler.run_once()
        (worker,) = (await edge.service.list_workers(pb.ListWorkersRequest(), CALL)).workers
        assert (worker.slots, worker.slots_min, worker.slots_max, worker.slots_used) == (3, 2, 6, 3)
        used = worker.resources_used
        assert (used.slots, used.memory_bytes, used.cpu_millis) == (3, 4, 7)
        assert (worker.host_resources.memory_bytes, worker.host_resources.memory_available_bytes) == (9, 5)

    run(test)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.DrainWorkerRequest(), "worker_id"),
        (pb.DrainWorkerRequest(worker_id="w1", wanted=RUN, grace={"seconds": 1}), "grace"),
        (pb.DrainWorkerRequest(worker_id="w1", grace={"seconds": -1}), "grace"),
        (pb.DrainWorkerRequest(worker_id="w1", wanted=99), "wanted"),  # type: ignore[arg-type]  # as a client could
    ],
)
def test_a_drain_that_makes_no_sense_names_its_field(request_: pb.DrainWorkerRequest, field: str) -> None:
    refusal = CHECKS[request_.DESCRIPTOR.full_name](request_)
    assert refusal is not None
    assert [one.field for one in refusal.violations] == [field]
