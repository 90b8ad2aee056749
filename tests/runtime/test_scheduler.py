"""The scheduler: when it runs a cycle, what it hands over, and what it takes back (L3, L4)."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headrace_server.core.facts import ReleaseCause
from headrace_server.core.ids import SECOND, Micros, job_id_text
from headrace_server.core.limits import GRANTS_COUNT_MAX
from headrace_server.core.states import JobState
from headrace_server.runtime import scheduler
from headrace_server.runtime.cycle import Cycle, run_cycle
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.attempts.workers import Release, Word, hear_each, lease_holders
from headrace_server.store.errors import StoreUnavailable
from headrace_server.store.jobs.submit import Accepted, submit_each
from headrace_server.store.ledger import Ledger
from runtime.conftest import LEASE_SECONDS, Node, Test, leases_of, sent
from store.driving import HOME, capabilities, finished, handler_spec, new_job, offer

Run = Callable[[Test], None]
OTHER = Holder("w2", "i1")


def test_a_submitted_job_reaches_a_worker_with_room(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        (job_id,) = await node.submit()
        cycle = await node.scheduler.run_once()
        assert cycle is not None
        assert [lease.job_id for lease in leases_of(lane)] == [job_id]
        assert [one.lease.job_id for one in sent(lane)] == [job_id_text(job_id)]
        assert lane.free_slots == 0

    run(test)


def test_nothing_to_do_is_no_cycle(run: Run) -> None:
    async def test(node: Node) -> None:
        assert await node.scheduler.run_once() is not None, "the first one looks"
        assert await node.scheduler.run_once() is None
        node.connect()
        assert await node.scheduler.run_once() is not None
        assert await node.scheduler.run_once() is None
        await node.submit(new_job(), new_job())
        assert await node.scheduler.run_once() is not None
        assert await node.scheduler.run_once() is None, "no room"

    run(test)


def test_i4_a_worker_that_comes_while_a_cycle_is_under_way_gets_what_waits(run: Run) -> None:
    async def test(node: Node) -> None:
        (job_id,) = await node.submit()
        under_way = asyncio.ensure_future(node.scheduler.run_once())
        await asyncio.sleep(0)
        lane = ControlLane(HOME, "c", 1, capabilities())
        node.registry.connect(lane)
        assert await under_way is not None
        assert leases_of(lane) == []
        assert await node.scheduler.run_once() is not None
        assert [lease.job_id for lease in leases_of(lane)] == [job_id]

    run(test)


def test_i4_a_cycle_that_granted_all_that_it_may_is_followed_by_another(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect(slots=GRANTS_COUNT_MAX + 20)
        await node.submit(*(new_job() for _ in range(GRANTS_COUNT_MAX + 10)))
        for granted in (GRANTS_COUNT_MAX, GRANTS_COUNT_MAX + 10):
            await node.scheduler.run_once()
            assert len(lane.leases) == granted
        assert await node.scheduler.run_once() is None

    run(test)


def test_i5_a_full_worker_gets_no_more(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect(slots=2)
        await node.submit(*(new_job() for _ in range(5)))
        for _ in range(3):
            node.scheduler.wake()
            await node.scheduler.run_once()
        assert len(lane.leases) == 2

    run(test)


def test_a_draining_worker_and_a_draining_node_grant_nothing(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        lane.draining = True
        (job_id,) = await node.submit()
        await node.scheduler.run_once()
        lane.draining = False
        node.scheduler.draining = True
        await node.scheduler.run_once()
        assert (await node.job(job_id)).state is JobState.QUEUED
        node.scheduler.draining = False
        await node.scheduler.run_once()
        assert len(lane.leases) == 1

    run(test)


def test_i4_a_slot_that_became_free_without_a_wake_up_is_seen(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        other = node.connect(OTHER, able=capabilities("other"))
        first, second = await node.submit(new_job(), new_job())
        await node.scheduler.run_once()
        assert [lease.job_id for lease in leases_of(lane)] == [first]
        (lease,) = lane.leases
        word = Word(HOME, releases=[Release(lease, ReleaseCause.DECLINED, "")])
        await node.store.write_each(hear_each, word)
        await node.scheduler.run_once()
        lane.settle(lease)
        await node.scheduler.run_once()
        assert [one.job_id for one in leases_of(lane)] == [first]
        assert other.free_slots == 1
        assert (await node.job(second)).state is JobState.QUEUED

    run(test)


def test_l4_a_lease_ends_only_when_its_counter_stood_still_for_all_of_it(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        (job_id,) = await node.submit()
        await node.scheduler.run_once()
        node.clock.jump(1e6)
        await node.scheduler.run_once()
        assert (await node.job(job_id)).state is JobState.ASSIGNED, "a wall clock ends nothing"
        node.clock.advance(LEASE_SECONDS - 1)
        node.registry.watch.observe("w1", "i1", 2, node.clock.monotonic())
        node.clock.advance(LEASE_SECONDS - 1)
        node.registry.watch.observe("w1", "i1", 2, node.clock.monotonic())
        await node.scheduler.run_once()
        assert node.registry.lanes() == [lane]
        node.clock.advance(1)
        await node.scheduler.run_once()
        assert (await node.job(job_id)).state is JobState.QUEUED
        assert lane.ended is not None
        assert node.registry.lanes() == []

    run(test)


def test_l4_a_lost_worker_gets_nothing_in_the_cycle_that_ends_its_lease(run: Run) -> None:
    async def test(node: Node) -> None:
        node.connect(slots=2)
        (job_id,) = await node.submit()
        await node.scheduler.run_once()
        node.clock.advance(LEASE_SECONDS)
        cycle = await node.scheduler.run_once()
        assert cycle is not None
        assert cycle.granted == ()
        assert (await node.job(job_id)).epoch == 1

    run(test)


def test_l4_a_restarted_node_watches_for_a_whole_lease_anew(run: Run) -> None:
    async def test(node: Node) -> None:
        node.connect()
        (job_id,) = await node.submit()
        await node.scheduler.run_once()
        node.clock.advance(LEASE_SECONDS - 1)
        node.registry = node.scheduler._registry = Registry(LEASE_SECONDS)
        for holder, counter in await node.store.read(lease_holders):
            node.registry.watch.observe(holder.worker, holder.incarnation, counter, node.clock.monotonic())
        node.clock.advance(LEASE_SECONDS - 1)
        await node.scheduler.run_once()
        assert (await node.job(job_id)).state is JobState.ASSIGNED
        node.clock.advance(1)
        await node.scheduler.run_once()
        assert (await node.job(job_id)).state is JobState.QUEUED

    run(test)


def test_a_scheduled_job_is_promoted_when_due_though_no_worker_is_there(run: Run) -> None:
    async def test(node: Node) -> None:
        await node.scheduler.run_once()
        (job_id,) = await node.submit(new_job(schedule_time=Micros(node.clock.now() + SECOND)))
        assert await node.scheduler.run_once() is None
        node.clock.advance(1)
        await node.scheduler.run_once()
        assert (await node.job(job_id)).state is JobState.QUEUED

    run(test)


def test_i4_a_time_that_is_committed_while_a_cycle_is_answered_is_kept(run: Run) -> None:
    async def test(node: Node) -> None:
        node.connect()
        await node.scheduler.run_once()
        node.scheduler.wake()
        cycle = asyncio.ensure_future(node.scheduler.run_once())
        await asyncio.sleep(0)
        (job_id,), _ = await asyncio.gather(
            node.submit(new_job(schedule_time=Micros(node.clock.now() + SECOND))), cycle
        )
        node.clock.advance(1)
        assert await node.scheduler.run_once() is not None
        assert (await node.job(job_id)).state is not JobState.SCHEDULED

    run(test)


def test_l3_what_was_granted_to_a_lane_that_went_away_is_taken_back(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        (job_id,) = await node.submit()
        cycle = asyncio.ensure_future(node.scheduler.run_once())
        await asyncio.sleep(0)
        node.registry.disconnect(lane)
        await cycle
        job = await node.job(job_id)
        assert (job.state, job.attempt, lane.leases) == (JobState.QUEUED, 0, {})
        again = node.connect()
        await node.scheduler.run_once()
        assert [(lease.job_id, lease.epoch) for lease in again.leases] == [(job_id, 2)]

    run(test)


class Unusable:
    """Fails the writes of a store while it is on, as a commit does: the caller hears of it later."""

    def __init__(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = False
        write = node.store.write

        def failing(verb: Any, *, bounded: bool = True) -> Any:
            if self.on:
                refused = asyncio.get_running_loop().create_future()
                refused.set_exception(StoreUnavailable("injected"))
                return refused
            return write(verb, bounded=bounded)

        monkeypatch.setattr(node.store, "write", failing)


def test_l3_what_could_not_be_taken_back_is_taken_back_later(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        (job_id,) = await node.submit()
        unusable = Unusable(node, monkeypatch)
        cycle = asyncio.ensure_future(node.scheduler.run_once())
        await asyncio.sleep(0)
        node.registry.disconnect(lane)
        unusable.on = True
        with pytest.raises(StoreUnavailable):
            await cycle
        assert (await node.job(job_id)).state is JobState.ASSIGNED
        unusable.on = False
        await node.scheduler.run_once()
        assert (await node.job(job_id)).state is JobState.QUEUED

    run(test)


def test_a_cycle_that_can_not_be_committed_is_run_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        await node.scheduler.run_once()
        await node.submit()
        unusable = Unusable(node, monkeypatch)
        unusable.on = True
        with pytest.raises(StoreUnavailable):
            await node.scheduler.run_once()
        unusable.on = False
        await node.scheduler.run_once()
        assert len(lane.leases) == 1

    run(test)


def test_the_loop_is_woken_by_a_submit_and_ends_when_it_is_cancelled(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        loop = asyncio.ensure_future(node.scheduler.run())
        await node.submit()
        await asyncio.wait_for(lane.wake.wait(), 10)
        assert len(sent(lane)) == 1
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        assert loop.cancelled()

    run(test)


@asynccontextmanager
async def idle_loop(node: Node) -> AsyncIterator[None]:
    """The scheduler's loop runs, and waits to be woken when the block begins."""
    loop = asyncio.ensure_future(node.scheduler.run())
    try:
        await until_idle(node)
        yield
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


