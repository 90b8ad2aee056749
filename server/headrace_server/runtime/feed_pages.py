"""The feed as its followers read it: pages out of the shared tail, jobs that are read once, and who may see them."""

import asyncio
from collections.abc import Callable, Sequence

from headrace_server.core.event_filter import EventFilter
from headrace_server.core.limits import EVENT_PAGE_BYTES, EVENT_PAGE_COUNT
from headrace_server.runtime.feed import FEED, Feed
from headrace_server.runtime.tail import Tail
from headrace_server.store.effects import Effects
from headrace_server.store.records.feed_reads import (
    FeedJob,
    FeedPage,
    FeedRow,
    last_position,
    read_feed,
    read_feed_with_workers,
)
from headrace_server.store.store import Store

JOBS_COUNT_MAX = 16_384
"""Jobs that are remembered between pages."""


class FeedPages:
    """Pages of the feed, for all followers of a node."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store = store
        self._feed = feed
        self._tail: Tail[FeedPage] = Tail()
        self._jobs: dict[int, FeedJob] = {}
        self._position = 0
        self._turn = asyncio.Lock()
        """One page is read at a time, so that readers of old events never hold every thread that reads the store."""
        self.reads_count = 0
        """Pages that were read from the store."""

    def committed(self, effects: Effects) -> None:
        """Takes note of a commit, and wakes the followers."""
        if effects.removed:
            self._tail.forget()
            self._jobs = {}
        if effects.position:
            self._position = max(self._position, effects.position)
            self._feed.wake((FEED,))

    async def position(self) -> int:
        """Of the last event that was committed."""
        found = await self._store.read(last_position)
        # What was committed while the store was read is told already.
        self._position = max(self._position, found)
        return self._position

    async def page(self, after: int, *, with_workers: bool = False) -> FeedPage | None:
        """What follows a position; None when nothing does. Only for who has asked for the position before."""
        if after >= self._position:
            return None
        # A page and its workers are of one moment: of a job that is removed between two reads nobody could tell.
        subject, query = ("workers", read_feed_with_workers) if with_workers else ("feed", read_feed)
        return await self._tail.page(subject, after, self._position, lambda: self._read(query, after))

    async def _read(self, query: Callable[..., FeedPage], after: int) -> FeedPage:
        async with self._turn:
            jobs = self._jobs
            self.reads_count += 1
            page = await self._store.read(query, after, jobs, EVENT_PAGE_COUNT, EVENT_PAGE_BYTES)
        jobs.update((job.row, job) for job in page.jobs if job.fixed)
        while len(jobs) > JOBS_COUNT_MAX:
            del jobs[next(iter(jobs))]
        return page


def kinds(page: FeedPage) -> tuple[str, ...]:
    """The kinds of the events of a page."""
    if page.kinds is None:
        page.kinds = tuple(kind_of(row) for row in page.rows)
    return page.kinds


def kind_of(row: FeedRow) -> str:
    """The kind of an event."""
    return row.event().WhichOneof("kind") or ""


class Selection:
    """Which events a reader gets: of a namespace, of those jobs that it may see, by a filter (E7)."""

    def __init__(self, namespace: str, may_see: Callable[[str], bool], wanted: EventFilter) -> None:
        """`may_see` is asked with the owner of a job, anew for every page."""
        self._namespace = namespace
        self._may_see = may_see
        self._wanted = wanted

    @property
    def job_ids(self) -> frozenset[str]:
        """The only jobs whose events are wanted, as text; empty when the filter names none."""
        return self._wanted.job_ids

    @property
    def needs_workers(self) -> bool:
        """The filter asks for workers, which have to be looked up."""
        return bool(self._wanted.worker_ids)

    def rows(self, page: FeedPage) -> Sequence[FeedRow]:
        """Those events of a page that the reader gets; its workers are looked up where they are needed."""
        wanted = self._wanted
        jobs = {job.row for job in page.jobs if self._has_job(job)}
        rows: Sequence[FeedRow] = page.rows
        if wanted.types or wanted.worker_ids:
            types = kinds(page) if wanted.types else ()
            workers = page.workers or ()
            rows = [
                row
                for place, row in enumerate(rows)
                if (not wanted.types or types[place] in wanted.types)
                and (not wanted.worker_ids or workers[place] in wanted.worker_ids)
            ]
        return rows if len(jobs) == len(page.jobs) else [row for row in rows if row.job.row in jobs]

    def _has_job(self, job: FeedJob) -> bool:
        wanted = self._wanted
        return (
            job.namespace == self._namespace
            and (not wanted.queues or job.queue in wanted.queues)
            and (not wanted.owners or job.owner in wanted.owners)
            and (not wanted.job_ids or job.id in wanted.job_ids)
            and (not wanted.schedules or job.schedule in wanted.schedules)
            and (not wanted.session_ids or job.session_id in wanted.session_ids)
            and all(job.labels.get(label) in values for label, values in wanted.labels)
            and self._may_see(job.owner)
        )
