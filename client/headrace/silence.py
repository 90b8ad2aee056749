"""A watchdog for blocking reads, which have no time limit of their own. Knows nothing of what is read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


class Silence:
    """Calls `on_silence` when a read takes too long: one thread for each stream, started by its first read."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._on_silence: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.fired = False

    def watch(self, on_silence: Callable[[], object]) -> None:
        """A read begins."""
        with self._changed:
            self._on_silence, self.fired = on_silence, False
            self._deadline = time.monotonic() + self._seconds
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="headrace-silence", daemon=True)
                self._thread.start()

    def rest(self) -> None:
        """The read is over."""
        with self._changed:
            self._deadline = None

    def stop(self) -> None:
        """The stream is over."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._stopped:
                now = time.monotonic()
                if self._deadline is not None and now >= self._deadline:
                    self.fired, self._deadline = True, None
                    self._on_silence()
                self._changed.wait(self._seconds if self._deadline is None else max(0.0, self._deadline - now))


def watched(call: Any, watchdog: Silence) -> Iterator[Any]:
    """The messages of a call, which is cancelled when one takes too long."""
    while True:
        watchdog.watch(call.cancel)
        try:
            message = next(call, None)
        finally:
            watchdog.rest()
        if message is None:
            return
        yield message
