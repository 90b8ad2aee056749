"""Resources: what a job takes of a worker while it runs, and what a worker has free (Q5).

Slots are counted exactly; memory and processors are what jobs declared, never what they were seen to use.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resources:
    """Slots, memory and processor time of a job, or of a worker."""

    slots: int = 1
    """A job takes at least one."""
    memory_bytes: int = 0
    """Zero declares nothing."""
    cpu_millis: int = 0
    """Thousandths of a processor; zero declares nothing."""

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(
            self.slots + other.slots, self.memory_bytes + other.memory_bytes, self.cpu_millis + other.cpu_millis
        )

    def __sub__(self, other: "Resources") -> "Resources":
        return Resources(
            self.slots - other.slots, self.memory_bytes - other.memory_bytes, self.cpu_millis - other.cpu_millis
        )

    def __mul__(self, count: int) -> "Resources":
        return Resources(self.slots * count, self.memory_bytes * count, self.cpu_millis * count)

    def fits_in(self, free: "Resources") -> bool:
        """Whether all of it is there. What declares no memory or processor fits where none is free."""
        return (
            self.slots <= free.slots
            and (self.memory_bytes == 0 or self.memory_bytes <= free.memory_bytes)
            and (self.cpu_millis == 0 or self.cpu_millis <= free.cpu_millis)
        )


NOTHING = Resources(slots=0)
ONE_SLOT = Resources()


def total(parts: Iterable[Resources]) -> Resources:
    """All of them together."""
    return sum(parts, NOTHING)
