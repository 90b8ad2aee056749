"""The health stream of both clients: it goes on over cuts, and gives up only when that is pointless."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

import headrace
from headrace import blocking, errors, follow
from headrace.health import silence_seconds
from headrace.v1 import admin_service_pb2, admin_service_pb2_grpc


@dataclass
class FakeAdmin(admin_service_pb2_grpc.AdminServiceServicer):
    """Streams of so many messages each, then UNAVAILABLE; the last one is held."""

    counts: list[int]
    requests: list[Any] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def ListAuditEntries(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    SetBudget = DeleteBudget = ListBudgets = ListCapacityDomains = UpdateCapacityDomain = GetSettings = (
        UpdateSettings
    ) = GetResponseCache = InvalidateResponseCache = ListAuditEntries

    def WatchHealth(self, request: Any, context: Any) -> Iterator[Any]:
        self.requests.append(request)
        if not self.counts:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")
        count = self.counts.pop(0)
        if not self.counts:
            context.add_callback(self.left.set)
        for _ in range(count):
            yield admin_service_pb2.WatchHealthResponse(serving=True, slots=len(self.requests))
        if not self.counts:
            self.hold.wait(60)
        context.abort(grpc.StatusCode.UNAVAILABLE, "away")


@pytest.fixture
def fake() -> Iterator[FakeAdmin]:
    fake = FakeAdmin([2, 0, 1])
    yield fake
    fake.hold.set()


@pytest.fixture
def address(fake: FakeAdmin) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    fake.hold.set()
    server.stop(None).wait()


def words(item: Any) -> Any:
    """The number of the stream that a message came from, or that it broke."""
    return "broke" if isinstance(item, follow.Reconnecting) else item.slots


EXPECTED = [1, 1, "broke", "broke", 3]


def test_the_asyncio_stream_goes_on_over_cuts(address: str, fake: FakeAdmin) -> None:
    async def main() -> list[Any]:
        found: list[Any] = []
        async with headrace.connect(address) as server, aclosing(server.watch_health(interval=2)) as stream:
            async for item in stream:
                found.append(words(item))
                if len(found) == len(EXPECTED):
                    break
        return found

    assert asyncio.run(asyncio.wait_for(main(), 30)) == EXPECTED
    assert [request.interval.seconds for request in fake.requests] == [2, 2, 2]
    assert fake.left.wait(20), "the server sees that nobody reads any more"


def test_the_blocking_stream_goes_on_over_cuts(address: str, fake: FakeAdmin) -> None:
    with blocking.connect(address) as server, closing(server.watch_health()) as stream:
        assert [words(next(stream)) for _ in EXPECTED] == EXPECTED
    assert fake.left.wait(20)
    assert not fake.requests[0].HasField("interval")


def test_what_waiting_can_not_mend_is_raised(address: str, fake: FakeAdmin) -> None:
    fake.counts = []
    with blocking.connect(address) as server, pytest.raises(errors.CallFailed, match="not you"):
        next(server.watch_health())


def test_a_stream_may_be_silent_for_longer_than_its_interval() -> None:
    request = admin_service_pb2.WatchHealthRequest()
    request.interval.FromSeconds(60)
    assert silence_seconds(request) > 60
