"""A look at a node: what it counts, what it measures, and which alerts come of it."""

import asyncio
import logging
import resource
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from headrace.v1 import queue_pb2
from headrace_server.core.alerts import AlertName, Severity, Timing
from headrace_server.core.health import QueueFill, Sample, Thresholds, Unplaced, WorkerCounts, find
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.limits import QUEUE_MAX_QUEUED_DEFAULT
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.core.states import JobState
from headrace_server.runtime import health as module
from headrace_server.runtime.disk import DiskReserve
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.health import LOST_SECONDS, WINDOWS_COUNT_MAX, HealthMonitor
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.attempts.workers import Greeting, lose_worker, welcome
from headrace_server.store.effects import Effects
from headrace_server.store.queueing.queue_stops import StopKind, StopOrder, set_stop
from headrace_server.store.queueing.queues import create_queue, update_queue
from headrace_server.store.records import health as counting
from headrace_server.store.records.health import OTHERS, QueueBounds, count_all
from runtime.conftest import Node, Test, sent
from store.driving import HOME, NAMESPACE, Bench, capabilities, handler_spec, new_job

Run = Callable[[Test], None]
MIB = 1024 * 1024
THRESHOLDS = Thresholds(queue_saturation=0.9, commit_seconds=0.5, lag_seconds=0.5, disk_reserve_bytes=256 * MIB)
TIMING = Timing(raise_seconds=10, clear_seconds=15, cool_down_seconds=60)
PLENTY = 1 << 40


def monitor_of(node: Node, feed: Feed | None = None) -> HealthMonitor:
    return HealthMonitor(node.store, node.registry, feed or Feed(), node.clock, lambda: PLENTY, THRESHOLDS, TIMING)


async def pass_seconds(node: Node, monitor: HealthMonitor, count: int) -> list[str]:
    """A look each second; the alerts that stand after it."""
    for _ in range(count):
        node.clock.advance(1.0)
        await monitor.look()
    return [alert.name.value for alert in monitor.alerts.standing()]


async def greet(node: Node, holder: Holder) -> None:
    await node.store.write(lambda ledger: welcome(ledger, Greeting(holder, False, b"", 1, ())))


def took(seconds: float) -> Effects:
    return Effects(commit_seconds=seconds)


def test_a_look_counts_jobs_slots_and_workers(run: Run) -> None:
    async def test(node: Node) -> None:
        feed = Feed()
        monitor, lane = monitor_of(node, feed), node.connect(slots=2)
        await greet(node, HOME)
        await greet(node, Holder("away", "1"))
        await node.submit(*(new_job() for _ in range(5)))
        await node.scheduler.run_once()
        sent(lane)
        with feed.follow(JobId(b"1")):
            await monitor.look()
        sample = monitor.sample
        assert sample.jobs == {JobState.QUEUED: 3, JobState.ASSIGNED: 2}
        assert (sample.slots, sample.slots_used, sample.attempts, sample.followers) == (2, 2, 2, 1)
        assert sample.workers == WorkerCounts(ready=1, disconnected=1)
        assert sample.fullest[0].saturation == 3 / QUEUE_MAX_QUEUED_DEFAULT
        assert (sample.time, sample.disk_free_bytes, sample.waiting_writes) == (node.clock.now(), PLENTY, 0)
        assert sample.memory_bytes > MIB

    run(test)


def test_the_fullest_queue_is_found_by_its_own_limit_also_when_that_changes(bench: Bench) -> None:
    for name, max_queued in (("large", 100), ("small", 4)):
        bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name=name, max_queued=max_queued), "tester")
    bench.submit(*(new_job(queue="large") for _ in range(10)), *(new_job(queue="small") for _ in range(3)))
    bounds = QueueBounds()

    def fullest() -> list[tuple[str, float]]:
        counted = bench.read(count_all, bounds, bench.clock.now(), Micros(0))
        return [(fill.queue, fill.saturation) for fill in counted.fullest]

    assert fullest() == [("small", 0.75), ("large", 0.1)]
    change: Any = lambda body: setattr(body, "max_queued", 300)  # noqa: E731  # one field
    bench.write(update_queue, NAMESPACE, "small", "", change, ("max_queued",), "tester")
    assert fullest() == [("large", 0.1), ("small", 0.01)]


def test_jobs_of_very_many_queues_are_summed_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        queue = f"q{number}"
        bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name=queue), "tester")
        bench.submit(*(new_job(queue=queue) for _ in range(number + 1)))
    monkeypatch.setattr(counting, "COUNTS_COUNT_MAX", 4)
    counted = bench.read(count_all, QueueBounds(), bench.clock.now(), Micros(0))
    named = [(NAMESPACE, f"q{number}", JobState.QUEUED, number + 1) for number in range(4)]
    assert counted.jobs == [*named, (*OTHERS, JobState.QUEUED, 11)]


