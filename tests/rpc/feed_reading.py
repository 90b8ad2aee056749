"""A store with readers of its feed: streams that keep what they are sent."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from headrace.v1 import event_service_pb2 as pb
from headrace_server.core.ids import JobId
from headrace_server.rpc.checks.validate_event import check_list, check_watch
from headrace_server.rpc.event_service import EventService
from headrace_server.rpc.streams.feed_stream import FeedFollowing
from headrace_server.rpc.streams.follow import Following
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.feed_pages import FeedPages
from headrace_server.runtime.log_pages import LogPages
from headrace_server.runtime.registry import Registry
from headrace_server.store.effects import Effects
from headrace_server.store.engine import Engine
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.sqlite import SqliteEngine
from headrace_server.store.store import Store
from store.driving import NAMESPACE, Bench

ALL = pb.FEED_SCOPE_NAMESPACE
Written = Callable[[pb.WatchEventsResponse], Awaitable[None]]
HEARTBEAT_SECONDS = 0.2
"""Often enough to be waited for, and longer than a busy machine mostly takes for a stream."""


class Stream:
    """The side of a call that a stream writes to; `written` may do something after each message."""

    def __init__(self, written: Written | None = None, principal: str = "me") -> None:
        self.messages: list[pb.WatchEventsResponse] = []
        self.principal = principal
        self._written = written

    async def write(self, message: Any) -> None:
        response = pb.WatchEventsResponse.FromString(message) if isinstance(message, bytes) else message
        self.messages.append(response)
        if self._written is not None:
            await self._written(response)

    def kinds(self) -> list[str | None]:
        return [message.WhichOneof("kind") for message in self.messages]

    def events(self) -> list[pb.FeedEvent]:
        return [event for message in self.messages for event in message.batch.events]

    def positions(self) -> list[int]:
        return [event.event.position for event in self.events()]

    def gaps(self) -> list[tuple[int, int, int]]:
        found = [message.gap for message in self.messages if message.HasField("gap")]
        return [(gap.from_position, gap.to_position, gap.earliest_position) for gap in found]


class Watched(Bench):
    """A store whose commits are told to whoever wants to know."""

    def __init__(self, engine: Engine) -> None:
        self.observers: list[Callable[[Effects], None]] = []
        super().__init__(engine)

    async def _open(self, entropy: Random) -> Store:
        return Store(self.engine, self.clock.now, entropy, self._committed)

    def _committed(self, effects: Effects) -> None:
        self.effects.append(effects)
        for told in self.observers:
            told(effects)


class Node:
    """A store, and what the readers of its feed share."""

    def __init__(self, folder: Path) -> None:
        self.bench = Watched(SqliteEngine(folder))
        self.feed = Feed()
        self.pages = FeedPages(self.bench.store, self.feed)
        self.bench.observers.append(self.pages.committed)
        self.draining = asyncio.Event()
        self.may_see = True
        store, clock = self.bench.store, self.bench.clock
        logs = LogPages(store, self.feed, clock)
        node = Following(store, self.feed, Deltas(), Registry(30.0), clock, self.draining, HEARTBEAT_SECONDS, logs)
        self.all = FeedFollowing(node, self.pages, lambda principal, namespace, owner: self.may_see)
        self.service = EventService(self.all)

    def watch(
        self, request: pb.WatchEventsRequest | None = None, written: Written | None = None, **more: Any
    ) -> Stream:
        """Follows to the end; without a request, all that is there."""
        stream = Stream(written, **more)
        wanted = request or pb.WatchEventsRequest(scope=ALL, from_beginning=True, no_follow=True)
        assert check_watch(wanted) is None
        self.bench.run(asyncio.wait_for(self.service.watch_events(wanted, stream), 20))  # type: ignore[arg-type]  # as a Call
        return stream

    def list(self, principal: str = "me", **wanted: Any) -> pb.ListEventsResponse:
        """One page."""
        request = pb.ListEventsRequest(**({"scope": ALL} | wanted))
        assert check_list(request) is None
        return self.bench.run(self.service.list_events(request, Stream(principal=principal)))  # type: ignore[arg-type]  # as a Call

    def remove(self, job_id: JobId) -> None:
        assert self.bench.write(delete, NAMESPACE, job_id, "", "tester") is None


@contextmanager
def opened() -> Iterator[Node]:
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder, "data"))
        try:
            yield node
        finally:
            node.bench.close()
