"""When the scheduler runs a cycle for what a limit, a stop or a host has held: never too late, and not in vain (I4)."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from headrace.v1 import job_pb2, queue_pb2
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.placement import Needs
from headrace_server.core.resources import Resources
from headrace_server.runtime.plan import RESERVE_AFTER_SECONDS
from headrace_server.runtime.registry import ControlLane
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.attempts.workers import Release, Word, hear_each
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.jobs.updates import Change, update
from headrace_server.store.queueing import queue_stops
from headrace_server.store.queueing.queue_stops import StopKind, StopOrder
from headrace_server.store.queueing.queues import create_queue, update_queue
from runtime.conftest import LEASE_SECONDS, Node, Test, leases_of
from runtime.test_limits import per_second
from store.driving import NAMESPACE, finished, handler_spec, new_job

Run = Callable[[Test], None]


async def make(node: Node, **policy: Any) -> None:
    queue = queue_pb2.Queue(name="q", max_queued=1000, **policy)
    await node.store.write(lambda ledger: create_queue(ledger, NAMESPACE, queue, "tester"))


async def submit(node: Node, count: int = 1, key: str = "k", **changes: Any) -> list[JobId]:
    return await node.submit(*(new_job(queue="q", concurrency_key=key, **changes) for _ in range(count)))


async def finish(node: Node, lane: ControlLane, lease: Lease) -> None:
    """The way of a finish through the control lane."""
    await node.store.write_each(hear_each, Word(lane.holder, finishes=[finished(lease)]))
    lane.settle(lease)


async def settled(node: Node) -> None:
    """Runs cycles until none has anything to do."""
    for _ in range(20):
        if await node.scheduler.run_once() is None:
            return
    raise AssertionError("cycles follow each other though nothing happens")


def held(lane: ControlLane) -> list[JobId]:
    return [lease.job_id for lease in leases_of(lane)]


def test_i4_a_pause_that_ends_lets_jobs_go(run: Run) -> None:
    async def test(node: Node) -> None:
        await make(node)
        lane = node.connect(slots=3)
        until = Micros(node.clock.now() + 5 * SECOND)
        order = StopOrder("ann", "", node.clock.now(), until)
        await node.store.write(lambda ledger: queue_stops.set_stop(ledger, NAMESPACE, "q", StopKind.PAUSE, order))
        (job_id,) = await submit(node)
        await settled(node)
        node.clock.advance(4)
        await settled(node)
        assert held(lane) == []
        node.clock.advance(1)
        await settled(node)
        assert held(lane) == [job_id]

    run(test)


def test_i4_a_pause_that_is_lifted_lets_jobs_go(run: Run) -> None:
    async def test(node: Node) -> None:
        await make(node)
        lane = node.connect(slots=3)
        order = StopOrder("ann", "", node.clock.now(), Micros(0))
        await node.store.write(lambda ledger: queue_stops.set_stop(ledger, NAMESPACE, "q", StopKind.DRAIN, order))
        (job_id,) = await submit(node)
        await settled(node)
        await node.store.write(lambda ledger: queue_stops.remove_stop(ledger, NAMESPACE, "q", StopKind.DRAIN))
        await settled(node)
        assert held(lane) == [job_id]

    run(test)


@pytest.mark.parametrize("how", ["cancelled", "put off", "paused"])
def test_i4_room_that_is_kept_for_a_job_in_vain_is_given_to_others_at_once(run: Run, how: str) -> None:
    async def test(node: Node) -> None:
        await make(node)
        lane = node.connect(slots=2)
        (first,) = await submit(node)
        needs = Needs("handler", "echo", resources=Resources(2))
        (large,) = await node.submit(new_job(needs=needs))
        await settled(node)
        for counter in (2, 3):
            node.clock.advance(RESERVE_AFTER_SECONDS / 2 + 1)
            node.registry.watch.observe(lane.holder.worker, lane.holder.incarnation, counter, node.clock.monotonic())
        (small,) = await submit(node)
        await settled(node)
        assert held(lane) == [first], "the other slot is kept"
        if how == "cancelled":
            await node.store.write(lambda ledger: cancel(ledger, NAMESPACE, large, "", "tester"))
        elif how == "put off":
            spec = job_pb2.JobSpec()
            spec.schedule_time.FromMicroseconds(node.clock.now() + SECOND)
            change = Change(("schedule_time",), spec, "", "tester")
            await node.store.write(lambda ledger: update(ledger, NAMESPACE, large, change))
        else:
            order = StopOrder("ann", "", node.clock.now(), Micros(0))
            await node.store.write(
                lambda ledger: queue_stops.set_stop(ledger, NAMESPACE, "default", StopKind.PAUSE, order)
            )
        await settled(node)
        assert held(lane) == [first, small]

    run(test)


def test_i4_a_limit_that_is_raised_lets_jobs_go(run: Run) -> None:
    async def test(node: Node) -> None:
        await make(node, max_concurrency=1, max_concurrency_per_key=1)
        lane = node.connect(slots=5)
        ids = await submit(node, 5)
        await settled(node)
        assert held(lane) == ids[:1]

        def change(body: queue_pb2.Queue) -> None:
            body.max_concurrency, body.max_concurrency_per_key = 3, 2

        fields = ["max_concurrency", "max_concurrency_per_key"]
        await node.store.write(lambda ledger: update_queue(ledger, NAMESPACE, "q", "", change, fields, "tester"))
        await settled(node)
        assert held(lane) == ids[:2]

    run(test)


def test_i4_a_job_that_ends_lets_the_next_of_its_key_go(run: Run) -> None:
    async def test(node: Node) -> None:
        await make(node, max_concurrency_per_key=1)
        lane = node.connect(slots=5)
        ids = await submit(node, 3)
        for number in range(3):
            await settled(node)
            assert held(lane) == [ids[number]]
            await finish(node, lane, leases_of(lane)[0])

    run(test)


@pytest.mark.parametrize(
    ("limit", "cancelled"),
    [
        *itertools.product(("max_concurrency", "max_concurrency_per_key", "folder"), (False, True)),
        *itertools.product(("rate_limit", "rate_limit_per_key"), (True,)),
    ],
)
def test_i4_an_end_that_makes_room_on_no_worker_lets_others_go(run: Run, limit: str, cancelled: bool) -> None:
    """The worker that had the job takes no more work; another one was idle all the time."""

    async def test(node: Node) -> None:
        folder = "/srv/site" if limit == "folder" else ""
        needs = Needs("claude") if folder else Needs("handler", "echo")
        await make(node, **({} if folder else {limit: per_second(1) if limit.startswith("rate") else 1}))
        lane, other = node.connect(), node.connect(Holder("w2", "i1"))
        first, second = await submit(node, 2, folder=folder, needs=needs)
        await settled(node)
        full, idle = (lane, other) if held(lane) else (other, lane)
        assert (held(full), held(idle)) == ([first], [])
        full.draining = True
        await settled(node)
        (lease,) = leases_of(full)
        if cancelled:
            await node.store.write(lambda ledger: cancel(ledger, NAMESPACE, first, "", "tester"))
            release = Release(lease, ReleaseCause.DECLINED, "it was never begun")
            await node.store.write_each(hear_each, Word(full.holder, releases=[release]))
        else:
            await finish(node, full, lease)
        await settled(node)
        assert held(idle) == [second]

    run(test)


def test_i4_tokens_that_come_back_let_jobs_go(run: Run) -> None:
    async def test(node: Node) -> None:
        await make(node, rate_limit=per_second(1), rate_limit_per_key=per_second(2))
        lane = node.connect(slots=5)
        ids = await submit(node, 4)
        for number in range(4):
            await settled(node)
            assert held(lane) == ids[: number + 1]
            node.clock.advance(1)

    run(test)


def test_i4_memory_that_comes_free_on_a_host_is_seen(run: Run) -> None:
    async def test(node: Node) -> None:
        await make(node)
        lane = node.connect(slots=3)
        lane.host.memory_bytes, lane.host.memory_available_bytes = 1000, 300
        spec = handler_spec()
        spec.placement.resources.CopyFrom(job_pb2.Resources(memory_bytes=500))
        needs = Needs("handler", "echo", resources=Resources(1, 500))
        (job_id,) = await submit(node, spec=spec, needs=needs)
        await settled(node)
        assert held(lane) == []
        lane.host.memory_available_bytes = 900
        await settled(node)
        assert held(lane) == [job_id]
        assert lane.free_memory_bytes == 400

    run(test)


def test_submits_behind_a_limit_cost_one_short_cycle_each_and_no_more(run: Run) -> None:
    async def test(node: Node) -> None:
        await make(node, max_concurrency_per_key=1)
        node.connect(slots=5)
        await submit(node, 3)
        await settled(node)
        for _ in range(5):
            await submit(node)
            cycle = await node.scheduler.run_once()
            assert cycle is not None
            assert cycle.granted == ()
            assert await node.scheduler.run_once() is None
        assert await node.scheduler.run_once() is None

    run(test)


def test_a_rate_that_holds_a_queue_asks_for_no_cycle_before_its_time(run: Run) -> None:
    async def test(node: Node) -> None:
        await make(node, rate_limit=per_second(1))
        node.connect(slots=5)
        await submit(node, 3)
        await settled(node)
        node.clock.advance(0.4)
        assert await node.scheduler.run_once() is None
        node.clock.advance(0.6)
        cycle = await node.scheduler.run_once()
        assert cycle is not None
        assert len(cycle.granted) == 1

    run(test)


def test_i4_what_an_earlier_incarnation_held_is_given_out_when_its_lease_ends(run: Run) -> None:
    """The cycle that ends the lease is planned with what was free before it: it asks for another."""

    async def test(node: Node) -> None:
        node.connect()
        await node.submit(new_job(), new_job())
        await settled(node)
        later = Holder("w1", "i2")
        living = node.registry.living(later)
        lane = node.connect(later)
        node.registry.succeed(later, living)
        lane.inherited = Resources(1)
        await settled(node)
        assert held(lane) == [], "the first one holds the slot"
        node.clock.advance(LEASE_SECONDS)
        node.registry.watch.observe("w1", "i2", 2, node.clock.monotonic())
        node.scheduler._wake.clear()
        cycle = await node.scheduler.run_once()
        assert cycle is not None
        assert cycle.granted == ()
        assert node.scheduler._wake.is_set(), "the loop would sleep"
        await settled(node)
        assert len(held(lane)) == 1

    run(test)


def test_i4_a_cycle_beside_a_word_that_could_not_be_committed_is_followed_by_another(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        (job_id,) = await node.submit()
        failures = itertools.chain([0], itertools.repeat(1))
        monkeypatch.setattr(node.store, "failures_count", lambda: next(failures))
        node.scheduler._wake.clear()
        cycle = await node.scheduler.run_once()
        assert cycle is not None
        assert cycle.granted == (), "what was free may not be, after all"
        assert node.scheduler._wake.is_set(), "the loop would sleep"
        await settled(node)
        assert held(lane) == [job_id]

    run(test)
