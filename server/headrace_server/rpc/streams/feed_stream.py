"""Following the feed: opened, then batches, gaps and bookmarks, then end (E1, E2, E4, E7, E9).

One message is in flight for each follower: a slow one costs one page of memory and delays nobody. Wake-ups are hints;
what is sent is always read from the store, or from the pages that others have just read.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from headrace.v1 import event_service_pb2 as pb
from headrace.v1 import watch_pb2
from headrace_server.core.ids import Micros
from headrace_server.core.limits import EVENT_PAGE_BYTES, EVENT_PAGE_COUNT
from headrace_server.core.refusal import Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.event_filters import parse_event_filter
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.rights import MaySee
from headrace_server.rpc.streams.feed_cursor import FeedPlace, bad_cursor, parse_cursor
from headrace_server.rpc.streams.follow import Following
from headrace_server.rpc.streams.pacing import Pace, PageSize
from headrace_server.runtime.feed import FEED
from headrace_server.runtime.feed_pages import FeedPages, Selection
from headrace_server.store.codec import set_time, time_of
from headrace_server.store.records.feed_reads import FeedPage, position_before
from headrace_server.store.wire import feed_batch

PACE_LOOK_SECONDS = 0.5
"""While a stream keeps its pace it looks so often whether the server drains."""
GATHER_SECONDS = 0.005
"""A follower reads again at the earliest so long after its last read, so that a busy feed is read in batches."""
GATHER_SECONDS_EACH = 0.0002
"""The same for each follower that there is: all of them together cost no more than a share of the process."""
BOOKMARK_POSITIONS_COUNT = 10_000
"""After so many positions without a message a bookmark is sent, so that a reader that is cut off need not wait for them
again."""


@dataclass(frozen=True, slots=True)
class FeedFollowing:
    """What every follower of the feed of this node shares."""

    node: Following
    pages: FeedPages
    may_see: MaySee


async def follow_feed(following: FeedFollowing, request: pb.WatchEventsRequest, call: Call) -> None:
    """Serves one WatchEvents stream to its end."""
    with following.node.feed.follow(FEED) as changed:
        await _Follower(following, request, call, changed).run()


def selection(may_see: MaySee, namespace: str, scope: pb.FeedScope, filter: str, principal: str) -> Selection:
    """The events that a principal gets of those it asks for."""
    wide = scope == pb.FEED_SCOPE_NAMESPACE

    def sees(owner: str) -> bool:
        return (wide or owner == principal) and may_see(principal, namespace, owner)

    return Selection(namespace, sees, parse_event_filter(filter))


class _Follower:
    def __init__(
        self, following: FeedFollowing, request: pb.WatchEventsRequest, call: Call, changed: asyncio.Event
    ) -> None:
        self._all = following
        self._request = request
        self._call = call
        self._changed = changed
        self._namespace = namespace_of(request.namespace)
        self._principal = call.principal
        self._selected = selection(following.may_see, self._namespace, request.scope, request.filter, self._principal)
        self._pace = Pace(request.max_bytes_per_second)
        self._page = PageSize(self._pace.room(EVENT_PAGE_BYTES))
        self._loop = asyncio.get_running_loop()
        self._position = 0
        """Everything up to it was looked at."""
        self._not_before = Micros(0)
        self._told = ""
        """The last cursor that was sent."""
        self._told_position = 0
        self._written = self._read = 0.0
        """When the last message was sent, and the last page read."""
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._gap: pb.FeedGap | None = None

    async def run(self) -> None:
        until = await self._open()
        while True:
            self._changed.clear()
            if not self._may_still_see():
                return await self._end(watch_pb2.END_REASON_PERMISSION_REVOKED)
            await self._send_what_is_there(until)
            if self._all.node.draining.is_set():
                return await self._end(watch_pb2.END_REASON_DRAINING)
            if self._has_all(until):
                return await self._end(watch_pb2.END_REASON_CAUGHT_UP)
            await self._wait()

    def _may_still_see(self) -> bool:
        wide = self._request.scope == pb.FEED_SCOPE_NAMESPACE
        return self._all.may_see(self._principal, self._namespace, "" if wide else self._principal)

    def _has_all(self, until: int) -> bool:
        return self._request.no_follow and self._position >= until

    async def _open(self) -> int:
        """Finds the place to begin at; says up to where the feed goes now."""
        last = await self._all.pages.position()
        place = parse_cursor(self._request.cursor) if self._request.cursor else None
        generation = self._all.node.store.generation
        restored = place is not None and place.generation != generation and place.position > 0
        if place is None:
            await self._begin(last)
        elif place.position > last and not restored:
            raise Refused(bad_cursor("is ahead of the feed"))
        else:
            self._position, self._not_before = min(place.position, last), place.not_before
        response = self._response()
        if restored:
            # A reader that is cut off before it was told has to come back with what it had.
            response.cursor = self._request.cursor
        response.opened.generation = generation
        response.opened.last_position = last
        await self._write(response)
        if restored:
            await self._tell_restored()
        return last

    async def _begin(self, last: int) -> None:
        start = self._request.WhichOneof("start")
        if start == "start_time":
            self._not_before = time_of(self._request.start_time)
            await self._pass_earlier()
        elif not self._request.from_beginning:
            self._position = last

    async def _pass_earlier(self) -> None:
        """Passes what was committed before the time that the reader wants to begin with."""
        earlier, later = await self._all.node.store.read(position_before, self._not_before)
        self._position = max(self._position, earlier)
        if later:
            self._not_before = Micros(0)

    async def _tell_restored(self) -> None:
        """What a reader knows of the store before a restore may never have happened, and other things instead."""
        page = await self._all.pages.page(0)
        self._gap = pb.FeedGap(
            from_position=1,
            to_position=self._position,
            reason=watch_pb2.GAP_REASON_RESTORED,
            earliest_position=page.rows[0].position if page is not None and page.rows else 0,
        )
        await self._flush()

    async def _send_what_is_there(self, until: int) -> None:
        """Sends everything after the follower's place, and a bookmark where one is due."""
        if self._not_before:
            await self._pass_earlier()
        while not (self._all.node.draining.is_set() or self._has_all(until)):
            self._read = self._loop.time()
            page = await self._all.pages.page(self._position, with_workers=self._selected.needs_workers)
            if page is None:
                break
            await self._take(page)
            await self._bookmark_when_due()
        await self._flush()
        await self._bookmark_when_due()

    async def _take(self, page: FeedPage) -> None:
        """Adds a page to what is to be sent, and sends what makes a whole message."""
        rows = self._selected.rows(page)
        if self._not_before:
            # Some of it may have come since the reader looked for its time.
            rows = [row for row in rows if time_of(row.event().time) >= self._not_before]
        if rows and not page.holes and self._gap is None and not self._is_full(page.size, len(rows)):
            self._batch += [row.entry for row in rows]
            self._batch_size += page.size
            self._position = page.last
            return
        holes = deque(page.holes)
        for row in rows:
            while holes and holes[0][0] < row.position:
                await self._add_hole(*holes.popleft(), page.earliest)
            if self._gap is not None or self._is_full(len(row.entry), 1):
                await self._flush()
            self._batch.append(row.entry)
            self._batch_size += len(row.entry)
            self._position = row.position
        for hole in holes:
            await self._add_hole(*hole, page.earliest)
        self._position = page.last

    def _is_full(self, size: int, count: int) -> bool:
        """Whether so much more would make the message too large; a single event never does."""
        told = len(self._batch)
        return told + count > EVENT_PAGE_COUNT or (told + count > 1 and self._batch_size + size > self._page.bytes)

    async def _add_hole(self, first: int, last: int, earliest: int) -> None:
        """Holes with nothing for this reader between them are one gap."""
        if self._gap is None:
            await self._flush()
            self._gap = pb.FeedGap(from_position=first, reason=watch_pb2.GAP_REASON_RETENTION)
        self._gap.to_position = last
        self._gap.earliest_position = earliest
        self._position = last

    async def _flush(self) -> None:
        """Sends the gap or the batch that was gathered."""
        if self._gap is not None:
            response = self._response()
            response.gap.CopyFrom(self._gap)
            self._gap = None
            await self._write(response)
        elif self._batch:
            message = feed_batch(self._cursor(), self._batch)
            self._batch, self._batch_size = [], 0
            await self._keep_pace()
            begun = self._loop.time()
            await self._write(message)
            self._page.taken(len(message), self._written - begun)
            self._pace.sent(len(message), self._written)

    async def _keep_pace(self) -> None:
        while (delay := self._pace.delay(self._loop.time())) > 0 and not self._all.node.draining.is_set():
            quiet = self._quiet_seconds_left()
            if quiet > 0:
                await asyncio.sleep(min(delay, quiet, PACE_LOOK_SECONDS))
            else:
                # The reader has not been told of the batch that waits.
                await self._call.write(self._bookmark(self._told))
                self._written = self._loop.time()

    async def _bookmark_when_due(self) -> None:
        if self._position - self._told_position >= BOOKMARK_POSITIONS_COUNT or self._quiet_seconds_left() <= 0:
            await self._flush()
            if self._cursor() != self._told or self._quiet_seconds_left() <= 0:
                await self._write(self._bookmark(self._cursor()))

    def _bookmark(self, cursor: str) -> pb.WatchEventsResponse:
        response = pb.WatchEventsResponse(cursor=cursor)
        set_time(response.bookmark.time, self._all.node.clock.now())
        return response

    def _quiet_seconds_left(self) -> float:
        """Until something has to be said, so that the reader knows that the stream lives."""
        return self._written + self._all.node.heartbeat_seconds - self._loop.time()

    async def _wait(self) -> None:
        """Waits until there may be more, with a bookmark whenever nothing happens."""
        while not await self._is_changed_within(self._quiet_seconds_left()):
            await self._write(self._bookmark(self._cursor()))
        gather = max(GATHER_SECONDS, GATHER_SECONDS_EACH * self._all.node.feed.count(FEED))
        await asyncio.sleep(max(0.0, self._read + gather - self._loop.time()))

    async def _is_changed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def _end(self, reason: watch_pb2.EndReason) -> None:
        response = self._response()
        response.end.reason = reason
        await self._write(response)

    async def _write(self, message: pb.WatchEventsResponse | bytes) -> None:
        self._told, self._told_position = self._cursor(), self._position
        await self._call.write(message)
        self._written = self._loop.time()

    def _response(self) -> pb.WatchEventsResponse:
        return pb.WatchEventsResponse(cursor=self._cursor())

    def _cursor(self) -> str:
        return FeedPlace(self._all.node.store.generation, self._position, self._not_before).cursor()
