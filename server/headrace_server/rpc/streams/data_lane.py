"""The data lane of one worker: appends its output, acknowledges what is committed, and passes token deltas on (E3–E5).

Nothing of it can hold up the control lane. What may be in flight is bounded by the credit that the worker was granted.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.limits import OUTPUT_CREDIT_BYTES
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.rpc.admission import draining_refusal
from headrace_server.rpc.call import Call
from headrace_server.rpc.checks.validate_worker import check_open
from headrace_server.rpc.messages.worker_message import lease_message, lease_of
from headrace_server.rpc.streams.control_lane import Lanes
from headrace_server.rpc.streams.lane_end import end_lane
from headrace_server.rpc.streams.lane_limits import bounded_delta, check_output
from headrace_server.runtime.deltas import Conversation, Deltas
from headrace_server.runtime.early_deltas import EarlyDeltas, whole_messages
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.registry import ControlLane
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.outputs import Appended, Batch, append_each

STREAMS_KEPT_COUNT = 1024
"""Of attempts that have ended, before all of them are forgotten at once."""


@dataclass(slots=True)
class _Stream:
    """Where the output of one attempt stands."""

    committed: int = 0
    """Producer sequence."""
    sequence: int = 0
    """Of the job's log, at that place."""
    early: EarlyDeltas = field(default_factory=EarlyDeltas)
    """Deltas that follow output which is not committed yet."""


async def serve_data_lane(
    lanes: Lanes, deltas: Deltas, feed: Feed, requests: AsyncIterator[pb.StreamOutputRequest], call: Call
) -> None:
    """Serves one StreamOutput stream until the worker leaves, is replaced, or the server drains."""
    first = await anext(aiter(requests), None)
    if first is None:
        return
    refusal = check_open(first)
    if refusal is not None:
        raise Refused(refusal)
    opened = first.open
    lane = lanes.registry.lane(opened.worker_id)
    if lane is None or lane.connection_id != opened.connection_id or lane.holder.incarnation != opened.incarnation:
        message = f"worker {opened.worker_id!r} has no control lane with this connection id here; connect first"
        raise Refused(Refusal(Reason.NOT_CONNECTED, message))
    await _Served(lanes, deltas, feed, lane, requests, call).run()


class _Served:
    def __init__(
        self,
        lanes: Lanes,
        deltas: Deltas,
        feed: Feed,
        lane: ControlLane,
        requests: AsyncIterator[pb.StreamOutputRequest],
        call: Call,
    ) -> None:
        self._all = lanes
        self._deltas = deltas
        self._feed = feed
        self._lane = lane
        self._requests = requests
        self._call = call
        lane.data_lane += 1
        self._number = lane.data_lane
        self._streams: defaultdict[Lease, _Stream] = defaultdict(_Stream)
        self._acks = pb.StreamOutputResponse(credit_bytes=OUTPUT_CREDIT_BYTES)
        self._wake = asyncio.Event()
        self._wake.set()
        self._in_flight_bytes = 0
        """Of batches that are not committed yet."""
        self._room = asyncio.Event()
        self._room.set()
        self._failed: BaseException | None = None
        self._leaving = False

    async def run(self) -> None:
        draining = asyncio.ensure_future(self._all.draining.wait())
        writing = asyncio.ensure_future(self._write())
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait((draining, writing, reading), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
            if reading.done():
                reading.result()
            elif draining.done():
                raise Refused(draining_refusal())
        finally:
            self._leaving = True
            self._wake.set()
            await end_lane(writing, draining, reading)

    async def _read(self) -> None:
        async for request in self._requests:
            if self._lane.data_lane != self._number:
                message = "a newer data lane of the worker has taken the place of this one"
                raise Refused(Refusal(Reason.CONNECTION_REPLACED, message))
            check_output(request)
            for batch in request.batches:
                self._append(batch)
            for deltas in request.deltas:
                self._announce(deltas)
            # A worker that keeps to its credit never waits here; one that does not is no longer read.
            await self._room.wait()

    def _append(self, message: pb.OutputBatch) -> None:
        lease = lease_of(message.lease)
        self._take_room(message.ByteSize())
        batch = Batch(self._lane.holder, lease, message.outputs)
        appended = self._all.store.write_each(append_each, batch)
        self._withdraw(lease, whole_messages(message.outputs))
        appended.add_done_callback(lambda future: self._appended(future, lease, message.ByteSize()))

    def _take_room(self, size: int) -> None:
        self._in_flight_bytes += size
        if self._in_flight_bytes > OUTPUT_CREDIT_BYTES:
            self._room.clear()
        else:
            self._room.set()

    def _withdraw(self, lease: Lease, whole: Mapping[Conversation, int]) -> None:
        """Takes back the deltas of messages before they are committed, so that no follower can get them after those."""
        if whole:
            self._streams[lease].early.said(whole)
            self._deltas.settle(lease.job_id, None if None in whole else whole.keys())

    def _appended(self, future: "asyncio.Future[Appended]", lease: Lease, size: int) -> None:
        self._take_room(-size)
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._failed = error
            self._wake.set()
            return
        appended = future.result()
        ack = self._acks.acks.add(lease=lease_message(lease), stale=appended.stale)
        ack.committed_producer_sequence = appended.committed
        self._wake.set()
        if appended.stale:
            self._streams.pop(lease, None)
            self._deltas.forget(lease.job_id)
            return
        stream = self._streams[lease]
        stream.committed, stream.sequence = appended.committed, appended.sequence
        self._release_early(lease, stream)

    def _announce(self, message: pb.AttemptDeltas) -> None:
        """Passes deltas on, or keeps them until the output that they follow is committed."""
        lease = lease_of(message.lease)
        if lease not in self._lane.leases:
            return
        stream = self._streams[lease]
        stream.early.offer(message.after_producer_sequence, map(bounded_delta, message.deltas))
        self._release_early(lease, stream)

    def _release_early(self, lease: Lease, stream: _Stream) -> None:
        ready = stream.early.ready(stream.committed, lease.attempt, stream.sequence)
        if ready:
            self._deltas.push(lease.job_id, ready)
            self._feed.wake_listeners(lease.job_id)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._failed is not None:
                raise self._failed
            if self._leaving:
                return
            message, self._acks = self._acks, pb.StreamOutputResponse()
            await self._call.write(message)
