"""The data lane: sends what attempts have produced, within the server's credit, and takes its acknowledgements.

Whatever waits when a message can be written goes with it, so the first byte leaves at once and a flood is coalesced. An
attempt has at most one batch in flight. What an acknowledgement means for an attempt is decided by `slots.py`.
"""

import asyncio
import logging
from collections.abc import Callable

import grpc.aio

from headrace.v1 import worker_service_pb2
from headrace_worker.attempts import RunningAttempt
from headrace_worker.channel import LOST, Stream, describe, run_parts
from headrace_worker.lease import LeaseKey, key_of
from headrace_worker.limits import (
    BATCH_BYTES_MAX,
    OUTPUT_MESSAGE_BYTES_MAX,
    RECONNECT_SECONDS_MAX,
    RECONNECT_SECONDS_MIN,
)
from headrace_worker.outbox import Batch
from headrace_worker.wire import delimited, joined

METHOD = "/headrace.v1.WorkerService/StreamOutput"
BATCHES_FIELD = worker_service_pb2.StreamOutputRequest.BATCHES_FIELD_NUMBER
DELTAS_FIELD = worker_service_pb2.StreamOutputRequest.DELTAS_FIELD_NUMBER
LEASE_FIELD = worker_service_pb2.OutputBatch.LEASE_FIELD_NUMBER
OUTPUTS_FIELD = worker_service_pb2.OutputBatch.OUTPUTS_FIELD_NUMBER

Settled = Callable[[RunningAttempt, bool], None]
Lane = Stream[worker_service_pb2.StreamOutputResponse]

logger = logging.getLogger(__name__)


class OutputLane:
    """The output of all attempts of a worker, on one stream."""

    def __init__(self) -> None:
        self._ready: dict[LeaseKey, RunningAttempt] = {}
        self._in_flight: dict[LeaseKey, tuple[RunningAttempt, int]] = {}
        self._in_flight_bytes = 0
        self._credit_bytes = 0
        self._open = False
        self._answered = False
        self._wake = asyncio.Event()

    def ready(self, attempt: RunningAttempt) -> None:
        """The attempt has output or deltas that wait."""
        if not self._open and attempt.deltas is not None:
            attempt.deltas.drop()
        self._ready[attempt.key] = attempt
        self._wake.set()

    async def run(
        self, channel: grpc.aio.Channel, opening: worker_service_pb2.StreamOutputOpen, settled: Settled
    ) -> None:
        """Delivers over this channel for as long as it is not cancelled; opens the stream anew when it breaks."""
        delay = RECONNECT_SECONDS_MIN
        while True:
            try:
                await self._stream(channel, opening, settled)
            except LOST as error:
                logger.info("the data lane broke: %s", describe(error))
            if self._answered:
                delay = RECONNECT_SECONDS_MIN
            await asyncio.sleep(delay)
            delay = min(2 * delay, RECONNECT_SECONDS_MAX)

    async def _stream(
        self, channel: grpc.aio.Channel, opening: worker_service_pb2.StreamOutputOpen, settled: Settled
    ) -> None:
        stream = Stream(channel, METHOD, worker_service_pb2.StreamOutputResponse.FromString)
        try:
            self._begin()
            await stream.send(worker_service_pb2.StreamOutputRequest(open=opening).SerializeToString())
            await run_parts(self._read(stream, settled), self._write(stream))
        finally:
            self._end()
            stream.cancel()

    def _begin(self) -> None:
        self._credit_bytes = 0
        self._open = True
        self._answered = False

    def _end(self) -> None:
        """What was in flight is sent again on the next stream."""
        self._open = False
        for key, (attempt, _) in self._in_flight.items():
            if attempt.outbox is not None:
                attempt.outbox.rewind()
            self._ready[key] = attempt
        self._in_flight.clear()
        self._in_flight_bytes = 0

    async def _read(self, stream: Lane, settled: Settled) -> None:
        while True:
            response = await stream.receive()
            self._answered = True
            if response.HasField("credit_bytes"):
                self._credit_bytes = response.credit_bytes
            for ack in response.acks:
                self._acknowledge(ack, settled)
            self._wake.set()

    async def _write(self, stream: Lane) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            message = self._next_message()
            if message:
                await stream.send(message)
                if self._ready:
                    self._wake.set()

    def _acknowledge(self, ack: worker_service_pb2.OutputAck, settled: Settled) -> None:
        attempt, size = self._in_flight.pop(key_of(ack.lease), (None, 0))
        self._in_flight_bytes -= size
        if attempt is None or attempt.outbox is None:
            return
        if ack.stale or not attempt.outbox.acknowledge(ack.committed_producer_sequence):
            settled(attempt, True)
            return
        if attempt.outbox.next_size():
            self._ready[attempt.key] = attempt
        settled(attempt, False)

    def _next_message(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        for attempt in list(self._ready.values()):
            waiting = attempt.outbox.next_size() if attempt.outbox is not None else 0
            if waiting:
                room = min(BATCH_BYTES_MAX, OUTPUT_MESSAGE_BYTES_MAX - size, self._credit_bytes - self._in_flight_bytes)
                if waiting > room and (parts or self._in_flight or self._credit_bytes <= 0):
                    break
                parts.append(self._batch(attempt, room))
                size += len(parts[-1])
            if attempt.deltas is not None:
                sent = attempt.outbox.sent_sequence if attempt.outbox is not None else 0
                groups = attempt.deltas.take(sent, attempt.lease)
                parts += [delimited(DELTAS_FIELD, group.SerializeToString()) for group in groups]
            del self._ready[attempt.key]
        return b"".join(parts)

    def _batch(self, attempt: RunningAttempt, room: int) -> bytes:
        assert attempt.outbox is not None
        batch = attempt.outbox.next_batch(room)
        assert batch is not None
        self._in_flight[attempt.key] = (attempt, batch.size_bytes)
        self._in_flight_bytes += batch.size_bytes
        return encode_batch(attempt.lease.SerializeToString(), batch)


def encode_batch(lease: bytes, batch: Batch) -> bytes:
    """A batch as a field of StreamOutputRequest, its outputs as they were serialised."""
    body = delimited(LEASE_FIELD, lease) + joined(OUTPUTS_FIELD, batch.outputs)
    return delimited(BATCHES_FIELD, body)
