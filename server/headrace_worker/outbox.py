"""The output of one attempt between its executor and the server's commit: numbered, bounded, sent again when asked.

What is not acknowledged waits in memory, and past a bound on disk; past both, whoever writes waits. When and on which
stream something is sent never enters here.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from headrace.v1 import event_pb2
from headrace_worker.limits import OUTBOX_MEMORY_BYTES_MAX, OUTPUT_ITEM_BYTES_MAX, YIELD_BYTES, YIELD_OVERHEAD_BYTES
from headrace_worker.spool import Spool


@dataclass(frozen=True, slots=True)
class Batch:
    """Outputs that are sent together, serialised."""

    outputs: tuple[bytes, ...]
    size_bytes: int


class Outbox:
    """Numbers outputs 1, 2, 3 … and keeps each until the server has committed it."""

    def __init__(self, spool: Spool, on_output: Callable[[], None]) -> None:
        """`on_output` is called whenever something was taken."""
        self.last_sequence = 0
        """Of the last output that was taken."""
        self.committed = 0
        """Up to here the server has everything."""
        self.fault = ""
        """Why output that was taken is lost; then `last_sequence` is that of the last one that is not."""
        self._spool = spool
        self._on_output = on_output
        self._window: deque[bytes] = deque()
        self._window_bytes = 0
        self._in_flight = 0
        self._sealed = False
        self._unyielded = 0
        self._room: asyncio.Event | None = None
        self._advanced: asyncio.Event | None = None

    @property
    def empty(self) -> bool:
        """Whether the server has committed everything."""
        return self.committed == self.last_sequence

    @property
    def sent_sequence(self) -> int:
        """The last output that is committed or in flight."""
        return self.committed + self._in_flight

    @property
    def spooled_bytes(self) -> int:
        """What waits on disk."""
        return self._spool.size_bytes

    async def put(self, output: event_pb2.Output) -> int:
        """Takes an output and returns its number. Waits while there is no room; a sealed outbox drops it instead.

        It lets others have a turn every now and then, also when there is room.
        """
        sequence = self.last_sequence
        while not self._sealed:
            output.producer_sequence = self.last_sequence + 1
            data = output.SerializeToString()
            if len(data) > OUTPUT_ITEM_BYTES_MAX:
                raise ValueError(f"an output of {len(data)} bytes is larger than {OUTPUT_ITEM_BYTES_MAX}")
            if self._take(data):
                self.last_sequence = sequence = self.last_sequence + 1
                self._unyielded += len(data) + YIELD_OVERHEAD_BYTES
                self._on_output()
                break
            if self._room is None:
                self._room = asyncio.Event()
            self._room.clear()
            await self._room.wait()
        if self._unyielded > YIELD_BYTES:
            self._unyielded = 0
            await asyncio.sleep(0)
        return sequence

    def next_batch(self, bytes_max: int) -> Batch | None:
        """What is sent next, in flight from now on; None while a batch is in flight or nothing waits.

        An output that is larger than `bytes_max` goes alone: the caller asks `next_size` first where it may not.
        """
        if self._in_flight or not self._window:
            return None
        outputs = [self._window[0]]
        size = len(outputs[0])
        for data in islice(self._window, 1, None):
            if size + len(data) > bytes_max:
                break
            outputs.append(data)
            size += len(data)
        self._in_flight = len(outputs)
        return Batch(tuple(outputs), size)

    def next_size(self) -> int:
        """Bytes of the first output of the next batch; zero when there is none to send now."""
        return 0 if self._in_flight or not self._window else len(self._window[0])

    def acknowledge(self, committed: int) -> bool:
        """The server has everything up to `committed`, and nothing is in flight any more.

        False, and no change, when it has less than it once had: what it lost can't be sent again.
        """
        if committed < self.committed:
            return False
        for _ in range(min(committed, self.last_sequence) - self.committed):
            self._window_bytes -= len(self._window.popleft())
            self.committed += 1
            self._refill()
        self._in_flight = 0
        if self._room is not None:
            self._room.set()
        if self._advanced is not None:
            self._advanced.set()
        return True

    async def wait_committed(self, sequence: int) -> bool:
        """Waits until the server has committed up to `sequence`; False when the outbox is sealed before."""
        while not self._sealed and self.committed < sequence:
            if self._advanced is None:
                self._advanced = asyncio.Event()
            self._advanced.clear()
            await self._advanced.wait()
        return not self._sealed

    def rewind(self) -> None:
        """What was in flight is lost on its way: it is sent again."""
        self._in_flight = 0

    def seal(self) -> None:
        """Takes nothing more; whoever waits goes on. What was taken is still delivered."""
        self._sealed = True
        if self._room is not None:
            self._room.set()
        if self._advanced is not None:
            self._advanced.set()

    def abandon(self) -> None:
        """Drops everything: nobody wants it any more."""
        self.seal()
        self._window.clear()
        self._window_bytes = 0
        self._in_flight = 0
        self.committed = self.last_sequence
        self._spool.close()

    def _take(self, data: bytes) -> bool:
        if self._spool.size_bytes == 0 and (
            not self._window or self._window_bytes + len(data) <= OUTBOX_MEMORY_BYTES_MAX
        ):
            self._window.append(data)
            self._window_bytes += len(data)
            return True
        return self._spool.append(data)

    def _refill(self) -> None:
        while self._spool.size_bytes and (not self._window or self._window_bytes < OUTBOX_MEMORY_BYTES_MAX // 2):
            try:
                data = self._spool.take()
            except OSError as error:
                self.fault = f"output that waited on the worker's disk is lost: {error}"
                self._spool.close()
                self.seal()
                self.last_sequence = self.committed + len(self._window)
                return
            self._window.append(data)
            self._window_bytes += len(data)
