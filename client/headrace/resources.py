"""Queues, schedules, workers and the feed in the asyncio client; their policies are made in `policies`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Unpack

from headrace import calls
from headrace.connection import Connection
from headrace.handles import Job
from headrace.policies import QueuePolicy, ScheduleOptions, Seconds
from headrace.streams import FeedEvents, FeedWatch
from headrace.v1 import event_service_pb2, queue_pb2, queue_service_pb2, schedule_pb2, schedule_service_pb2, worker_pb2

PAGE_SIZE = 100


class Queues:
    """The queues of the client's namespace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(self, queue: queue_pb2.Queue | str, **policy: Unpack[QueuePolicy]) -> queue_pb2.Queue:
        """Makes a queue, from its name and policy or from a message. Raises NameTaken."""
        return await self._connection.run(calls.queues.create(self._connection.namespace, queue, policy))

    async def get(self, name: str = "") -> queue_pb2.Queue:
        """A queue with its counts; an empty name means `default`."""
        return await self._connection.run(calls.queues.get(self._connection.namespace, name))

    def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[queue_pb2.Queue]:
        """All queues by name."""
        return self._connection.pages(lambda token: calls.queues.page(self._connection.namespace, page_size, token))

    async def update(
        self, queue: queue_pb2.Queue | str, paths: Sequence[str] = (), *, etag: str = "", **policy: Unpack[QueuePolicy]
    ) -> queue_pb2.Queue:
        """Sets what is given of the policy, and of a message the fields that `paths` names, also for jobs that wait.

        The etag is compared when it isn't empty. Raises StaleEtag.
        """
        return await self._connection.run(calls.queues.update(self._connection.namespace, queue, paths, etag, policy))

    async def delete(self, name: str, *, etag: str = "") -> None:
        """Deletes a queue; its ended jobs stay. Raises QueueNotEmpty while jobs, sessions or schedules need it."""
        await self._connection.run(calls.queues.delete(self._connection.namespace, name, etag))

    async def pause(self, name: str = "", *, reason: str = "", duration: Seconds | None = None) -> queue_pb2.Queue:
        """Has nothing start, for `duration` or until `resume`; what runs goes on, submits are accepted."""
        return await self._connection.run(calls.queues.pause(self._connection.namespace, name, reason, duration))

    async def resume(self, name: str = "") -> queue_pb2.Queue:
        """Ends pause and drain; succeeds when there is neither."""
        return await self._connection.run(calls.queues.resume(self._connection.namespace, name))

    async def drain(self, name: str = "", *, reason: str = "", grace: Seconds | None = None) -> queue_pb2.Queue:
        """Has nothing start until `resume`; what still runs after `grace` is handed back and burns no attempt."""
        return await self._connection.run(calls.queues.drain(self._connection.namespace, name, reason, grace))

    async def purge(
        self, name: str, *, reason: str = "", validate_only: bool = False
    ) -> queue_service_pb2.PurgeQueueResponse:
        """Cancels what waits, at most 1,000 jobs a call: call again until `remaining_count` is zero."""
        return await self._connection.run(calls.queues.purge(self._connection.namespace, name, reason, validate_only))

    async def statistics(self, name: str = "", *, window: Seconds | None = None) -> queue_pb2.QueueStatistics:
        """Counts now; rates, quantiles and failures over the window: 5 minutes, or one minute to one day."""
        return await self._connection.run(calls.queues.statistics(self._connection.namespace, name, window))


