"""Placement: what a job needs, what a worker offers, and which worker gets which job (Q5).

Jobs of a queue with the same needs share a ready key, so a head of jobs that nobody can run never hides the others.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from headrace_server.core.resources import Resources

ONE_SLOT = Resources()


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker must have in order to get a job."""

    executor: str
    """`claude`, `command` or `handler`."""
    capability: str = ""
    """The program of a command, the name of a handler."""
    labels: tuple[tuple[str, str], ...] = ()
    """Required labels, sorted by key."""
    preferred: tuple[tuple[str, str], ...] = ()
    """Labels that make a worker the better choice, sorted by key."""
    resources: Resources = ONE_SLOT

    def encode(self) -> str:
        """One text for equal needs."""
        parts: list[object] = [self.executor, self.capability, self.labels]
        if self.preferred or self.resources != ONE_SLOT:
            taken = self.resources
            parts += [self.preferred, [taken.slots, taken.memory_bytes, taken.cpu_millis]]
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def decode(text: str) -> "Needs":
        """Reads what `encode` made."""
        executor, capability, labels, *more = json.loads(text)
        preferred, resources = more or ((), (1, 0, 0))
        return Needs(executor, capability, _pairs(labels), _pairs(preferred), Resources(*resources))


def _pairs(read: Iterable[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in read)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a worker can run, as it said when it connected."""

    executors: frozenset[str]
    labels: Mapping[str, str]
    programs: frozenset[str]
    handlers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Offer:
    """A connected worker with room."""

    worker: str
    incarnation: str
    capabilities: Capabilities
    free_slots: int


class Misfit(Enum):
    """Why a worker can't run a job."""

    EXECUTOR = "executor"
    CAPABILITY = "capability"
    LABELS = "labels"


def misfit(needs: Needs, capabilities: Capabilities) -> Misfit | None:
    """The first thing that a worker lacks for a job, or None when it fits."""
    if needs.executor not in capabilities.executors:
        return Misfit.EXECUTOR
    offered = {"command": capabilities.programs, "handler": capabilities.handlers}.get(needs.executor)
    if offered is not None and needs.capability not in offered:
        return Misfit.CAPABILITY
    if any(capabilities.labels.get(key) != value for key, value in needs.labels):
        return Misfit.LABELS
    return None


class Room:
    """The free slots of the offers while one plan is made."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self._offers = {offer.worker: offer for offer in offers}
        self._free = {offer.worker: offer.free_slots for offer in self._offers.values()}

    def free_for(self, needs: Needs) -> int:
        """Slots that jobs with these needs could take."""
        return sum(
            free
            for worker, free in self._free.items()
            if free > 0 and misfit(needs, self._offers[worker].capabilities) is None
        )

    def take(self, needs: Needs, holder: str = "") -> tuple[Offer, str] | None:
        """Takes a slot of the least loaded worker that fits, or of the holder; says by which rule, or None."""
        best: Offer | None = None
        for worker, free in self._free.items():
            offer = self._offers[worker]
            if free <= 0 or (holder and worker != holder) or misfit(needs, offer.capabilities) is not None:
                continue
            if best is None or free > self._free[best.worker]:
                best = offer
        if best is None:
            return None
        rule = "holds the session" if holder else f"most free slots ({self._free[best.worker]})"
        self._free[best.worker] -= 1
        return best, rule
