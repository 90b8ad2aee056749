"""Rate limits: how many jobs may start in a time (Q4). A bucket is one number, the time at which it is full again.

Each start takes a token, each period gives `count` of them back, and at most `burst` are there at once. What can't be
said in whole microseconds is rounded against the taker, so a limit is never exceeded.
"""

from dataclasses import dataclass

from headrace_server.core.ids import Micros


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many starts per period; `burst` of them may come at once."""

    count: int
    period: int
    """Microseconds."""
    burst: int

    def bounded(self, full_at: Micros, now: Micros) -> Micros:
        """No later than that of an empty bucket: what was kept under another limit, or before the clock was set back,
        holds nobody for longer."""
        return Micros(min(full_at, now + self.burst * self._interval))

    def available(self, full_at: Micros, now: Micros) -> int:
        """Tokens that are there."""
        missing = max(0, full_at - now)
        return max(0, self.burst - -(-missing // self._interval))

    def next_token(self, full_at: Micros) -> Micros:
        """When there is a token at the latest; passed already when there is one."""
        return Micros(full_at - (self.burst - 1) * self._interval)

    def taken(self, full_at: Micros, now: Micros, tokens: int = 1) -> Micros:
        """When the bucket is full again after so many starts more."""
        return Micros(max(full_at, now) + tokens * self._interval)

    def refunded(self, full_at: Micros, tokens: int = 1) -> Micros:
        """When it is full again after so many starts that did not happen; a full one gets no fuller."""
        return Micros(full_at - tokens * self._interval)

    @property
    def _interval(self) -> int:
        """Microseconds until a token comes back."""
        return -(-self.period // self.count)
