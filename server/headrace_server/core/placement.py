"""Placement: what a job needs, what a worker offers, and which worker gets which job (Q5).

Jobs of a queue with the same needs share a ready group, so a head of jobs that nobody can run never hides the others.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from headrace_server.core.capacity import DEFAULT_DOMAIN
from headrace_server.core.resources import NOTHING, ONE_SLOT, Resources

UNBOUNDED = 1 << 62
"""In place of what is free, for a worker that does not say what it has."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a worker must have in order to get a job."""

    executor: str
    """`claude`, `command` or `handler`."""
    capability: str = ""
    """The program of a command, the name of a handler, the environment profile of a Claude task."""
    labels: tuple[tuple[str, str], ...] = ()
    """Required labels, sorted by key."""
    preferred: tuple[tuple[str, str], ...] = ()
    """Labels that make a worker the better choice, sorted by key."""
    resources: Resources = ONE_SLOT
    domain: str = ""
    """The capacity domain of a Claude task: no matter of workers, but its jobs wait together."""

    def encode(self) -> str:
        """One text for equal needs."""
        parts: list[object] = [self.executor, self.capability, self.labels]
        if self.preferred or self.resources != ONE_SLOT or self.domain:
            taken = self.resources
            parts += [self.preferred, [taken.slots, taken.memory_bytes, taken.cpu_millis]]
        if self.domain:
            parts.append(self.domain)
        return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))

    @staticmethod
    def decode(text: str) -> "Needs":
        """Reads what `encode` made."""
        executor, capability, labels, *more = json.loads(text)
        # Claude jobs from before there were domains are of the default one.
        domain = DEFAULT_DOMAIN if executor == "claude" else ""
        if not more:
            return Needs(executor, capability, _pairs(labels), domain=domain)
        preferred, resources, *stated = more
        taken = _resources(*resources)
        return Needs(executor, capability, _pairs(labels), _pairs(preferred), taken, *(stated or [domain]))


def _resources(slots: int, memory_bytes: int, cpu_millis: int) -> Resources:
    """What one slot is told by is one and the same object."""
    read = Resources(slots, memory_bytes, cpu_millis)
    return ONE_SLOT if read == ONE_SLOT else read


