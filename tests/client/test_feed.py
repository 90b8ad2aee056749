"""The feed in both clients: every event once and in order, across cuts, drains, restores and pauses (E1, E4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import grpc_testing
import pytest

import headrace
from headrace import blocking, feed, follow
from headrace.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc, watch_pb2

SERVICE = event_service_pb2.DESCRIPTOR.services_by_name["EventService"]
DEADLINE_SECONDS = 20
Script = Callable[[Any, Any], Awaitable[None]]


class FakeFeed(event_service_pb2_grpc.EventServiceServicer):
    """Plays scripts; remembers every request."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.requests: list[Any] = []

    async def WatchEvents(self, request: Any, context: Any) -> None:  # type: ignore[override]  # writes to its context
        self.requests.append(request)
        await self.scripts.pop(0)(request, context)

    async def ListEvents(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        first = not request.page_token
        events = [event(7), event(6)] if first else [event(5)]
        return event_service_pb2.ListEventsResponse(events=events, next_page_token="t" if first else "")


def event(position: int) -> event_service_pb2.FeedEvent:
    return event_service_pb2.FeedEvent(event=event_pb2.Event(position=position), queue="q")


def opened(cursor: str = "", generation: int = 1) -> event_service_pb2.WatchEventsResponse:
    said = event_service_pb2.FeedOpened(generation=generation)
    return event_service_pb2.WatchEventsResponse(cursor=cursor, opened=said)


def batch(*positions: int) -> event_service_pb2.WatchEventsResponse:
    events = [event(position) for position in positions]
    return event_service_pb2.WatchEventsResponse(
        cursor=f"c{positions[-1]}", batch=event_service_pb2.FeedBatch(events=events)
    )


def gap(
    first: int, last: int, reason: watch_pb2.GapReason = watch_pb2.GAP_REASON_RETENTION
) -> event_service_pb2.WatchEventsResponse:
    said = event_service_pb2.FeedGap(from_position=first, to_position=last, reason=reason)
    return event_service_pb2.WatchEventsResponse(cursor=f"c{last}", gap=said)


def bookmark(cursor: str) -> event_service_pb2.WatchEventsResponse:
    return event_service_pb2.WatchEventsResponse(cursor=cursor, bookmark=event_service_pb2.FeedBookmark())


def end(reason: watch_pb2.EndReason = watch_pb2.END_REASON_CAUGHT_UP) -> event_service_pb2.WatchEventsResponse:
    return event_service_pb2.WatchEventsResponse(end=event_service_pb2.FeedEnd(reason=reason))


def says(*messages: event_service_pb2.WatchEventsResponse) -> Script:
    """A stream that says these and then ends with OK: a cut when there is no `end` among them."""

    async def script(request: Any, context: Any) -> None:
        for message in messages:
            await context.write(message)

    return script


@asynccontextmanager
async def serving(fake: FakeFeed, folder: Path) -> AsyncIterator[str]:
    server = grpc.aio.server()
    event_service_pb2_grpc.add_EventServiceServicer_to_server(fake, server)
    address = f"unix:{folder / 's'}"
    server.add_insecure_port(address)
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


def positions(items: list[Any]) -> list[int]:
    return [item.event.position for item in items if isinstance(item, event_service_pb2.FeedEvent)]


def collect(folder: Path, fake: FakeFeed, **options: Any) -> list[Any]:
    """Everything that a watch says."""

    async def run() -> list[Any]:
        async with serving(fake, folder) as address, headrace.connect(address, namespace="n") as client:
            return [item async for item in client.events.watch(**options)]

    return asyncio.run(run())


def test_e1_a_cut_feed_continues_at_its_cursor_without_hole_or_repeat(short_folder: Path) -> None:
    fake = FakeFeed(
        says(opened("c0"), batch(2, 5), bookmark("c9")),
        says(opened("c9"), batch(9, 11), batch(12)),
        says(opened("c12"), batch(12, 14), end()),
    )
    items = collect(short_folder, fake, filter="queue = q", from_beginning=True)
    assert positions(items) == [2, 5, 9, 11, 12, 14]
    assert [request.cursor for request in fake.requests] == ["", "c9", "c12"]
    assert sum(isinstance(item, follow.Reconnecting) for item in items) == 2
    assert {(one.namespace, one.filter, one.from_beginning) for one in fake.requests} == {("n", "queue = q", True)}


def test_e1_a_feed_that_is_cut_before_its_first_event_goes_on_from_where_it_was_opened(short_folder: Path) -> None:
    fake = FakeFeed(says(opened("c40")), says(opened("c40"), batch(41), end()))
    assert positions(collect(short_folder, fake)) == [41]
    assert [request.cursor for request in fake.requests] == ["", "c40"]


def test_e1_a_gap_is_handed_on_once(short_folder: Path) -> None:
    fake = FakeFeed(says(opened(), gap(1, 7), batch(8)), says(opened("c8"), gap(1, 7), batch(9), end()))

    async def run() -> list[Any]:
        async with serving(fake, short_folder) as address, headrace.connect(address) as client:
            return [item async for item in client.events.follow()]

    items = asyncio.run(run())
    assert [(i.from_position, i.to_position) for i in items if isinstance(i, event_service_pb2.FeedGap)] == [(1, 7)]
    assert positions(items) == [8, 9]
    assert len(items) == 3


def test_e1_after_a_restore_positions_may_start_again(short_folder: Path) -> None:
    restored = gap(1, 3, watch_pb2.GAP_REASON_RESTORED)
    fake = FakeFeed(says(opened(), batch(3, 4, 5)), says(opened("c3", generation=2), restored, batch(4, 5, 6), end()))
    assert positions(collect(short_folder, fake)) == [3, 4, 5, 4, 5, 6]


def test_a_draining_server_is_left_and_the_feed_goes_on(short_folder: Path) -> None:
    draining = end(watch_pb2.END_REASON_DRAINING)
    fake = FakeFeed(says(opened(), batch(1), draining), says(opened(), batch(2), end()))
    items = collect(short_folder, fake)
    assert positions(items) == [1, 2]
    assert [i.reason for i in items if isinstance(i, event_service_pb2.FeedEnd)] == [watch_pb2.END_REASON_CAUGHT_UP]


def test_the_cursor_moves_when_the_last_event_of_a_batch_was_handed_on(short_folder: Path) -> None:
    async def run() -> list[str]:
        fake = FakeFeed(says(opened("c0"), batch(1, 2), end()))
        async with serving(fake, short_folder) as address, headrace.connect(address) as client:
            stream = client.events.follow(cursor="kept")
            return [stream.cursor] + [stream.cursor async for _ in stream]

    assert asyncio.run(run()) == ["kept", "c0", "c2"]


def test_e4_a_paused_reader_stops_the_server(short_folder: Path) -> None:
    async def run() -> None:
        stalled = asyncio.Event()
        total = 200

        async def flood(request: Any, context: Any) -> None:
            await context.write(opened())
            for position in range(1, total + 1):
                message = batch(position)
                message.batch.events[0].display_name = "x" * 256 * 1024
                write = asyncio.ensure_future(context.write(message))
                if not (await asyncio.wait([write], timeout=1.0))[0]:
                    stalled.set()
                await write
            await context.write(end())

        async with serving(FakeFeed(flood), short_folder) as address, headrace.connect(address) as client:
            stream = client.events.follow()
            first = await anext(stream)
            await asyncio.wait_for(stalled.wait(), DEADLINE_SECONDS)
            rest = [item async for item in stream]
        assert positions([first, *rest]) == list(range(1, total + 1))

    asyncio.run(run())


def test_a_list_reads_its_pages_as_they_are_needed(short_folder: Path) -> None:
    fake = FakeFeed()

    async def run() -> list[Any]:
        async with serving(fake, short_folder) as address, headrace.connect(address) as client:
            start = datetime(2030, 1, 1, tzinfo=UTC)
            wanted = client.events.list("type = failed", scope="namespace", start=start, oldest_first=True, page_size=2)
            return [item async for item in wanted]

    assert positions(asyncio.run(run())) == [7, 6, 5]
    request = event_service_pb2.ListEventsRequest(
        scope=event_service_pb2.FEED_SCOPE_NAMESPACE, filter="type = failed", oldest_first=True, page_size=2
    )
    request.start_time.FromDatetime(datetime(2030, 1, 1, tzinfo=UTC))
    assert fake.requests[0] == request
    assert fake.requests[1].page_token == "t"


def test_where_to_begin_is_said_in_one_way(short_folder: Path) -> None:
    begun = datetime(2030, 1, 1, tzinfo=UTC)
    fake = FakeFeed(says(end()), says(end()), says(end()))
    for options in ({}, {"from_beginning": True}, {"start": begun, "max_bytes_per_second": 9, "no_follow": True}):
        collect_again = FakeFeed(fake.scripts.pop(0))
        collect(short_folder, collect_again, **options)
        fake.requests += collect_again.requests
    assert [request.WhichOneof("start") for request in fake.requests] == [None, "from_beginning", "start_time"]
    assert (fake.requests[2].max_bytes_per_second, fake.requests[2].no_follow) == (9, True)


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_the_blocking_client_follows_the_feed_likewise(background: ThreadPoolExecutor) -> None:
    wire = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    client = blocking.Client(wire, namespace="n")
    read: Future[list[Any]] = background.submit(lambda: list(client.events.follow("queue = q", scope="own")))
    for cursor, messages in (("", (opened("c0"), batch(1, 2))), ("c2", (opened("c2"), batch(2, 3), end()))):
        _, request, stream = wire.take_unary_stream(SERVICE.methods_by_name["WatchEvents"])
        assert (request.cursor, request.scope) == (cursor, event_service_pb2.FEED_SCOPE_OWN)
        for message in messages:
            stream.send_response(message)
        stream.terminate((), grpc.StatusCode.OK, "")
    assert positions(read.result(DEADLINE_SECONDS)) == [1, 2, 3]


def test_a_gap_of_nothing_after_a_restore_is_told_all_the_same() -> None:
    one = feed.Follower(event_service_pb2.WatchEventsRequest(cursor="c"), lambda: 1.0)
    placed = one.accept(gap(1, 0, watch_pb2.GAP_REASON_RESTORED))
    assert [type(item.item) for item in placed] == [event_service_pb2.FeedGap]
    assert one.request().cursor == "c0"
