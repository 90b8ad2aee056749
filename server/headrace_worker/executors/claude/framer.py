"""Cuts the CLI's output into lines: on the newline byte and nothing else, since U+2028 may stand inside a frame.

A line past the limit is cut, with its whole length and digest kept; the next line is whole again. What a line means
never enters here.
"""

import hashlib
from dataclasses import dataclass

from headrace_worker.executors.limits import FRAME_LINE_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its newline."""

    data: bytes
    """What was kept of it: all, unless `cut`."""
    size_bytes: int
    """What was written."""
    sha256: str = ""
    """Digest of the whole line in hexadecimal; only when it was cut."""

    @property
    def cut(self) -> bool:
        """Whether the line passed the limit and only its beginning was kept."""
        return self.size_bytes > len(self.data)


class Framer:
    """Takes bytes as they come and gives lines."""

    def __init__(self, line_bytes_max: int = FRAME_LINE_BYTES_MAX) -> None:
        self._line_bytes_max = line_bytes_max
        # Not a list of parts: for a giant line those would leave holes in the heap that stay with the process.
        self._kept = bytearray()
        self._size_bytes = 0
        self._digest = hashlib.sha256()

    def feed(self, data: bytes) -> list[Line]:
        """The lines that these bytes complete."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._take(end)
            lines.append(self._complete())
        self._take(rest)
        return lines

    def finish(self) -> list[Line]:
        """What came after the last newline, when anything did."""
        return [self._complete()] if self._size_bytes else []

    def _take(self, data: bytes) -> None:
        room = self._line_bytes_max - len(self._kept)
        if len(data) > room and self._size_bytes == len(self._kept):
            self._digest.update(self._kept)
        if len(data) > room or self._size_bytes > len(self._kept):
            self._digest.update(data)
        self._size_bytes += len(data)
        self._kept += data[:room]

    def _complete(self) -> Line:
        cut = self._size_bytes > len(self._kept)
        line = Line(bytes(self._kept), self._size_bytes, self._digest.hexdigest() if cut else "")
        self._kept = bytearray()
        self._size_bytes = 0
        if cut:
            self._digest = hashlib.sha256()
        return line
