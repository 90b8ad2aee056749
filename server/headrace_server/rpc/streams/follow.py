"""Following one job: opened, then pages of its log, deltas and heartbeats between them, then end (E1–E5, E9).

One page is in flight for each follower: a slow one costs one page of memory and delays nobody. Wake-ups are hints;
what is sent is always read from the store, or from the pages that others at the same place have just read.
"""

import asyncio
from dataclasses import dataclass

from headrace.v1 import watch_pb2
from headrace.v1.job_service_pb2 import WatchJobRequest, WatchJobResponse
from headrace_server.core.ids import JobId, parse_job_id
from headrace_server.core.limits import EVENT_PAGE_BYTES
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.messages.job_view import get_snapshot, read_snapshot, watched_message
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.streams.follow_request import first_place, wanted_of
from headrace_server.rpc.streams.log_cursor import encode_cursor, job_of_cursor
from headrace_server.rpc.streams.pacing import Pace, PageSize
from headrace_server.runtime.clock import Clock
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.log_pages import LogPage, LogPages, Place
from headrace_server.runtime.registry import Registry
from headrace_server.store.codec import set_time
from headrace_server.store.jobs.unique_keys import newest_with_key
from headrace_server.store.queueing.queue_policy import DEFAULT_QUEUE
from headrace_server.store.store import Store
from headrace_server.store.wire import watch_batch

GATHER_SECONDS_EACH = 0.0001
"""A follower reads again at the earliest so long after its last read for each other follower that the job has: all of
them together cost no more than a share of the process."""
PACE_LOOK_SECONDS = 0.5
"""While a stream keeps its pace it looks so often whether the server drains."""
UNTOLD_SEQUENCES_COUNT = 10_000
"""After so many sequences of which the reader wanted none it is told its place, so that one that is cut off need not
wait for them again."""


@dataclass(frozen=True, slots=True)
class Following:
    """What every follower of this node shares."""

    store: Store
    feed: Feed
    deltas: Deltas
    registry: Registry
    clock: Clock
    draining: asyncio.Event
    """Whoever sets it wakes the feed."""
    heartbeat_seconds: float
    logs: LogPages


async def follow(following: Following, request: WatchJobRequest, call: Call) -> None:
    """Serves one WatchJob stream to its end."""
    by_key = request.WhichOneof("subject") == "unique_key"
    job_id = await _job_of_key(following, request, call) if by_key else parse_job_id(request.job_id)
    if job_id is None:
        await call.write(_end_before_the_job(watch_pb2.END_REASON_DRAINING))
        return
    with following.feed.follow(job_id, deltas=request.deltas) as changed:
        await _Follower(following, request, call, job_id, changed, by_key=by_key).run()


async def _job_of_key(following: Following, request: WatchJobRequest, call: Call) -> JobId | None:
    """The job that a unique key means, waited for where that is wanted; None when the server drains first (E2)."""
    named = job_of_cursor(request.cursor)
    if named is not None:
        return named
    wanted = request.unique_key
    name = (namespace_of(request.namespace), wanted.queue or DEFAULT_QUEUE, wanted.key)
    with following.feed.follow(name) as changed:
        while True:
            changed.clear()
            found = await following.store.read(newest_with_key, *name)
            if found is not None:
                return found
            if not wanted.wait:
                text = f"there is no job with unique_key {wanted.key!r} in queue {name[1]!r}"
                raise Refused(Refusal(Reason.NOT_FOUND, text, "headrace.v1.Job", wanted.key))
            if following.draining.is_set():
                return None
            if not await _set_within(changed, following.heartbeat_seconds):
                await call.write(_heartbeat(following.clock, WatchJobResponse()))


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _heartbeat(clock: Clock, response: WatchJobResponse) -> WatchJobResponse:
    set_time(response.heartbeat.time, clock.now())
    return response


def _end_before_the_job(reason: watch_pb2.EndReason) -> WatchJobResponse:
    return WatchJobResponse(end=watch_pb2.WatchEnd(reason=reason))