class Schedules:
    """The schedules of the client's namespace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def create(
        self, name: str, work: calls.schedules.Work, **options: Unpack[ScheduleOptions]
    ) -> schedule_pb2.Schedule:
        """Makes a schedule that submits `work`, a task or a spec, at each tick. Raises NameTaken."""
        return await self._connection.run(calls.schedules.create(self._connection.namespace, name, work, options))

    async def get(self, name: str) -> schedule_pb2.Schedule:
        """A schedule with its latest firings."""
        return await self._connection.run(calls.schedules.get(self._connection.namespace, name))

    def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[schedule_pb2.Schedule]:
        """All schedules by name."""
        return self._connection.pages(lambda token: calls.schedules.page(self._connection.namespace, page_size, token))

    async def update(
        self,
        name: str,
        work: calls.schedules.Work | None = None,
        *,
        etag: str = "",
        **options: Unpack[ScheduleOptions],
    ) -> schedule_pb2.Schedule:
        """Sets what is given; ticks from now on follow it. Raises StaleEtag."""
        return await self._connection.run(calls.schedules.update(self._connection.namespace, name, work, etag, options))

    async def delete(self, name: str, *, etag: str = "") -> None:
        """Deletes a schedule; the jobs that it made stay."""
        await self._connection.run(calls.schedules.delete(self._connection.namespace, name, etag))

    async def pause(self, name: str, *, reason: str = "") -> schedule_pb2.Schedule:
        """Has it make no jobs until `resume`."""
        return await self._connection.run(calls.schedules.pause(self._connection.namespace, name, reason))

    async def resume(self, name: str) -> schedule_pb2.Schedule:
        """Has it make jobs again; what it missed follows its catch-up policy."""
        return await self._connection.run(calls.schedules.resume(self._connection.namespace, name))

    async def trigger(self, name: str, *, request_id: str | None = None) -> Job:
        """Makes its job now, beside its ticks, also while it is paused."""
        response = await self._connection.run(calls.schedules.trigger(self._connection.namespace, name, request_id))
        return Job(self._connection, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    async def preview(
        self, subject: str | schedule_pb2.Schedule, *, start: datetime | None = None, count: int = 0
    ) -> Sequence[schedule_service_pb2.PreviewedTick]:
        """The next ticks, ten or `count`, of a schedule by name or of one from `headrace.schedule`."""
        return await self._connection.run(calls.schedules.preview(self._connection.namespace, subject, start, count))


class Workers:
    """The workers that the server knows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self, worker_id: str) -> worker_pb2.Worker:
        """A worker as the server knows it."""
        return await self._connection.run(calls.workers.get(worker_id))

    def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[worker_pb2.Worker]:
        """All workers by id."""
        return self._connection.pages(lambda token: calls.workers.page(page_size, token))

    async def drain(self, worker_id: str, *, exit: bool = False, grace: Seconds | None = None) -> worker_pb2.Worker:
        """Gives the worker no more work; with `exit` it ends when it is empty. After `grace` what runs goes back."""
        return await self._connection.run(calls.workers.drain(worker_id, exit, grace))

    async def undrain(self, worker_id: str) -> worker_pb2.Worker:
        """Gives a drained worker work again."""
        return await self._connection.run(calls.workers.undrain(worker_id))


class Feed:
    """What happens in the client's namespace: every event of its jobs but output, in the order of commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(
        self,
        filter: str = "",
        *,
        scope: calls.events.Scope | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        oldest_first: bool = False,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[event_service_pb2.FeedEvent]:
        """Events that the filter matches, newest first unless said otherwise; pages are read as they are needed.

        Of the caller's own jobs, with scope `namespace` of all; from `start` to before `end`.
        """
        wanted = calls.events.Range(filter, scope, start, end, oldest_first)
        return self._connection.pages(
            lambda token: calls.events.page(self._connection.namespace, wanted, page_size, token)
        )

    def watch(
        self,
        filter: str = "",
        *,
        scope: calls.events.Scope | None = None,
        cursor: str = "",
        start: datetime | None = None,
        from_beginning: bool = False,
        no_follow: bool = False,
        max_bytes_per_second: int = 0,
    ) -> FeedWatch:
        """As `follow`, with what the stream says besides: bookmarks, reconnects and the end."""
        request = calls.events.following(
            self._connection.namespace,
            filter,
            scope,
            cursor,
            start,
            from_beginning,
            no_follow,
            max_bytes_per_second,
        )
        return self._connection.watch_feed(request)

    def follow(
        self,
        filter: str = "",
        *,
        scope: calls.events.Scope | None = None,
        cursor: str = "",
        start: datetime | None = None,
        from_beginning: bool = False,
        no_follow: bool = False,
        max_bytes_per_second: int = 0,
    ) -> FeedEvents:
        """Every event that the filter matches, once and in order, from a cursor, a time, the beginning, or from now on.

        Yields a `FeedGap` where events are gone for good. Survives restarts of the server and cuts of the network; keep
        `cursor` in order to go on later.
        """
        return FeedEvents(
            self.watch(
                filter,
                scope=scope,
                cursor=cursor,
                start=start,
                from_beginning=from_beginning,
                no_follow=no_follow,
                max_bytes_per_second=max_bytes_per_second,
            )
        )
