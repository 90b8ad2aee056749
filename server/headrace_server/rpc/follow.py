"""Following one job: opened, then pages of its log, deltas and heartbeats between them, then end (E1–E5, E9).

One page is in flight for each follower: a slow one costs one page of memory and delays nobody. Wake-ups are hints;
what is sent is always read from the store.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from headrace.v1 import watch_pb2
from headrace.v1.job_service_pb2 import WatchJobRequest, WatchJobResponse
from headrace_server.core.ids import JobId, parse_job_id
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
from headrace_server.store.store import Store
from headrace_server.store.wire import watch_batch


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


def encode_cursor(generation: int, sequence: int) -> str:
    """The place right after a sequence."""
    return f"{generation}:{sequence}"


def decode_cursor(cursor: str, generation: int, last_sequence: int) -> int:
    """The sequence in a cursor; zero for the beginning. Raises Refused (INVALID_TOKEN)."""
    if not cursor:
        return 0
    made_by, _, sequence = cursor.partition(":")
    if not (made_by.isdecimal() and sequence.isdecimal()) or len(cursor) > 40:
        raise Refused(_bad_cursor("was not made by this server"))
    if int(made_by) != generation or int(sequence) > last_sequence:
        raise Refused(_bad_cursor("is not one of this job"))
    return int(sequence)


async def follow(following: Following, request: WatchJobRequest, call: Call) -> None:
    """Serves one WatchJob stream to its end."""
    job_id = parse_job_id(request.job_id)
    with following.feed.follow(job_id) as changed:
        await _Follower(following, request, call, job_id, changed).run()


class _Follower:
    def __init__(
        self, following: Following, request: WatchJobRequest, call: Call, job_id: JobId, changed: asyncio.Event
    ) -> None:
        self._all = following
        self._request = request
        self._call = call
        self._namespace = namespace_of(request.namespace)
        self._job_id = job_id
        self._changed = changed
        self._sequence = 0
        self._delta = 0

    async def run(self) -> None:
        row = await self._open()
        draining: asyncio.Task[Any] = asyncio.ensure_future(self._all.draining.wait())
        try:
            while not await self._send_what_is_there(row):
                if self._request.no_follow:
                    return await self._end(watch_pb2.END_REASON_CAUGHT_UP)
                if draining.done():
                    return await self._end(watch_pb2.END_REASON_DRAINING)
                await self._wait(draining)
            await self._end(watch_pb2.END_REASON_JOB_ENDED)
        finally:
            draining.cancel()

    async def _open(self) -> int:
        snapshot = await get_snapshot(self._all.store, self._namespace, self._job_id, with_attempts=False)
        job = snapshot.job
        self._sequence = decode_cursor(self._request.cursor, self._all.store.generation, job.sequence)
        response = self._response()
        response.opened.job.CopyFrom(watched_message(snapshot, self._all.registry))
        response.opened.generation = self._all.store.generation
        response.opened.deltas_available = job.worker == "" or self._all.registry.lane(job.worker) is not None
        await self._call.write(response)
        return job.row

    async def _send_what_is_there(self, row: int) -> bool:
        """Sends everything after the follower's place; true when the job's last event is among what was sent."""
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
                return True
            await self._send_deltas()
        await self._send_deltas()
        return page.ended

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
                    response = self._response()
                    set_time(response.heartbeat.time, self._all.clock.now())
                    await self._call.write(response)
        finally:
            changed.cancel()

    async def _end(self, reason: watch_pb2.EndReason) -> None:
        response = self._response()
        response.end.reason = reason
        snapshot = await self._all.store.read(read_snapshot, self._namespace, self._job_id, False)
        if snapshot is not None:
            response.end.job.CopyFrom(watched_message(snapshot, self._all.registry))
        await self._call.write(response)

    def _response(self) -> WatchJobResponse:
        return WatchJobResponse(cursor=self._cursor())

    def _cursor(self) -> str:
        return encode_cursor(self._all.store.generation, self._sequence)


def _bad_cursor(why: str) -> Refusal:
    return Refusal(Reason.INVALID_TOKEN, f"cursor {why}", metadata={"field": "cursor"})
