"""The logs of jobs as their followers read them: pages out of the shared tail, put on the wire once for all of them."""

from dataclasses import dataclass, replace

from headrace_server.core.ids import JobId
from headrace_server.core.limits import EVENT_PAGE_COUNT
from headrace_server.core.log_filter import LogFilter
from headrace_server.runtime.clock import Clock
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.tail import Tail
from headrace_server.store.records import log_pages
from headrace_server.store.records.log_pages import Page
from headrace_server.store.store import Store
from headrace_server.store.wire import batch_field

STALE_SECONDS = 0.25
"""A page at the end of a log is read again after so long: by then it may be one of many small ones, which nobody who
comes later should have to take one by one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a follower is in which log, and what it wants of it."""

    job_id: JobId
    row: int
    after: int
    wanted: LogFilter
    bytes_max: int
    """Of a page."""


@dataclass(slots=True)
class LogPage:
    """What follows a place of a log."""

    read: Page
    """Without its events."""
    batch: bytes
    """The events as the field of a `WatchJobResponse`; empty when there are none."""
    version: int
    """Of the log, not later than what was read."""
    stale_at: float

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.batch)

    @property
    def is_empty(self) -> bool:
        """Nothing is known after its beginning."""
        return not self.batch and self.read.gap is None and self.read.complete and not self.read.ended


class LogPages:
    """Pages of the logs of jobs, for all followers of a node."""

    def __init__(self, store: Store, feed: Feed, clock: Clock) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self._tail: Tail[LogPage] = Tail(is_stale=self._is_stale)
        self.reads_count = 0
        """Pages that were read from the store."""

    async def page(self, place: Place) -> LogPage:
        """What follows a place of a log that the caller follows. It may be less than what is there now: ask again after
        its end, unless it was complete at the version that the log still has."""
        version = self._feed.version(place.job_id)
        subject = (place.row, place.wanted, place.bytes_max)
        return await self._tail.page(subject, place.after, version, lambda: self._read(place, version))

    def is_current(self, place: Place, page: LogPage) -> bool:
        """Whether nothing has come since a complete page was read."""
        return page.read.complete and page.version == self._feed.version(place.job_id)

    async def _read(self, place: Place, version: int) -> LogPage:
        self.reads_count += 1
        page = await self._store.read(
            log_pages.read_page, place.row, place.after, place.bytes_max, EVENT_PAGE_COUNT, place.wanted
        )
        batch = batch_field(page.events) if page.events else b""
        # Kept once: as it is sent.
        return LogPage(replace(page, events=()), batch, version, self._clock.monotonic() + STALE_SECONDS)

    def _is_stale(self, page: LogPage) -> bool:
        grows = page.read.complete and not page.read.ended
        return page.is_empty or (grows and self._clock.monotonic() >= page.stale_at)