async def until_idle(node: Node) -> None:
    async with asyncio.timeout(10):
        while not node.scheduler._idle or node.store.waiting_count:  # noqa: ASYNC110  # nobody else wants to know
            await asyncio.sleep(0)


def test_a_submit_commits_together_with_its_grant(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect(slots=2)
        async with idle_loop(node):
            begun, gate = threading.Event(), threading.Event()

            def occupy(ledger: Ledger) -> None:
                begun.set()
                gate.wait(10)

            busy = node.store.write(occupy)
            await asyncio.to_thread(begun.wait, 10)
            submitting = node.store.write_each(submit_each, new_job(), crowd=True)
            node.scheduler.queued()
            gate.set()
            _, accepted = await asyncio.gather(busy, submitting)
            assert isinstance(accepted, Accepted)
            await until_idle(node)
            assert [lease.job_id for lease in leases_of(lane)] == [accepted.job.id]
            (together,) = [effects for effects in node.effects if accepted.job.id in effects.changed]
            assert not together.queued, "no other cycle is asked for"

    run(test)


def test_i4_who_asks_for_a_cycle_right_after_another_is_not_forgotten(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cycle that the first one began knows nothing of the second."""
    monkeypatch.setattr(scheduler, "IDLE_SECONDS", 60)

    async def test(node: Node) -> None:
        await node.submit(new_job(), new_job())
        async with idle_loop(node):
            lanes = [node.connect(), node.connect(OTHER)]
            for lane in lanes:
                await asyncio.wait_for(lane.wake.wait(), 10)
            assert [len(sent(lane)) for lane in lanes] == [1, 1]

    run(test)


def test_l4_a_cycle_that_begins_when_it_is_asked_for_notices_that_the_loop_stood_still(run: Run) -> None:
    async def test(node: Node) -> None:
        lane = node.connect()
        async with idle_loop(node):
            node.clock.advance(LEASE_SECONDS + 1)
            node.scheduler.wake()
            await until_idle(node)
            assert node.registry.lanes() == [lane]
            assert lane.ended is None

    run(test)


def test_i4_everything_that_can_run_runs_in_the_end(run: Run) -> None:
    async def test(node: Node) -> None:
        lanes = [node.connect(slots=3), node.connect(OTHER, 2, capabilities("echo", "other"))]
        ids = await node.submit(*(new_job(spec=handler_spec(("echo", "other")[n % 2])) for n in range(40)))
        for _ in range(60):
            node.scheduler.wake()
            await node.scheduler.run_once()
            for lane in lanes:
                assert len(lane.leases) <= lane.slots
                word = Word(lane.holder, finishes=[finished(lease) for lease in lane.leases])
                await node.store.write_each(hear_each, word)
                for lease in leases_of(lane):
                    lane.settle(lease)
        states = {(await node.job(job_id)).state for job_id in ids}
        assert states == {JobState.SUCCEEDED}

    run(test)


def test_a_cycle_is_a_plain_function_of_a_transaction(run: Run) -> None:
    async def test(node: Node) -> None:
        await node.submit()
        cycle = await node.store.write(lambda ledger: run_cycle(ledger, [offer()], ()))
        assert isinstance(cycle, Cycle)
        assert len(cycle.granted) == 1

    run(test)
