"""A first-in-first-out queue of byte records on disk, bounded, in files that have no name.

It lives as long as its process: a worker that dies takes its attempts with it, so nothing is synced and nothing is left
behind. What the records mean never enters here.
"""

import os
import tempfile
from collections import deque
from pathlib import Path

from headrace_worker.limits import SPOOL_SEGMENT_BYTES_MAX

LENGTH_BYTES = 4


class Segment:
    """One nameless file: written at one end, read at the other, given back when it was read to its end."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)
        self.written = 0
        self.read = 0

    def write(self, data: bytes) -> None:
        """Appends; a write that fails half-way leaves nothing that counts."""
        offset = self.written
        view = memoryview(data)
        while view:
            done = os.pwrite(self._handle, view, offset)
            offset += done
            view = view[done:]
        self.written = offset

    def take(self) -> bytes:
        """Reads the next record."""
        length = int.from_bytes(os.pread(self._handle, LENGTH_BYTES, self.read), "big")
        record = os.pread(self._handle, length, self.read + LENGTH_BYTES)
        if len(record) != length:
            raise OSError("a spool file is shorter than what was written to it")
        self.read += LENGTH_BYTES + length
        return record

    def close(self) -> None:
        """Gives the disk space back."""
        os.close(self._handle)


class Spool:
    """The records that wait on disk, in order."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._segments: deque[Segment] = deque()
        self.size_bytes = 0
        """Of the records that wait."""

    def append(self, record: bytes) -> bool:
        """Puts a record at the end; False, and no change, when there is no room for it or the disk refuses."""
        if self.size_bytes + len(record) > self._bytes_max:
            return False
        try:
            self._tail().write(len(record).to_bytes(LENGTH_BYTES, "big") + record)
        except OSError:
            return False
        self.size_bytes += len(record)
        return True

    def take(self) -> bytes:
        """Removes the first record. Call it only while `size_bytes` is not zero."""
        head = self._segments[0]
        record = head.take()
        self.size_bytes -= len(record)
        if head.read == head.written:
            self._segments.popleft().close()
        return record

    def close(self) -> None:
        """Drops everything."""
        while self._segments:
            self._segments.pop().close()
        self.size_bytes = 0

    def _tail(self) -> Segment:
        if not self._segments or self._segments[-1].written >= SPOOL_SEGMENT_BYTES_MAX:
            self._segments.append(Segment(self._folder))
        return self._segments[-1]
