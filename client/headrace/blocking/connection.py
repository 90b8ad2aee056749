"""The wire of the blocking client: one channel, unary calls, pages and follow streams on it. Knows no single rpc."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import grpc

from headrace import calls, channel, converse, feed, follow, statuses
from headrace.blocking import artifacts, health
from headrace.blocking.streams import FeedWatch, Watch
from headrace.health import HealthItem
from headrace.v1 import admin_service_pb2, event_service_pb2, job_service_pb2, session_service_pb2

Value = TypeVar("Value")


class Connection:
    """A channel to a server, with what every call on it shares."""

    def __init__(
        self,
        wire: grpc.Channel,
        *,
        address: str = "",
        namespace: str = "",
        deadline_seconds: float = channel.DEADLINE_SECONDS,
        patience_seconds: float = follow.PATIENCE_SECONDS,
    ) -> None:
        self._channel = wire
        self._stubs = calls.stubs(wire)
        self.address = address
        self.namespace = namespace
        self.deadline_seconds = deadline_seconds
        self.patience_seconds = patience_seconds

    def close(self) -> None:
        """Closes the channel and every stream on it."""
        self._channel.close()

    def run(self, call: calls.Call[Value]) -> Value:
        """Sends a unary call and reads its answer."""
        statuses.check_size(call.request)
        try:
            response = call.method(self._stubs)(call.request, timeout=self.deadline_seconds)
        except grpc.RpcError as error:
            raise statuses.from_rpc(error, self.address) from None
        return call.read(response)

    def pages(self, page_at: Callable[[str], calls.Call[calls.Page[Value]]]) -> Iterator[Value]:
        """Every item of a list; a page is read when the one before it is used up."""
        token = ""
        while True:
            page = self.run(page_at(token))
            yield from page.items
            token = page.next_page_token
            if not token:
                return

    def watch(self, request: job_service_pb2.WatchJobRequest) -> Watch:
        """Follows what the request names."""
        return Watch(
            self._stubs.jobs.WatchJob,
            follow.Follower(request, random.random, self.patience_seconds),
            self.address,
        )

    def watch_feed(self, request: event_service_pb2.WatchEventsRequest) -> FeedWatch:
        """Follows the feed as the request says."""
        return FeedWatch(
            self._stubs.events.WatchEvents,
            feed.Follower(request, random.random, self.patience_seconds),
            self.address,
        )

    def read_artifact(self, request: job_service_pb2.ReadArtifactRequest) -> Generator[bytes, None, None]:
        """The bytes of an artifact."""
        patience = follow.Patience(random.random, self.patience_seconds)
        return artifacts.read(self._stubs.jobs.ReadArtifact, request, patience, self.address)

    def watch_health(self, request: admin_service_pb2.WatchHealthRequest) -> Generator[HealthItem, None, None]:
        """How the server does, again and again."""
        patience = follow.Patience(random.random, self.patience_seconds)
        return health.watch(self._stubs.admin.WatchHealth, request, patience, self.address)

    def conversing(self, opening: session_service_pb2.ConverseOpen, window: int) -> converse.Conversing:
        """A conversation that no stream was opened for yet."""
        return converse.Conversing(opening, random.random, self.patience_seconds, window)

    def open_conversation(self, requests: Iterator[session_service_pb2.ConverseRequest]) -> Any:
        """A stream of a conversation, on which the requests are sent."""
        return self._stubs.sessions.Converse(requests)
