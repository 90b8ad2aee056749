"""A clock that stands still until a test moves it; see `runtime.clock.Clock`."""

from headrace_server.core.ids import SECOND, Micros

BEGIN = Micros(1_700_000_000 * SECOND)


class ManualClock:
    """Wall and monotonic time that move together, and a wall that can jump alone."""

    def __init__(self) -> None:
        self._now = BEGIN
        self._monotonic = 100.0

    def now(self) -> Micros:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self._monotonic += seconds
        self._now = Micros(self._now + int(seconds * SECOND))

    def jump(self, seconds: float) -> None:
        """Sets the wall clock alone."""
        self._now = Micros(self._now + int(seconds * SECOND))
