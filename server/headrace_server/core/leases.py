"""When a worker's lease has ended: by watching its renewals stand still, never by comparing clocks (L4).

A node counts only what it has itself seen, on its own monotonic clock. So neither a wall clock that jumps nor a
restart can end a live lease: after a restart every worker that holds leases is watched for a whole lease anew.
"""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(slots=True)
class _Watched:
    counter: int
    seen: float


class LeaseWatch:
    """The renewals that this node has seen. All times are seconds of its monotonic clock."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._watched: dict[tuple[str, str], _Watched] = {}

    def observe(self, worker: str, incarnation: str, counter: int, now: float) -> None:
        """Takes note of a renewal. One that does not grow is no sign of life."""
        watched = self._watched.get((worker, incarnation))
        if watched is None:
            self._watched[worker, incarnation] = _Watched(counter, now)
        elif counter > watched.counter:
            watched.counter = counter
            watched.seen = now

    def forget(self, worker: str, incarnation: str) -> None:
        """Stops watching an incarnation of a worker."""
        self._watched.pop((worker, incarnation), None)

    def forget_others(self, worker: str, kept: Collection[str]) -> None:
        """Stops watching all incarnations of a worker but these."""
        for other in [key for key in self._watched if key[0] == worker and key[1] not in kept]:
            del self._watched[other]

    def ended(self, now: float) -> list[tuple[str, str]]:
        """Workers, with their incarnation, whose renewals stood still for a whole lease."""
        return [key for key, watched in self._watched.items() if now - watched.seen >= self._lease_seconds]

    def was_not_watching(self, seconds: float, now: float) -> None:
        """Takes note that nobody looked for a while: renewals of that time wait to be read, so it does not count."""
        for watched in self._watched.values():
            watched.seen = min(watched.seen + seconds, now)

    def next_end(self) -> float | None:
        """When the next lease ends unless it is renewed."""
        if not self._watched:
            return None
        return min(watched.seen for watched in self._watched.values()) + self._lease_seconds
