"""How fast a stream may send, where its reader has said so. Pure arithmetic on a clock that is passed in."""


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