def test_jobs_that_wait_without_a_worker_are_an_alert_until_one_connects(run: Run) -> None:
    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        assert await pass_seconds(node, monitor, 20) == []
        await node.submit(new_job(), new_job())
        assert await pass_seconds(node, monitor, 10) == []
        assert await pass_seconds(node, monitor, 1) == ["no-worker"]
        (alert,) = monitor.alerts.standing()
        assert alert.message == "2 jobs wait for a worker, and none is connected"
        assert alert.severity is Severity.CRITICAL
        node.connect(slots=1)
        assert await pass_seconds(node, monitor, 15) == ["no-worker"]
        assert await pass_seconds(node, monitor, 1) == []

    run(test)


def test_jobs_of_a_paused_queue_do_not_wait_for_a_worker(run: Run) -> None:
    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        await node.store.write(lambda ledger: create_queue(ledger, NAMESPACE, queue_pb2.Queue(name="q"), "tester"))
        await node.submit(new_job(queue="q"))
        order = StopOrder("tester", "night", node.clock.now(), Micros(node.clock.now() + 60 * SECOND))
        await node.store.write(lambda ledger: set_stop(ledger, NAMESPACE, "q", StopKind.PAUSE, order))
        assert await pass_seconds(node, monitor, 30) == []
        assert await pass_seconds(node, monitor, 41) == ["no-worker"], "the pause is over"

    run(test)


def test_jobs_that_no_connected_worker_can_run_are_an_alert_that_says_what_they_lack(run: Run) -> None:
    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        node.connect(able=capabilities("other"))
        await node.submit(new_job(spec=handler_spec("rare")))
        assert await pass_seconds(node, monitor, 11) == ["no-eligible-worker"]
        (alert,) = monitor.alerts.standing()
        assert "handler 'rare' is not registered on the connected worker" in alert.message
        node.connect(Holder("able", "1"), able=capabilities("rare"))
        assert await pass_seconds(node, monitor, 16) == []

    run(test)


def test_many_lost_workers_are_one_alert_which_clears_when_they_are_no_news_any_more(run: Run) -> None:
    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        holders = [Holder(f"w{number}", "1") for number in range(5)]
        for holder in holders:
            await greet(node, holder)
        assert await pass_seconds(node, monitor, 1) == []
        for holder in holders:
            await node.store.write(partial(lose_worker, holder=holder, reason="silent"))
        assert await pass_seconds(node, monitor, 1) == ["worker-lost"]
        (alert,) = monitor.alerts.standing()
        assert alert.message == "5 workers were lost, what they ran goes to others: w0, w1, w2 and 2 more"
        await greet(node, Holder("w0", "2"))
        await pass_seconds(node, monitor, 6)
        assert monitor.alerts.standing()[0].message.startswith("4 workers were lost")
        assert await pass_seconds(node, monitor, int(LOST_SECONDS) + 20) == []

    run(test)


def test_a_worker_that_left_in_order_is_not_missed_nor_one_that_was_lost_before(run: Run) -> None:
    async def test(node: Node) -> None:
        monitor, old = monitor_of(node), Holder("old", "1")
        for holder in (old, HOME):
            await greet(node, holder)
        await node.store.write(lambda ledger: lose_worker(ledger, old, "silent"))
        lane = node.connect()
        await pass_seconds(node, monitor, 1)
        lane.draining = True
        node.registry.disconnect(lane)
        await node.store.write(lambda ledger: lose_worker(ledger, HOME, "silent"))
        assert await pass_seconds(node, monitor, 5) == []
        assert monitor.sample.workers.lost == 2

    run(test)


def test_what_happened_since_a_message_is_put_together_of_windows(run: Run) -> None:
    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        for seconds in (0.001, 0.001, 0.9):
            monitor.committed(took(seconds))
        await monitor.look()
        first = monitor.window
        monitor.committed(took(0.01))
        await monitor.look()
        both, last = monitor.span(first - 1), monitor.span(first)
        assert both.commit_p50_seconds == pytest.approx(0.001, rel=0.1)
        assert both.commit_max_seconds == 0.9
        assert last.commit_max_seconds == 0.01
        assert monitor.span(monitor.window).commit_p50_seconds is None
        for _ in range(WINDOWS_COUNT_MAX):
            await monitor.look()
        assert monitor.span(0).commit_max_seconds is None, "bounded"

    run(test)


def test_a_loop_that_is_late_is_measured_and_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "LAG_SECONDS", 0.01)

    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        running = asyncio.create_task(monitor.run())
        loop = asyncio.get_running_loop()
        await monitor.looked.wait()
        end = loop.time() + 0.3
        while loop.time() < end:
            pass
        await monitor.looked.wait()
        assert monitor.sample.lag_seconds > 0.2
        running.cancel()

    run(test)


def test_that_the_store_fails_is_looked_at_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(module, "LAG_SECONDS", 0.01)

    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        running = asyncio.create_task(monitor.run())
        looked = monitor.looked
        monitor.store_said(False)
        await looked.wait()
        assert [alert.name for alert in monitor.alerts.standing()] == [AlertName.STORE_UNAVAILABLE]
        running.cancel()

    run(test)


