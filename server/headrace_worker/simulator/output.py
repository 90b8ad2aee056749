"""The simulated program's stdout: frames in, bytes out, in order, from a thread of its own.

Like the real program it never feels a full pipe: what nobody reads waits in memory. Faults of framing (line ends,
small pieces) live here, because only here is a frame a row of bytes.
"""

import json
import os
import queue
import select
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

Json = dict[str, Any]

_STDOUT = 1


@dataclass(frozen=True, slots=True)
class Framing:
    """How a frame becomes bytes."""

    line_end: bytes = b"\n"
    piece_bytes: int = 0
    """0: a frame is written at once."""
    piece_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Item:
    data: bytes
    framing: Framing


class Output:
    """An unbounded row of lines and the thread that writes it."""

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._framing = Framing()
        self._accepted = 0
        self._written = 0
        self._gone = False
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    def change_framing(self, **changes: Any) -> None:
        """Holds for everything that is sent from now on."""
        self._framing = replace(self._framing, **changes)

    def send(self, frame: Json) -> None:
        """Takes one frame; never waits."""
        self.send_bytes(encode(frame) + self._framing.line_end)

    def send_bytes(self, data: bytes) -> None:
        self._accepted += 1
        self._items.put(_Item(data, self._framing))

    def drain(self, blocked_seconds: float | None = None) -> bool:
        """Waits until all that was taken is written: True; or until nobody will read it: False.

        With `blocked_seconds` it also gives up on a pipe that stays full for that long.
        """
        moved = time.monotonic()
        while self._written < self._accepted and not self._gone:
            if blocked_seconds is not None:
                now = time.monotonic()
                moved = now if _has_room() else moved
                if now - moved > blocked_seconds:
                    return False
            time.sleep(0.001)
        return not self._gone

    def _run(self) -> None:
        while True:
            item = self._items.get()
            try:
                _write(item)
            except OSError:
                self._gone = True
            self._written += 1


def encode(frame: Json) -> bytes:
    """One frame as a line without its end; only what UTF-8 cannot hold is escaped."""
    try:
        return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(frame, separators=(",", ":")).encode()


def _has_room() -> bool:
    return bool(select.select([], [_STDOUT], [], 0)[1])


def _write(item: _Item) -> None:
    size = item.framing.piece_bytes or len(item.data)
    view = memoryview(item.data)
    while view:
        view = view[os.write(_STDOUT, view[:size]) :]
        if item.framing.piece_bytes:
            time.sleep(item.framing.piece_seconds)
