"""Frames on their way to the outbox: in memory up to a bound, then on disk, always in order.

The CLI does not feel a full pipe, so its output is always taken; this is where it waits. Control frames never do.
"""

import asyncio
import struct
from collections import deque
from pathlib import Path

from headrace_worker.executors.claude.framer import Line
from headrace_worker.executors.claude.wire import Frame, parse
from headrace_worker.executors.limits import LANE_DISK_BYTES_MAX, LANE_MEMORY_BYTES_MAX, LANE_SEGMENT_BYTES_MAX
from headrace_worker.spool import Segment

RECORD = struct.Struct("<QQ64s")


class LaneFull(Exception):
    """More output waits than the disk may or can hold; the text says which."""


class Lane:
    """A queue of frames with one reader. Putting never waits."""

    def __init__(
        self,
        folder: Path,
        memory_bytes_max: int = LANE_MEMORY_BYTES_MAX,
        disk_bytes_max: int = LANE_DISK_BYTES_MAX,
    ) -> None:
        self._folder = folder
        self._memory_bytes_max = memory_bytes_max
        self._disk_bytes_max = disk_bytes_max
        self._memory: deque[Frame] = deque()
        self._memory_bytes = 0
        self._disk: deque[Segment] = deque()
        self._disk_bytes = 0
        self._read_at = 0
        """In the first segment."""
        self._finished = False
        self.dropped = 0
        """Partial-message frames that were left out, since somebody last told of them."""
        self.fault = ""
        """Why what waited on disk can't be read back, which ends the lane."""
        self._news = asyncio.Event()

    @property
    def waiting_bytes(self) -> int:
        """What has been put and not been taken."""
        return self._memory_bytes + self._disk_bytes

    def put(self, frame: Frame) -> None:
        """Adds a frame.

        Raises LaneFull.
        """
        if not self._disk and (not self._memory or self._memory_bytes + len(frame.line.data) <= self._memory_bytes_max):
            self._memory.append(frame)
            self._memory_bytes += len(frame.line.data)
        else:
            self._write(frame.line)
        self._news.set()

    def finish(self) -> None:
        """No more will be put."""
        self._finished = True
        self._news.set()

    async def get(self) -> Frame | None:
        """The next frame, or None after the last."""
        while not self.waiting_bytes and not self._memory:
            if self._finished or self.fault:
                return None
            self._news.clear()
            await self._news.wait()
        if self._memory:
            frame = self._memory.popleft()
            self._memory_bytes -= len(frame.line.data)
            return frame
        try:
            return parse(self._read())
        except OSError as error:
            self.fault = f"output that waited on the worker's disk is lost: {error}"
            self.close()
            return None

    def close(self) -> None:
        """Gives back the disk."""
        while self._disk:
            self._disk.pop().close()
        self._disk_bytes = 0

    def _write(self, line: Line) -> None:
        if self._disk_bytes + len(line.data) > self._disk_bytes_max:
            raise LaneFull(f"the CLI said more than the worker may keep on disk for the server, {self._disk_bytes_max}")
        try:
            if not self._disk or self._disk[-1].written >= LANE_SEGMENT_BYTES_MAX:
                self._disk.append(Segment(self._folder))
            self._disk[-1].write(RECORD.pack(len(line.data), line.size_bytes, line.sha256.encode()))
            self._disk[-1].write(line.data)
        except OSError as error:
            raise LaneFull(f"the worker's disk takes no more of what the CLI says: {error.strerror}") from error
        self._disk_bytes += RECORD.size + len(line.data)

    def _read(self) -> Line:
        first = self._disk[0]
        length, size_bytes, sha256 = RECORD.unpack(first.read(self._read_at, RECORD.size))
        line = Line(first.read(self._read_at + RECORD.size, length), size_bytes, sha256.rstrip(b"\0").decode())
        self._read_at += RECORD.size + length
        self._disk_bytes -= RECORD.size + length
        if self._read_at >= first.written or not self._disk_bytes:
            self._disk.popleft().close()
            self._read_at = 0
        return line