def _pairs(read: Iterable[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in read)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a worker can run, as it said when it connected."""

    executors: frozenset[str]
    labels: Mapping[str, str]
    programs: frozenset[str]
    handlers: frozenset[str]
    profiles: frozenset[str] = frozenset()
    """Environment profiles for Claude tasks."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A connected worker, and what of it is free."""

    worker: str
    incarnation: str
    capabilities: Capabilities
    free_slots: int
    free_memory_bytes: int = UNBOUNDED
    free_cpu_millis: int = UNBOUNDED
    used: Resources = NOTHING
    """What its leases take: it comes free when they end."""

    @property
    def free(self) -> Resources:
        """What is free."""
        return Resources(self.free_slots, self.free_memory_bytes, self.free_cpu_millis)


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
    if needs.executor == "claude" and needs.capability:
        offered = capabilities.profiles
    if offered is not None and needs.capability not in offered:
        return Misfit.CAPABILITY
    if any(capabilities.labels.get(key) != value for key, value in needs.labels):
        return Misfit.LABELS
    return None


@dataclass(slots=True)
class _Free:
    """What is free on one worker; changed in place, since a plan takes of it for each job."""

    slots: int
    memory_bytes: int
    cpu_millis: int

    def holds(self, wanted: Resources) -> bool:
        """Whether all of something is there."""
        if wanted is ONE_SLOT:
            return self.slots > 0
        return wanted.fits_in(Resources(self.slots, self.memory_bytes, self.cpu_millis))

    def lessen(self, taken: Resources) -> None:
        """Takes something."""
        self.slots -= taken.slots
        self.memory_bytes -= taken.memory_bytes
        self.cpu_millis -= taken.cpu_millis


class Room:
    """What is free on the workers while one plan is made."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self._offers = {offer.worker: offer for offer in offers}
        self._free = {
            offer.worker: _Free(offer.free_slots, offer.free_memory_bytes, offer.free_cpu_millis)
            for offer in self._offers.values()
        }
        self._slots = sum(max(0, free.slots) for free in self._free.values())
        self._able: dict[Needs, list[Offer]] = {}

    @property
    def free_slots(self) -> int:
        """Slots that nothing has taken or keeps."""
        return self._slots

    def free_for(self, needs: Needs) -> int:
        """How many jobs with these needs could be taken."""
        return sum(_count(needs.resources, self._free[offer.worker]) for offer in self._fitting(needs))

    def take(self, needs: Needs, holder: str = "") -> tuple[Offer, str] | None:
        """Takes what a job needs of the worker that suits it best, or of the holder; says by which rule, or None.

        Workers with more of the preferred labels go first, then those with more free slots.
        """
        best: Offer | None = None
        most, most_preferred = 0, -1
        for offer in self._fitting(needs):
            free = self._free[offer.worker]
            if (holder and offer.worker != holder) or not free.holds(needs.resources):
                continue
            preferred = _preferred(needs, offer) if needs.preferred else 0
            if preferred > most_preferred or (preferred == most_preferred and free.slots > most):
                best, most, most_preferred = offer, free.slots, preferred
        if best is None:
            return None
        self._lessen(best.worker, needs.resources)
        return best, _rule(needs, holder, most_preferred, most)

    def reserve(self, needs: Needs, holder: str = "") -> Offer | None:
        """Keeps what is free of one worker for a job that fits once leases of it have ended, at most what the job
        takes; None when no worker is such.

        It is the worker that lacks least. What is kept only lets that grow less from plan to plan, so the job starts
        in the end, however many smaller ones come.
        """
        wanted = needs.resources
        fitting = [
            offer
            for offer in self._fitting(needs)
            if (not holder or offer.worker == holder) and wanted.fits_in(offer.used + offer.free)
        ]
        if not fitting:
            return None
        best = min(fitting, key=lambda offer: _lacking(wanted, self._free[offer.worker]))
        free = self._free[best.worker]
        kept = Resources(
            min(wanted.slots, free.slots),
            min(wanted.memory_bytes, free.memory_bytes),
            min(wanted.cpu_millis, free.cpu_millis),
        )
        self._lessen(best.worker, kept)
        return best

    def could_fit(self, needs: Needs) -> bool:
        """Whether a worker would have room for such a job once its leases have ended."""
        return any(needs.resources.fits_in(offer.used + offer.free) for offer in self._fitting(needs))

    def _fitting(self, needs: Needs) -> list[Offer]:
        known = self._able.get(needs)
        if known is None:
            known = [offer for offer in self._offers.values() if misfit(needs, offer.capabilities) is None]
            self._able[needs] = known
        return known

    def _lessen(self, worker: str, taken: Resources) -> None:
        self._free[worker].lessen(taken)
        self._slots -= taken.slots


def _count(wanted: Resources, free: _Free) -> int:
    """How many times something is there."""
    count = free.slots // wanted.slots
    if wanted.memory_bytes:
        count = min(count, free.memory_bytes // wanted.memory_bytes)
    if wanted.cpu_millis:
        count = min(count, free.cpu_millis // wanted.cpu_millis)
    return max(0, count)


def _preferred(needs: Needs, offer: Offer) -> int:
    """How many of the preferred labels a worker has."""
    return sum(offer.capabilities.labels.get(key) == value for key, value in needs.preferred)


def _rule(needs: Needs, holder: str, preferred: int, free_slots: int) -> str:
    if holder:
        return "holds the session"
    if needs.preferred:
        return f"{preferred} of {len(needs.preferred)} preferred labels, most free slots ({free_slots})"
    return f"most free slots ({free_slots})"


def _lacking(wanted: Resources, free: _Free) -> float:
    """How much of something is not there, as a part of it."""
    lacking = max(0, wanted.slots - free.slots) / wanted.slots
    if wanted.memory_bytes:
        lacking += max(0, wanted.memory_bytes - free.memory_bytes) / wanted.memory_bytes
    if wanted.cpu_millis:
        lacking += max(0, wanted.cpu_millis - free.cpu_millis) / wanted.cpu_millis
    return lacking