def test_a_look_does_without_descriptors(run: Run) -> None:
    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        await monitor.look()
        known = monitor.sample.memory_bytes
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            await monitor.look()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert (monitor.window, monitor.sample.memory_bytes) == (2, known)

    run(test)


def test_a_store_that_can_not_be_read_leaves_the_last_counts(run: Run) -> None:
    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        await node.submit(new_job())
        await monitor.look()

        async def broken(*arguments: Any) -> None:
            raise Refused(Refusal(Reason.STORE_UNAVAILABLE, "no disk"))

        node.store.read, read = broken, node.store.read  # type: ignore[assignment,method-assign]  # a store that fails
        await monitor.look()
        node.store.read = read  # type: ignore[method-assign]  # sound again
        assert monitor.sample.jobs == {JobState.QUEUED: 1}

    run(test)


def test_a_store_that_does_not_answer_is_asked_once_and_holds_up_no_look(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.01)

    async def test(node: Node) -> None:
        monitor, hangs = monitor_of(node), asyncio.Event()
        asked: list[Any] = []
        read = node.store.read

        async def slow(*arguments: Any) -> Any:
            asked.append(arguments)
            await hangs.wait()
            return await read(*arguments)

        node.store.read = slow  # type: ignore[assignment,method-assign]  # a disk that hangs
        for _ in range(3):
            await monitor.look()
        assert (len(asked), monitor.window) == (1, 3)
        await node.submit(new_job())
        hangs.set()
        monkeypatch.setattr(module, "READ_SECONDS", 10.0)
        await monitor.look()
        node.store.read = read  # type: ignore[method-assign]  # sound again
        assert monitor.sample.jobs == {JobState.QUEUED: 1}

    run(test)


def test_alerts_are_in_the_log_when_they_begin_and_clear(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, module.__name__)

    async def test(node: Node) -> None:
        monitor = monitor_of(node)
        node.registry.note_local_fault("no such program")
        await pass_seconds(node, monitor, 1)
        node.registry.note_local_fault("still no such program")
        await pass_seconds(node, monitor, 10)
        node.registry.note_local_fault("")
        await pass_seconds(node, monitor, 20)

    run(test)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "alert local-worker-failing began: the local worker does not run: no such program"),
        ("INFO", "alert local-worker-failing cleared: the local worker does not run: still no such program"),
    ]


def alerts_of(**seen: Any) -> dict[AlertName, Severity]:
    """What one sample alone would raise."""
    findings = find(Sample(**{"disk_free_bytes": PLENTY, **seen}), THRESHOLDS)
    assert {finding.name for finding in findings} == set(AlertName)
    return {finding.name: finding.severity for finding in findings if finding.verdict.value == "bad"}


def test_a_server_that_has_nothing_to_do_raises_nothing() -> None:
    assert alerts_of() == {}


@pytest.mark.parametrize(
    ("seen", "name", "severity"),
    [
        ({"disk_free_bytes": 500 * MIB}, AlertName.DISK_LOW, Severity.WARNING),
        ({"disk_free_bytes": 255 * MIB}, AlertName.DISK_LOW, Severity.CRITICAL),
        ({"commit_p50_seconds": 0.6}, AlertName.COMMITS_SLOW, Severity.WARNING),
        ({"stuck_seconds": 3.0, "waiting_writes": 4}, AlertName.COMMITS_SLOW, Severity.WARNING),
        ({"lag_seconds": 0.6}, AlertName.LOOP_SLOW, Severity.WARNING),
        ({"ready_jobs": 1, "workers": WorkerCounts(draining=2)}, AlertName.NO_WORKER, Severity.CRITICAL),
        (
            {"unplaced": [Unplaced("q", 1, "why")], "workers": WorkerCounts(ready=1)},
            AlertName.NO_ELIGIBLE_WORKER,
            Severity.WARNING,
        ),
        ({"commits": False}, AlertName.STORE_UNAVAILABLE, Severity.CRITICAL),
    ],
)
def test_each_condition_is_the_alert_that_it_is_named_after(
    seen: dict[str, Any], name: AlertName, severity: Severity
) -> None:
    assert alerts_of(**seen) == {name: severity}


@pytest.mark.parametrize(("waiting", "severity"), [(89, None), (90, Severity.WARNING), (100, Severity.CRITICAL)])
def test_a_queue_is_an_alert_when_it_is_nearly_full_and_a_grave_one_when_it_is(
    waiting: int, severity: Severity | None
) -> None:
    fill = QueueFill("q", waiting, 100)
    assert alerts_of(fullest=[fill]).get(AlertName.QUEUE_FULL) is severity


def test_nobody_knows_of_a_disk_that_is_gone(tmp_path: Any) -> None:
    assert DiskReserve(tmp_path / "gone", 1).free_bytes() is None
    assert alerts_of(disk_free_bytes=None) == {}