class _Follower:
    def __init__(
        self,
        following: Following,
        request: WatchJobRequest,
        call: Call,
        job_id: JobId,
        changed: asyncio.Event,
        *,
        by_key: bool,
    ) -> None:
        self._all = following
        self._request = request
        self._call = call
        self._namespace = namespace_of(request.namespace)
        self._job_id = job_id
        self._named = job_id if by_key else None
        """In cursors."""
        self._changed = changed
        self._wanted = wanted_of(request)
        self._pace = Pace(request.max_bytes_per_second)
        self._page = PageSize(self._pace.room(EVENT_PAGE_BYTES))
        self._loop = asyncio.get_running_loop()
        self._row = 0
        self._sequence = 0
        """Everything up to it was sent, or is not wanted."""
        self._until = 0
        """What `no_follow` goes to."""
        self._told = 0
        """The sequence of the last cursor that was sent."""
        self._delta = 0
        self._written = self._read = 0.0
        """When the last message was sent, and the last page read."""
        self._quiet = False
        """Nothing was said for so long that something has to be."""

    async def run(self) -> None:
        await self._open()
        self._look_whether_quiet()
        try:
            while (ended := await self._send_what_is_there()) is None:
                await self._wait()
            await self._end(ended)
        finally:
            self._looking.cancel()

    async def _open(self) -> None:
        snapshot = await get_snapshot(self._all.store, self._namespace, self._job_id, with_attempts=False)
        job = snapshot.job
        self._row, self._until = job.row, job.sequence
        self._sequence = await first_place(self._all.store, self._request, job, self._wanted)
        response = self._response()
        response.opened.job.CopyFrom(watched_message(snapshot, self._all.registry))
        response.opened.generation = self._all.store.generation
        response.opened.deltas_available = job.worker == "" or self._all.registry.lane(job.worker) is not None
        await self._write(response)

    async def _send_what_is_there(self) -> watch_pb2.EndReason | None:
        """Sends everything after the follower's place; says why nothing will follow, or None when more may.

        Deltas are sent only when there are no events to send, a bounded piece at a time: they never delay an event.
        """
        self._changed.clear()
        while True:
            self._read = self._loop.time()
            place = Place(self._job_id, self._row, self._sequence, self._wanted, self._page.bytes)
            page = await self._all.logs.page(place)
            if page.read.deleted:
                return watch_pb2.END_REASON_JOB_DELETED
            await self._keep_pace(page)
            if self._all.draining.is_set():
                return watch_pb2.END_REASON_DRAINING
            await self._send(page)
            if page.read.ended:
                return watch_pb2.END_REASON_JOB_ENDED
            if self._request.no_follow and self._sequence >= self._until:
                await self._send_deltas()
                return watch_pb2.END_REASON_CAUGHT_UP
            if self._all.logs.is_current(place, page) and not await self._send_deltas():
                return None

    async def _send(self, page: LogPage) -> None:
        """Sends what a page holds."""
        self._sequence = page.read.last_sequence
        if page.read.gap is not None:
            response = self._response()
            response.gap.from_sequence, response.gap.to_sequence = page.read.gap
            response.gap.reason = watch_pb2.GAP_REASON_RETENTION
            response.gap.earliest_sequence = page.read.earliest
            await self._write(response)
        elif page.batch:
            message = watch_batch(self._cursor(), page.batch)
            begun = self._loop.time()
            await self._write(message)
            self._page.taken(len(message), self._written - begun)
            self._pace.sent(len(message), self._written)
        elif self._sequence - self._told >= UNTOLD_SEQUENCES_COUNT:
            await self._write(_heartbeat(self._all.clock, self._response()))

    async def _send_deltas(self) -> bool:
        """Sends what is being said just now, as much as one message takes; whether there was any."""
        if not self._request.deltas:
            return False
        deltas, self._delta = self._all.deltas.after(self._job_id, self._delta, self._sequence)
        if deltas:
            response = self._response()
            response.deltas.deltas.extend(deltas)
            await self._write(response)
        return bool(deltas)

    async def _keep_pace(self, page: LogPage) -> None:
        while (delay := self._pace.delay(self._loop.time())) > 0 and page.batch and not self._all.draining.is_set():
            quiet = self._quiet_seconds_left()
            if quiet > 0:
                await asyncio.sleep(min(delay, quiet, PACE_LOOK_SECONDS))
            else:
                await self._write(_heartbeat(self._all.clock, self._response()))

    async def _wait(self) -> None:
        """Waits until there may be more, with a heartbeat whenever nothing happens."""
        await self._changed.wait()
        if self._quiet:
            self._quiet = False
            await self._write(_heartbeat(self._all.clock, self._response()))
        gather = GATHER_SECONDS_EACH * (self._all.feed.count(self._job_id) - 1)
        left = self._read + gather - self._loop.time()
        if left > 0:
            await asyncio.sleep(left)

    def _look_whether_quiet(self) -> None:
        """One timer for all of the stream: to set one for each wait costs more than the wait."""
        left = self._quiet_seconds_left()
        if left <= 0:
            self._quiet = True
            self._changed.set()
            left = self._all.heartbeat_seconds
        self._looking = self._loop.call_later(left, self._look_whether_quiet)

    def _quiet_seconds_left(self) -> float:
        """Until something has to be said, so that the reader knows that the stream lives."""
        return self._written + self._all.heartbeat_seconds - self._loop.time()

    async def _end(self, reason: watch_pb2.EndReason) -> None:
        response = self._response()
        response.end.reason = reason
        snapshot = await self._all.store.read(
            read_snapshot, self._namespace, self._job_id, False, self._all.store.now()
        )
        if snapshot is not None:
            response.end.job.CopyFrom(watched_message(snapshot, self._all.registry))
        await self._write(response)

    async def _write(self, message: WatchJobResponse | bytes) -> None:
        self._told = self._sequence
        await self._call.write(message)
        self._written = self._loop.time()

    def _response(self) -> WatchJobResponse:
        return WatchJobResponse(cursor=self._cursor())

    def _cursor(self) -> str:
        return encode_cursor(self._all.store.generation, self._sequence, self._named)
