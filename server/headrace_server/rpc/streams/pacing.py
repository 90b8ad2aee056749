"""How fast a stream may send where its reader has said so, and how much at once. Pure arithmetic on times passed in."""

PAGE_BYTES_MIN = 16 * 1024
PAGE_STEP = 4
QUICK_SECONDS = 1.0
SLOW_SECONDS = 5.0


class Pace:
    """Bytes a second that a stream keeps to, counted over messages: what was sent is waited off before the next."""

    def __init__(self, bytes_per_second: int) -> None:
        """Zero sets no limit."""
        self._bytes_per_second = bytes_per_second
        self._free = 0.0

    def room(self, bytes_max: int) -> int:
        """How large a message is to be at most: what may be sent in a second, and never more than `bytes_max`."""
        return min(bytes_max, self._bytes_per_second) if self._bytes_per_second else bytes_max

    def delay(self, now: float) -> float:
        """Seconds until the next message may be sent."""
        return max(0.0, self._free - now)

    def sent(self, size: int, now: float) -> None:
        """Takes note of a message."""
        if self._bytes_per_second:
            self._free = max(self._free, now) + size / self._bytes_per_second


class PageSize:
    """How large the pages of a stream are: small at first, larger while full ones are taken quickly, smaller while not.

    A reader on a slow network has to have a whole page before it counts, and before anybody takes it for dead.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.bytes = min(PAGE_BYTES_MIN, bytes_max)

    def taken(self, size: int, seconds: float) -> None:
        """Takes note of how long it took until a page of a size was on its way."""
        if seconds <= QUICK_SECONDS and 2 * size >= self.bytes:
            self.bytes = min(self._bytes_max, self.bytes * PAGE_STEP)
        elif seconds >= SLOW_SECONDS:
            self.bytes = max(min(PAGE_BYTES_MIN, self._bytes_max), self.bytes // PAGE_STEP)
