"""The only place that reads a clock. Everything else is handed a time, so that tests and the simulator own it."""

import threading
import time
from typing import Protocol

from headrace_server.core.ids import SECOND, Micros


class Clock(Protocol):
    """The time of this node."""

    def now(self) -> Micros:
        """Wall clock, UTC: what is stored and shown."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump: what leases are watched by."""
        ...


class SystemClock:
    """The clock of the machine; see `Clock`."""

    def now(self) -> Micros:
        return Micros(time.time_ns() // 1000)

    def monotonic(self) -> float:
        return time.monotonic()


class SteadyClock:
    """A clock whose wall time never runs backwards, so that the order of the log, ids and ranks is that of what
    happened.

    It follows the wall clock forwards. When that is set back, it goes on at half the speed until the wall clock has
    caught up: it must not stand still, or the delay of a retry would last as long as the wall clock is behind. Used
    from several threads.
    """

    def __init__(self, clock: Clock, not_before: Micros = Micros(0)) -> None:
        """`not_before` is the latest time that was ever stored."""
        self._clock = clock
        self._lock = threading.Lock()
        self._last = not_before
        self._read = clock.monotonic()

    def now(self) -> Micros:
        with self._lock:
            wall, read = self._clock.now(), self._clock.monotonic()
            gone = int((read - self._read) * SECOND / 2)
            if wall > self._last + gone:
                self._last, self._read = wall, read
            else:
                # What is less than a microsecond is carried on, or many reads would stop the clock.
                self._last, self._read = Micros(self._last + gone), self._read + gone * 2 / SECOND
            return self._last

    def monotonic(self) -> float:
        return self._clock.monotonic()
