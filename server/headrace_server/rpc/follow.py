"""Following one job: opened, then pages of its log, deltas and heartbeats between them, then end (E1–E5, E9).

One page is in flight for each follower: a slow one costs one page of memory and delays nobody. Wake-ups are hints;
what is sent is always read from the store.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from headrace.v1 import watch_pb2
from headrace.v1.job_service_pb2 import WatchJobRequest, WatchJobResponse
from headrace_server.core.ids import JobId, job_id_text, parse_job_id
from headrace_server.core.limits import EVENT_PAGE_BYTES, EVENT_PAGE_COUNT
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.job_view import get_snapshot, read_snapshot, watched_message
from headrace_server.rpc.new_job import namespace_of
from headrace_server.runtime.clock import Clock
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.registry import Registry
from headrace_server.store import reads
from headrace_server.store.codec import set_time
from headrace_server.store.queue_policy import DEFAULT_QUEUE
from headrace_server.store.store import Store
from headrace_server.store.unique_keys import newest_with_key
from headrace_server.store.wire import watch_batch

_CURSOR = re.compile(r"([0-9]{1,18}):([0-9]{1,18})(?::([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Following:
    """What every follower of this node shares."""

    store: Store
    feed: Feed
    deltas: Deltas
    registry: Registry
    clock: Clock
    draining: asyncio.Event
    heartbeat_seconds: float


def encode_cursor(generation: int, sequence: int, job_id: JobId | None = None) -> str:
    """The place right after a sequence; names the job where the request names a unique key only."""
    return f"{generation}:{sequence}" if job_id is None else f"{generation}:{sequence}:{job_id_text(job_id)}"


def decode_cursor(cursor: str, generation: int, last_sequence: int, job_id: JobId) -> int:
    """The sequence in a cursor; zero for the beginning. Raises Refused (INVALID_TOKEN)."""
    if not cursor:
        return 0
    made_by, sequence, named = _parts(cursor)
    if made_by != generation or sequence > last_sequence or named not in (None, job_id):
        raise Refused(_bad_cursor("is not one of this job"))
    return sequence


def job_of_cursor(cursor: str) -> JobId | None:
    """The job that a cursor of a unique key's stream names; None for no cursor. Raises Refused (INVALID_TOKEN)."""
    if not cursor:
        return None
    named = _parts(cursor)[2]
    if named is None:
        raise Refused(_bad_cursor("is not one of a unique key's stream"))
    return named


def _parts(cursor: str) -> tuple[int, int, JobId | None]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Refused(_bad_cursor("was not made by this server"))
    generation, sequence, job_id = match.groups()
    return int(generation), int(sequence), parse_job_id(job_id) if job_id else None


async def follow(following: Following, request: WatchJobRequest, call: Call) -> None:
    """Serves one WatchJob stream to its end."""
    by_key = request.WhichOneof("subject") == "unique_key"
    job_id = await _job_of_key(following, request, call) if by_key else parse_job_id(request.job_id)
    if job_id is None:
        await call.write(_end_before_the_job(watch_pb2.END_REASON_DRAINING))
        return
    with following.feed.follow(job_id) as changed:
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
        async with asyncio.timeout(seconds):
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
        self._sequence = 0
        self._delta = 0

    async def run(self) -> None:
        row = await self._open()
        draining: asyncio.Task[Any] = asyncio.ensure_future(self._all.draining.wait())
        try:
            while (ended := await self._send_what_is_there(row)) is None:
                if self._request.no_follow:
                    return await self._end(watch_pb2.END_REASON_CAUGHT_UP)
                if draining.done():
                    return await self._end(watch_pb2.END_REASON_DRAINING)
                await self._wait(draining)
            await self._end(ended)
        finally:
            draining.cancel()

    async def _open(self) -> int:
        snapshot = await get_snapshot(self._all.store, self._namespace, self._job_id, with_attempts=False)
        job = snapshot.job
        self._sequence = decode_cursor(self._request.cursor, self._all.store.generation, job.sequence, job.id)
        response = self._response()
        response.opened.job.CopyFrom(watched_message(snapshot, self._all.registry))
        response.opened.generation = self._all.store.generation
        response.opened.deltas_available = job.worker == "" or self._all.registry.lane(job.worker) is not None
        await self._call.write(response)
        return job.row

    async def _send_what_is_there(self, row: int) -> watch_pb2.EndReason | None:
        """Sends everything after the follower's place; says why nothing will follow, or None when more may."""
        self._changed.clear()
        await self._send_deltas()
        while True:
            page = await self._all.store.read(
                reads.read_page,
                row,
                self._sequence,
                EVENT_PAGE_BYTES,
                EVENT_PAGE_COUNT,
                with_output=not self._request.without_output,
            )
            if not page.events:
                break
            self._sequence = page.last_sequence
            await self._call.write(watch_batch(self._cursor(), page.events))
            if page.ended:
                return watch_pb2.END_REASON_JOB_ENDED
            await self._send_deltas()
        if page.deleted:
            return watch_pb2.END_REASON_JOB_DELETED
        await self._send_deltas()
        return watch_pb2.END_REASON_JOB_ENDED if page.ended else None

    async def _send_deltas(self) -> None:
        if not self._request.deltas:
            return
        deltas, self._delta = self._all.deltas.after(self._job_id, self._delta, self._sequence)
        if deltas:
            response = self._response()
            response.deltas.deltas.extend(deltas)
            await self._call.write(response)

    async def _wait(self, draining: asyncio.Task[Any]) -> None:
        """Waits until there may be more, with a heartbeat whenever nothing happens."""
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            while not (changed.done() or draining.done()):
                done, _ = await asyncio.wait(
                    (changed, draining),
                    timeout=self._all.heartbeat_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done:
                    await self._call.write(_heartbeat(self._all.clock, self._response()))
        finally:
            changed.cancel()

    async def _end(self, reason: watch_pb2.EndReason) -> None:
        response = self._response()
        response.end.reason = reason
        snapshot = await self._all.store.read(
            read_snapshot, self._namespace, self._job_id, False, self._all.store.now()
        )
        if snapshot is not None:
            response.end.job.CopyFrom(watched_message(snapshot, self._all.registry))
        await self._call.write(response)

    def _response(self) -> WatchJobResponse:
        return WatchJobResponse(cursor=self._cursor())

    def _cursor(self) -> str:
        return encode_cursor(self._all.store.generation, self._sequence, self._named)


def _bad_cursor(why: str) -> Refusal:
    return Refusal(Reason.INVALID_TOKEN, f"cursor {why}", metadata={"field": "cursor"})
