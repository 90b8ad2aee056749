"""The only place that reads a clock. Everything else is handed a time, so that tests and the simulator own it."""

import time
from typing import Protocol

from headrace_server.core.ids import Micros


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
