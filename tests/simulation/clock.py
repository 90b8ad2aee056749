"""Simulated time: a monotonic clock that only the simulation moves, and a wall clock that may jump."""

from headrace_server.core.ids import SECOND, Micros

_BEGIN_MICROS = 1_700_000_000 * SECOND
_BEGIN_MONOTONIC = 1000.0


class SimulatedClock:
    """See `runtime.clock.Clock`."""

    def __init__(self) -> None:
        self._monotonic = _BEGIN_MONOTONIC
        self._jumped_micros = 0

    def now(self) -> Micros:
        passed = int((self._monotonic - _BEGIN_MONOTONIC) * SECOND)
        return Micros(_BEGIN_MICROS + passed + self._jumped_micros)

    def monotonic(self) -> float:
        return self._monotonic

    def move_to(self, monotonic: float) -> None:
        """Lets time pass until then."""
        self._monotonic = max(self._monotonic, monotonic)

    def jump(self, seconds: float) -> None:
        """Sets the wall clock alone."""
        self._jumped_micros += int(seconds * SECOND)
