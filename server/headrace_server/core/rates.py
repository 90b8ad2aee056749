"""Rate limits: how many jobs may start in a time (Q4). A bucket is one number, the time at which it is full again.

Each start takes a token, each period gives `count` of them back, and at most `burst` are there at once.
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

    def taken(self, full_at: Micros, tokens: int) -> Micros:
        """When a bucket is full again after so many starts more; a negative number gives tokens back."""
        return Micros(full_at + tokens * self.period // self.count)
