"""What a follower of the feed knows: its cursor, what it has handed on. No I/O, no clock, no chance.

The sibling of `follow` for WatchEvents. A filter leaves out positions, so a hole can't be seen here: the server tells
of what is missing by a gap.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace import follow
from headrace.v1 import event_service_pb2, watch_pb2

Item = (
    event_service_pb2.FeedOpened
    | event_service_pb2.FeedEvent
    | event_service_pb2.FeedGap
    | event_service_pb2.FeedBookmark
    | event_service_pb2.FeedEnd
    | follow.Reconnecting
)

LogItem = event_service_pb2.FeedEvent | event_service_pb2.FeedGap
"""What `follow()` hands on."""


class Follower:
    """Follows the messages of the feed across any number of streams."""

    def __init__(
        self,
        request: event_service_pb2.WatchEventsRequest,
        chance: Callable[[], float],
        patience_seconds: float = follow.PATIENCE_SECONDS,
    ) -> None:
        self._request = request
        self._cursor = request.cursor
        self._patience = follow.Patience(chance, patience_seconds)
        self.broken = self._patience.broken
        self._last_position = 0
        self._generation = 0
        self.ended = False
        self.draining = False

    def request(self) -> event_service_pb2.WatchEventsRequest:
        """The request that continues where the last message ended."""
        made = event_service_pb2.WatchEventsRequest()
        made.CopyFrom(self._request)
        made.cursor = self._cursor
        self.draining = False
        return made

    def accept(self, message: event_service_pb2.WatchEventsResponse) -> list[follow.Placed[Item]]:
        """The items of a message that were not handed on before."""
        self._patience.heard(progress=message.WhichOneof("kind") not in ("opened", "end"))
        before = self._cursor
        items = self._items(message)
        self._cursor = message.cursor or before
        return [follow.Placed(item, self._cursor if item is items[-1] else before) for item in items]

    def _items(self, message: event_service_pb2.WatchEventsResponse) -> list[Item]:
        match message.WhichOneof("kind"):
            case "opened":
                return self._at_opened(message.opened)
            case "batch":
                return [event for event in message.batch.events if self._is_new(event.event.position)]
            case "bookmark":
                return [message.bookmark]
            case "gap":
                return self._at_gap(message.gap)
            case "end":
                return self._at_end(message.end)
            case _:
                return []

    def _at_opened(self, opened: event_service_pb2.FeedOpened) -> list[Item]:
        if opened.generation != self._generation:
            # The positions of another generation are of other events.
            self._generation, self._last_position = opened.generation, 0
        return [opened]

    def _at_gap(self, gap: event_service_pb2.FeedGap) -> list[Item]:
        if gap.reason == watch_pb2.GAP_REASON_RESTORED:
            self._last_position = gap.to_position
            return [gap]
        return [gap] if self._is_new(gap.to_position) else []

    def _is_new(self, position: int) -> bool:
        if position <= self._last_position:
            return False
        self._last_position = position
        return True

    def _at_end(self, end: event_service_pb2.FeedEnd) -> list[Item]:
        if end.reason == watch_pb2.END_REASON_DRAINING:
            self.draining = True
            return []
        self.ended = True
        return [end]
