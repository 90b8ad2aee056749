"""The server's clock as a worker knows it: what it heard last, and how long ago that was by a clock that nobody sets.

For what has to be as old on every host, whatever a host's own clock says. Leases and deadlines never come from here.
"""

from collections.abc import Callable

_MICROS = 1_000_000


class ServerClock:
    """Microseconds since 1970."""

    def __init__(self, own: Callable[[], float], steady: Callable[[], float]) -> None:
        """`own`: the host's, in seconds since 1970, until the server was heard. `steady`: seconds since whenever."""
        self._own = own
        self._steady = steady
        self._ahead: float | None = None

    def hear(self, micros: int) -> None:
        """The server has just said what time it is."""
        self._ahead = micros / _MICROS - self._steady()

    def now(self) -> int:
        """What time it is there, late by what it took to hear it."""
        seconds = self._own() if self._ahead is None else self._steady() + self._ahead
        return int(seconds * _MICROS)
