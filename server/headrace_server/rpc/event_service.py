"""EventService: check, call, convert, return."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.v1 import event_service_pb2 as pb
from headrace_server.core.limits import EVENT_PAGE_BYTES, EVENT_PAGE_COUNT
from headrace_server.rpc.call import Call
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.page_token import LIST_BYTES_MAX, decode_page_token, encode_page_token, page_rows, row_of
from headrace_server.rpc.streams.feed_stream import FeedFollowing, follow_feed, selection
from headrace_server.runtime.feed_pages import Selection
from headrace_server.store.codec import time_of
from headrace_server.store.engine import Connection
from headrace_server.store.records.feed_reads import (
    FeedPage,
    FeedRow,
    attempt_workers,
    last_position,
    position_before,
    read_feed,
    read_feed_back,
    read_feed_of_jobs,
    rows_of_jobs,
)

SCANNED_EVENTS_COUNT = 20_000
"""Events that a page looks at, at most: a filter that matches little costs many short pages, never one long call."""

JOBS_COUNT_MAX = 64
"""A filter that names no more jobs than this is answered from their logs, however long the feed is."""


@dataclass(frozen=True, slots=True)
class EventService:
    """The servicer of `headrace.v1.EventService`."""

    following: FeedFollowing

    async def list_events(self, request: pb.ListEventsRequest, call: Call) -> pb.ListEventsResponse:
        scope = _token_scope(request, call)
        token = row_of(decode_page_token(request.page_token, *scope))
        wanted = selection(
            self.following.may_see, namespace_of(request.namespace), request.scope, request.filter, call.principal
        )
        found, further = await self.following.node.store.read(_listed, request, wanted, token)
        response = pb.ListEventsResponse(events=[row.message() for row in found])
        if further:
            response.next_page_token = encode_page_token((further,), *scope)
        return response

    async def watch_events(self, request: pb.WatchEventsRequest, call: Call) -> None:
        await follow_feed(self.following, request, call)


def _token_scope(request: pb.ListEventsRequest, call: Call) -> tuple[str, ...]:
    """Everything that makes it another list."""
    times = (str(time_of(request.start_time)), str(time_of(request.end_time)) if request.HasField("end_time") else "")
    order = "oldest" if request.oldest_first else "newest"
    scope = (str(request.scope), call.principal if request.scope != pb.FEED_SCOPE_NAMESPACE else "")
    return ("ListEvents", namespace_of(request.namespace), *scope, request.filter, *times, order)


def _listed(
    connection: Connection, request: pb.ListEventsRequest, wanted: Selection, token: int
) -> tuple[list[FeedRow], int]:
    """Events of a page, and the position that the next one begins after, or before; zero when this is the last."""
    first = position_before(connection, time_of(request.start_time))[0] if request.HasField("start_time") else 0
    last = last_position(connection)
    if request.HasField("end_time"):
        last = position_before(connection, time_of(request.end_time))[0]
    jobs = None
    if 0 < len(wanted.job_ids) <= JOBS_COUNT_MAX:
        jobs = rows_of_jobs(connection, wanted.job_ids)
        if not jobs:
            return [], 0
    page = _Page(wanted, jobs, page_rows(request.page_size))
    if request.oldest_first:
        return page.forward(connection, max(first, token), last)
    return page.back(connection, min(last + 1, token or last + 1), first)


class _Page:
    """Gathers the events of one page."""

    def __init__(self, wanted: Selection, jobs: Sequence[int] | None, count: int) -> None:
        """`jobs`: whose events are looked at; None: everybody's."""
        self._wanted = wanted
        self._jobs = jobs
        self._room = count
        self._bytes = LIST_BYTES_MAX
        self._found: list[FeedRow] = []

    def forward(self, connection: Connection, after: int, last: int) -> tuple[list[FeedRow], int]:
        """From right after a position up to a last one."""
        scanned = 0
        while after < last and scanned < SCANNED_EVENTS_COUNT:
            page = self._after(connection, after, last)
            rows = [row for row in self._selected(connection, page) if row.position <= last]
            stopped = self._add(rows)
            if stopped:
                return self._found, stopped
            after = page.last
            scanned += EVENT_PAGE_COUNT
        return self._found, after if after < last else 0

    def back(self, connection: Connection, before: int, first: int) -> tuple[list[FeedRow], int]:
        """From right before a position down to the one after `first`."""
        scanned = 0
        while before > first + 1 and scanned < SCANNED_EVENTS_COUNT:
            page, lowest = self._before(connection, before, first)
            rows = [row for row in self._selected(connection, page) if row.position > first]
            stopped = self._add(rows)
            if stopped:
                return self._found, stopped
            before = lowest
            scanned += EVENT_PAGE_COUNT
        return self._found, before if before > first + 1 else 0

    def _after(self, connection: Connection, after: int, last: int) -> FeedPage:
        if self._jobs is None:
            return read_feed(connection, after, {}, EVENT_PAGE_COUNT, EVENT_PAGE_BYTES)
        return read_feed_of_jobs(connection, self._jobs, after, last + 1, EVENT_PAGE_COUNT, back=False)

    def _before(self, connection: Connection, before: int, first: int) -> tuple[FeedPage, int]:
        if self._jobs is None:
            return read_feed_back(connection, before, EVENT_PAGE_COUNT, EVENT_PAGE_BYTES)
        page = read_feed_of_jobs(connection, self._jobs, first, before, EVENT_PAGE_COUNT, back=True)
        return page, page.last

    def _selected(self, connection: Connection, page: FeedPage) -> Iterable[FeedRow]:
        if self._wanted.needs_workers:
            page.workers = attempt_workers(connection, page.rows)
        return self._wanted.rows(page)

    def _add(self, rows: Iterable[FeedRow]) -> int:
        """Adds what there is room for; the position of the last one when there is no room for more, else zero."""
        for row in rows:
            self._bytes -= len(row.entry)
            if self._found and self._bytes < 0:
                return self._found[-1].position
            self._found.append(row)
            self._room -= 1
            if not self._room:
                return row.position
        return 0
