"""Frames on their way to the outbox: in memory up to a bound, then on disk, always in order.

The CLI does not feel a full pipe, so its output is always taken; this is where it waits. Control frames never do.
"""

import asyncio
import struct
import tempfile
from collections import deque
from pathlib import Path
from typing import IO

from headrace_worker.executors.claude.framer import Line
from headrace_worker.executors.claude.wire import Frame, parse
from headrace_worker.executors.limits import LANE_DISK_BYTES_MAX, LANE_MEMORY_BYTES_MAX

RECORD = struct.Struct("<QQ64s")


class LaneFull(Exception):
    """More output waits than the disk may hold."""


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
        self._disk: IO[bytes] | None = None
        self._read_at = 0
        self._written_to = 0
        self._finished = False
        self._news = asyncio.Event()

    @property
    def waiting_bytes(self) -> int:
        """What has been put and not been taken."""
        return self._memory_bytes + self._written_to - self._read_at

    def put(self, frame: Frame) -> None:
        """Adds a frame.

        Raises LaneFull.
        """
        on_disk = self._written_to > self._read_at
        if not on_disk and (not self._memory or self._memory_bytes + len(frame.line.data) <= self._memory_bytes_max):
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
            if self._finished:
                return None
            self._news.clear()
            await self._news.wait()
        if self._memory:
            frame = self._memory.popleft()
            self._memory_bytes -= len(frame.line.data)
            return frame
        return parse(self._read())

    def close(self) -> None:
        """Gives back the disk."""
        if self._disk is not None:
            self._disk.close()
            self._disk = None

    def _write(self, line: Line) -> None:
        if self._disk is None:
            self._disk = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # it lives until close()
        if self._written_to - self._read_at + len(line.data) > self._disk_bytes_max:
            raise LaneFull(f"{self._disk_bytes_max} bytes of output wait already")
        self._disk.seek(self._written_to)
        self._disk.write(RECORD.pack(len(line.data), line.size_bytes, line.sha256.encode()))
        self._disk.write(line.data)
        self._written_to = self._disk.tell()

    def _read(self) -> Line:
        assert self._disk is not None
        self._disk.seek(self._read_at)
        length, size_bytes, sha256 = RECORD.unpack(self._disk.read(RECORD.size))
        line = Line(self._disk.read(length), size_bytes, sha256.rstrip(b"\0").decode())
        self._read_at = self._disk.tell()
        if self._read_at == self._written_to:
            self._read_at = self._written_to = 0
            self._disk.seek(0)
            self._disk.truncate()
        return line
