"""The pool's loop: what it looks at, and that the cap it moves holds grants back and ends nothing (Q9)."""

from collections.abc import Callable
from typing import Any

import pytest

from headrace.v1 import worker_pb2, worker_service_pb2
from headrace_server.core.placement import Needs
from headrace_server.core.resources import Resources
from headrace_server.core.scaling import ScalingPolicy
from headrace_server.runtime.pool import Pool
from headrace_server.runtime.registry import ControlLane, SlotBounds
from headrace_server.store.attempts.workers import Word, hear_each
from runtime.conftest import Node, Test, leases_of, sent
from store.driving import HANDLER, HOME, finished, handler_spec, new_job

Run = Callable[[Test], None]
GIB = 1024**3
POLICY = ScalingPolicy(slots_min=1, slots_max=8, up_seconds=1.0, down_seconds=60.0, slot_memory_bytes=GIB)


def pool_of(node: Node, policy: ScalingPolicy = POLICY) -> Pool:
    return Pool(node.store, node.registry, node.scheduler, node.clock, HOME.worker, policy)


async def pass_seconds(node: Node, pool: Pool, count: int) -> None:
    """The pool looks once a second, the worker renews, and the scheduler does what it is woken for."""
    for _ in range(count):
        node.clock.advance(1.0)
        now = node.clock.monotonic()
        node.registry.watch.observe(HOME.worker, HOME.incarnation, int(now * 1000), now)
        await pool.run_once()
        await node.scheduler.run_once()


def renew(lane: ControlLane, **host: Any) -> None:
    """The worker says what its host has."""
    lane.renewed(worker_service_pb2.WorkerRenewal(host_resources=worker_pb2.HostResources(**host)))


async def finish(node: Node, lane: ControlLane, count: int) -> None:
    """The worker ends its oldest jobs."""
    sent(lane)
    for lease in leases_of(lane)[:count]:
        await node.store.write_each(hear_each, Word(lane.holder, starts=[lease], finishes=[finished(lease)]))
        lane.settle(lease)
    node.scheduler.wake()


def test_q9_slots_grow_by_doubling_while_jobs_wait_and_stop_at_the_most(run: Run) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(*(new_job() for _ in range(20)))
        held = []
        for _ in range(6):
            held.append(len(lane.leases))
            await pass_seconds(node, pool, 1)
        assert held == [0, 2, 4, 8, 8, 8]
        assert lane.bounds == SlotBounds(8, 1, 8)

    run(test)


def test_q9_slots_grow_no_further_than_jobs_wait(run: Run) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(*(new_job() for _ in range(3)))
        await pass_seconds(node, pool, 10)
        assert (len(lane.leases), lane.slots_offered) == (3, 3)

    run(test)


def test_q9_a_shrunk_pool_ends_nothing_and_grants_nothing_until_it_is_below_its_slots(run: Run) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(*(new_job() for _ in range(8)))
        await pass_seconds(node, pool, 5)
        assert len(lane.leases) == 8
        node.registry.scale(HOME.worker, SlotBounds(2, 1, 8))
        await node.submit(new_job())
        for left in (7, 5, 2):
            await finish(node, lane, len(lane.leases) - left)
            await node.scheduler.run_once()
            assert len(lane.leases) == left
        await finish(node, lane, 1)
        await node.scheduler.run_once()
        assert len(lane.leases) == 2

    run(test)


def test_q9_it_shrinks_slowly_once_nothing_waits(run: Run) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(*(new_job() for _ in range(8)))
        await pass_seconds(node, pool, 5)
        await finish(node, lane, 8)
        slots = []
        for _ in range(300):
            await pass_seconds(node, pool, 1)
            slots.append(lane.slots_offered)
        assert slots == sorted(slots, reverse=True)
        assert slots.count(8) >= 59
        assert set(slots) == {8, 4, 2, 1}

    run(test)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": handler_spec("other"), "needs": Needs("handler", "other")},
        {"needs": Needs("handler", HANDLER, (("zone", "b"),))},
        {"needs": Needs("handler", HANDLER, resources=Resources(1, 32 * GIB))},
        {"needs": Needs("handler", HANDLER, resources=Resources(9))},
    ],
    ids=["another handler", "a label", "too much memory", "too many slots"],
)
def test_q9_jobs_that_it_can_not_run_do_not_grow_it(run: Run, changes: dict[str, Any]) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        renew(lane, memory_bytes=16 * GIB, memory_available_bytes=16 * GIB, cpu_millis=4000)
        await node.submit(*(new_job(**changes) for _ in range(5)))
        node.clock.advance(5.0)
        await pool.run_once()
        assert lane.slots_offered == 1

    run(test)


def test_q9_jobs_of_a_paused_queue_do_not_grow_it(run: Run) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(*(new_job() for _ in range(5)))
        columns = ("namespace", "queue", "kind", "actor", "reason", "time", "until")
        stopped = [("default", "default", 1, "", "", 1, 0)]
        await node.store.write(lambda ledger: ledger.insert("queue_stops", columns, stopped))
        node.clock.advance(5.0)
        await pool.run_once()
        assert lane.slots_offered == 1

    run(test)


def test_q9_it_grows_to_the_slots_that_one_large_job_asks_for(run: Run) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(new_job(needs=Needs("handler", HANDLER, resources=Resources(4))))
        for _ in range(3):
            node.clock.advance(1.0)
            await pool.run_once()
        assert lane.slots_offered == 4

    run(test)


def test_q9_free_memory_bounds_it_and_the_reason_is_said(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test(node: Node) -> None:
        caplog.set_level("INFO")
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(*(new_job() for _ in range(20)))
        renew(lane, memory_bytes=16 * GIB, memory_available_bytes=5 * GIB)
        node.clock.advance(5.0)
        await pool.run_once()
        assert lane.slots_offered == 2
        await node.scheduler.run_once()
        renew(lane, memory_bytes=16 * GIB, memory_available_bytes=GIB)
        node.clock.advance(5.0)
        await pool.run_once()
        assert lane.slots_offered == 2
        assert "worker w1: from 1 to 2 slots: 20 more are wanted" in caplog.text

    run(test)


def test_q9_a_worker_that_comes_back_has_the_slots_that_it_had(run: Run) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(*(new_job() for _ in range(4)))
        await pass_seconds(node, pool, 5)
        assert lane.slots_offered == 4
        node.registry.disconnect(lane)
        await pool.run_once()
        assert node.connect(slots=8).slots_offered == 4

    run(test)


def test_q7_a_drained_worker_is_not_scaled(run: Run) -> None:
    async def test(node: Node) -> None:
        pool, lane = pool_of(node), node.connect(slots=8)
        await node.submit(new_job(), new_job())
        node.registry.want(HOME.worker, worker_service_pb2.WANTED_WORKER_DRAIN)
        await pass_seconds(node, pool, 5)
        assert (lane.slots_offered, len(lane.leases)) == (1, 0)
        node.registry.want(HOME.worker, worker_service_pb2.WANTED_WORKER_RUN)
        await pass_seconds(node, pool, 2)
        assert len(lane.leases) == 2

    run(test)
