"""Takes frames from the lane to the outbox: as typed events with their raw JSON, large ones as chunks before the event.

It follows the conversation a second time, in the order of delivery, so that `dirty` stands on the very event from which
it is true.
"""

import hashlib
from collections.abc import Callable

from headrace.v1 import event_pb2
from headrace_worker.executors.claude.framer import Line
from headrace_worker.executors.claude.frames import deltas, typed
from headrace_worker.executors.claude.lane import Lane
from headrace_worker.executors.claude.turn import Turn
from headrace_worker.executors.claude.wire import Frame, mapping, text
from headrace_worker.executors.contract import Attempt
from headrace_worker.executors.limits import CHUNK_BYTES_MAX, FRAME_INLINE_BYTES_MAX


class Delivery:
    """Delivers one conversation's frames."""

    def __init__(
        self,
        attempt: Attempt,
        lane: Lane,
        turn: Turn,
        *,
        simulated: bool,
        with_deltas: bool,
        on_request: Callable[[str], None] = lambda request_id: None,
    ) -> None:
        """`turn`: the fold of what is delivered. `on_request` is called with each request of the CLI that was."""
        self._attempt = attempt
        self._lane = lane
        self._simulated = simulated
        self._with_deltas = with_deltas
        self._turn = turn
        self._on_request = on_request
        self._told = turn.meter.total()

    async def run(self) -> None:
        """Delivers until the lane's end. Waits while the outbox is full."""
        while (frame := await self._lane.get()) is not None:
            await self._deliver(frame)
            # It may be a giant, and the next one may come much later.
            del frame

    async def _deliver(self, frame: Frame) -> None:
        usage = self._turn.observe(frame)
        if frame.type == "stream_event":
            self._deliver_deltas(frame)
            if text(mapping(frame.body, "event"), "type") == "message_delta":
                await self._tell_usage()
            return
        event = typed(frame, usage)
        event.simulated = self._simulated
        await self._raw(event, frame.line)
        await self._emit(event_pb2.Output(claude=event))
        if frame.type == "control_request":
            self._on_request(text(frame.body, "request_id"))
        if usage is not None or frame.type == "user":
            await self._tell_usage()

    async def _tell_usage(self) -> None:
        """Tells what was used so far, after each call of the model: a budget is held to it, and what a lost attempt has
        used is known by it."""
        used = self._turn.meter.total()
        if used != self._told:
            self._told = used
            await self._emit(event_pb2.Output(usage=used))

    def _deliver_deltas(self, frame: Frame) -> None:
        if not self._with_deltas:
            return
        if self._lane.dropped:
            self._attempt.emit_delta(event_pb2.Delta(dropped=self._lane.dropped))
            self._lane.dropped = 0
        for delta in deltas(frame):
            if not delta.message_id:
                delta.message_id = self._turn.meter.message_id(text(frame.body, "parent_tool_use_id"))
            self._attempt.emit_delta(delta)

    async def _raw(self, event: event_pb2.ClaudeFrame, line: Line) -> None:
        if len(line.data) > FRAME_INLINE_BYTES_MAX:
            await self._store(event.stored, line)
            return
        try:
            event.raw_json = line.data.decode()
        except UnicodeDecodeError:
            event.raw_bytes = line.data

    async def _store(self, stored: event_pb2.StoredFrame, line: Line) -> None:
        for start in range(0, len(line.data), CHUNK_BYTES_MAX):
            data = line.data[start : start + CHUNK_BYTES_MAX]
            chunk = event_pb2.Chunk(stream=event_pb2.OUTPUT_STREAM_FRAME, data=data)
            stored.last_producer_sequence = await self._emit(event_pb2.Output(chunk=chunk))
            stored.first_producer_sequence = stored.first_producer_sequence or stored.last_producer_sequence
        stored.size_bytes = line.size_bytes
        stored.sha256 = line.sha256 or hashlib.sha256(line.data).hexdigest()
        stored.cut = line.cut

    async def _emit(self, output: event_pb2.Output) -> int:
        output.dirty = self._turn.dirty
        return await self._attempt.emit(output)
