"""WatchHealth over a real stream: what a message holds, when it comes, and what a slow reader is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from headrace.v1 import admin_service_pb2, admin_service_pb2_grpc, job_pb2, worker_pb2
from headrace_server.core.alerts import Timing
from headrace_server.core.health import Thresholds
from headrace_server.core.ids import SECOND
from headrace_server.rpc.admin_service import AdminService
from headrace_server.rpc.admission import Admission
from headrace_server.rpc.checks.validation import CHECKS
from headrace_server.rpc.health import Health
from headrace_server.rpc.pipeline import Pipeline
from headrace_server.rpc.server import Service, build_server, listen_unix
from headrace_server.rpc.streams.health_stream import HealthWatching, watch_health
from headrace_server.runtime import health as module
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.health import HealthMonitor
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.effects import Effects
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.sqlite import SqliteEngine
from headrace_server.store.store import Store
from manual_clock import ManualClock
from store.driving import HOME, capabilities, new_job

ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
THRESHOLDS = Thresholds(queue_saturation=0.9, commit_seconds=0.5, lag_seconds=0.5, disk_reserve_bytes=0)
TIMING = Timing(raise_seconds=10, clear_seconds=15, cool_down_seconds=60)
DEADLINE_SECONDS = 20


class Watched:
    """A node that is looked at when a test says so, behind a real server."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.store = Store(SqliteEngine(folder), self.clock.now, Random(0), lambda effects: None)
        self.registry, self.admission, self.health = Registry(30.0), Admission(), Health([ADMIN.full_name])
        self.monitor = HealthMonitor(self.store, self.registry, Feed(), self.clock, lambda: 1 << 40, THRESHOLDS, TIMING)
        self.stub: Any = None

    def watch(self, seconds: float | None = None) -> Any:
        interval = None
        if seconds is not None:
            interval = Duration()
            interval.FromMicroseconds(int(seconds * SECOND))
        return self.stub.WatchHealth(admin_service_pb2.WatchHealthRequest(interval=interval))

    async def look(self, count: int = 1) -> None:
        """A look each second of the node's clock."""
        for _ in range(count):
            self.clock.advance(1.0)
            await self.monitor.look()

    def drain(self) -> None:
        self.admission.drain()
        self.monitor.wake_all()

    def fault(self, text: str) -> None:
        self.registry.note_local_fault(text)


@asynccontextmanager
async def watched(tmp_path: Path, socket_path: Path) -> AsyncIterator[Watched]:
    node = Watched(tmp_path / "data")
    node.health.set_all(True)
    await node.look()
    pipeline = Pipeline(node.admission, CHECKS, lambda: "made")
    watching = HealthWatching(node.monitor, node.admission.draining, lambda: node.health.serving)
    server = build_server(pipeline, [Service(ADMIN, AdminService(node.store, watching, node.registry))], node.health)
    listen_unix(server, socket_path)
    await server.start()
    options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"unix:{socket_path}", options=options) as channel:
        node.stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                yield node
        finally:
            await server.stop(0)
            await asyncio.get_running_loop().run_in_executor(None, node.store.close)


def alerts(message: Any) -> list[tuple[str, bool]]:
    """Names of alerts, and whether they have cleared."""
    return [(alert.name, alert.HasField("clear_time")) for alert in message.alerts]


def test_a_message_comes_at_once_and_holds_what_the_latest_look_saw(tmp_path: Path, socket_path: Path) -> None:
    async def main() -> None:
        async with watched(tmp_path, socket_path) as node:
            node.registry.connect(ControlLane(HOME, "c", 3, capabilities()))
            await node.store.write(lambda ledger: submit_each(ledger, [new_job(), new_job()]))
            node.monitor.committed(Effects(commit_seconds=0.01))
            await node.look()
            message = await node.watch().read()
            assert message.time.ToMicroseconds() == node.clock.now()
            assert message.serving
            assert [(one.state, one.count) for one in message.state_counts] == [(job_pb2.JOB_STATE_QUEUED, 2)]
            assert (message.slots, message.slots_used, message.disk_free_bytes) == (3, 0, 1 << 40)
            assert [(one.state, one.count) for one in message.worker_counts] == [(worker_pb2.WORKER_STATE_READY, 1)]
            assert message.queue_saturation > 0
            assert message.commit_max.ToMicroseconds() == 10_000
            assert 9_000 < message.commit_p50.ToMicroseconds() < 11_000
            assert message.memory_bytes > 0
            assert alerts(message) == []

    asyncio.run(main())


