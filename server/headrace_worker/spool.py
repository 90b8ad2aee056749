"""A first-in-first-out queue of byte records on disk, bounded, in files that have no name.

Records are written and read in blocks, so that many small ones cost little. It lives as long as its process: a worker
that dies takes its attempts with it, so nothing is synced and nothing is left behind. What they mean stays outside.
"""

import os
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from headrace_worker.limits import SPOOL_BLOCK_BYTES, SPOOL_SEGMENT_BYTES_MAX


class Segment:
    """One nameless file, written at its end."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle, name = tempfile.mkstemp(dir=folder)
        os.unlink(name)
        self.written = 0

    def write(self, data: bytes) -> None:
        """Appends; a write that fails half-way leaves nothing that counts."""
        offset = self.written
        view = memoryview(data)
        while view:
            done = os.pwrite(self._handle, view, offset)
            offset += done
            view = view[done:]
        self.written = offset

    def read(self, offset: int, length: int) -> bytes:
        """Reads what was written there."""
        data = os.pread(self._handle, length, offset)
        if len(data) != length:
            raise OSError("a spool file is shorter than what was written to it")
        return data

    def close(self) -> None:
        """Gives the disk space back."""
        os.close(self._handle)


@dataclass(frozen=True, slots=True)
class Block:
    """Where records lie that were written together."""

    segment: Segment
    offset: int
    lengths: tuple[int, ...]


class Spool:
    """The records that wait: the first ones read back, then blocks on disk, then the last ones not written yet."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._head: deque[bytes] = deque()
        self._blocks: deque[Block] = deque()
        self._tail: list[bytes] = []
        self._tail_bytes = 0
        self._segment: Segment | None = None
        self.size_bytes = 0
        """Of the records that wait."""

    def append(self, record: bytes) -> bool:
        """Puts a record at the end; False, and no change, when there is no room for it or the disk refuses."""
        if self.size_bytes + len(record) > self._bytes_max:
            return False
        if self._tail_bytes >= SPOOL_BLOCK_BYTES and not self._write_tail():
            return False
        self._tail.append(record)
        self._tail_bytes += len(record)
        self.size_bytes += len(record)
        return True

    def take(self) -> bytes:
        """Removes the first record. Call it only while `size_bytes` is not zero."""
        if not self._head:
            self._load_head()
        record = self._head.popleft()
        self.size_bytes -= len(record)
        return record

    def close(self) -> None:
        """Drops everything."""
        for segment in {block.segment for block in self._blocks} | ({self._segment} - {None}):
            if segment is not None:
                segment.close()
        self._segment = None
        self._head.clear()
        self._blocks.clear()
        self._tail.clear()
        self._tail_bytes = 0
        self.size_bytes = 0

    def _load_head(self) -> None:
        if not self._blocks:
            self._head.extend(self._tail)
            self._tail.clear()
            self._tail_bytes = 0
            return
        block = self._blocks.popleft()
        data = block.segment.read(block.offset, sum(block.lengths))
        start = 0
        for length in block.lengths:
            self._head.append(data[start : start + length])
            start += length
        if block.segment is not self._segment and not any(other.segment is block.segment for other in self._blocks):
            block.segment.close()

    def _write_tail(self) -> bool:
        try:
            if self._segment is None or self._segment.written >= SPOOL_SEGMENT_BYTES_MAX:
                fresh = Segment(self._folder)
                self._retire()
                self._segment = fresh
            offset = self._segment.written
            self._segment.write(b"".join(self._tail))
        except OSError:
            return False
        self._blocks.append(Block(self._segment, offset, tuple(map(len, self._tail))))
        self._tail.clear()
        self._tail_bytes = 0
        return True

    def _retire(self) -> None:
        """The segment gets nothing more: without a block in it, nobody reads it again."""
        if self._segment is not None and not any(block.segment is self._segment for block in self._blocks):
            self._segment.close()