def test_an_alert_is_told_at_once_when_it_begins_changes_and_clears(tmp_path: Path, socket_path: Path) -> None:
    async def main() -> None:
        async with watched(tmp_path, socket_path) as node:
            stream = node.watch(60)
            assert alerts(await stream.read()) == []
            node.fault("gone")
            await node.look()
            begun = await stream.read()
            assert alerts(begun) == [("local-worker-failing", False)]
            assert begun.alerts[0].severity == admin_service_pb2.ALERT_SEVERITY_WARNING
            node.fault("gone again")
            await node.look(5)
            changed = (await stream.read()).alerts[0]
            assert changed.message == "the local worker does not run: gone again"
            assert changed.start_time == begun.alerts[0].start_time
            assert changed.update_time.ToMicroseconds() == changed.start_time.ToMicroseconds() + 5 * SECOND
            node.fault("")
            await node.look(16)
            assert alerts(await stream.read()) == [("local-worker-failing", True)]
            late = node.watch(60)
            assert alerts(await late.read()) == [], "it was over before"

    asyncio.run(main())


def test_without_news_a_message_comes_each_interval(
    tmp_path: Path, socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "LAG_SECONDS", 0.01)

    async def main() -> None:
        async with watched(tmp_path, socket_path) as node:
            running = asyncio.create_task(node.monitor.run())
            stream, loop = node.watch(1), asyncio.get_running_loop()
            await stream.read()
            begun = loop.time()
            for _ in range(2):
                assert alerts(await stream.read()) == []
            assert loop.time() - begun > 0.8
            running.cancel()

    asyncio.run(main())


def test_all_watchers_share_one_look(tmp_path: Path, socket_path: Path) -> None:
    async def main() -> None:
        async with watched(tmp_path, socket_path) as node:
            before = node.monitor.window
            streams = [node.watch(60) for _ in range(100)]
            for stream in streams:
                await stream.read()
            node.fault("gone")
            await node.look()
            messages = [await stream.read() for stream in streams]
            assert {message.SerializeToString(deterministic=True) for message in messages} == {
                messages[0].SerializeToString(deterministic=True)
            }
            assert node.monitor.window == before + 1

    asyncio.run(main())


class SlowCall:
    """A call whose client reads when a test says so."""

    def __init__(self) -> None:
        self.written: asyncio.Queue[tuple[Any, asyncio.Event]] = asyncio.Queue()

    async def write(self, message: Any) -> None:
        read = asyncio.Event()
        self.written.put_nowait((message, read))
        await read.wait()


def test_a_slow_reader_skips_looks_and_is_told_once_of_each_alert_that_came_and_went(
    tmp_path: Path, socket_path: Path
) -> None:
    async def main() -> None:
        async with watched(tmp_path, socket_path) as node:
            call: Any = SlowCall()
            watching = HealthWatching(node.monitor, node.admission.draining, lambda: True)
            streaming = asyncio.create_task(watch_health(watching, admin_service_pb2.WatchHealthRequest(), call))
            first, read = await call.written.get()
            for _ in range(2):
                node.fault("gone")
                await node.look()
                node.fault("")
                await node.look(100)
            node.monitor.store_said(False)
            await node.look()
            assert alerts(first) == []
            read.set()
            late, read = await call.written.get()
            name = "local-worker-failing"
            assert alerts(late) == [(name, True), (name, True), ("store-unavailable", False)]
            assert late.time.ToMicroseconds() == node.clock.now()
            read.set()
            await node.look(3)
            assert call.written.empty(), "nothing new, and the interval is not over"
            streaming.cancel()

    asyncio.run(main())


def test_a_drain_ends_the_stream_with_unavailable(tmp_path: Path, socket_path: Path, failure_of: Any) -> None:
    async def main() -> None:
        async with watched(tmp_path, socket_path) as node:
            stream = node.watch(60)
            await anext(aiter(stream))
            node.drain()
            failure = await failure_of(stream)
            assert (failure.code, failure.info.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [0, 0.9, 60.5])
def test_an_interval_out_of_bounds_is_refused(
    tmp_path: Path, socket_path: Path, failure_of: Any, seconds: float
) -> None:
    async def main() -> None:
        async with watched(tmp_path, socket_path) as node:
            failure = await failure_of(node.watch(seconds))
            assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
            assert [one.field for one in failure.details["BadRequest"].field_violations] == ["interval"]

    asyncio.run(main())
