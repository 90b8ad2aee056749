"""Fairness: whose turn it is when slots are short (Q2). The share with the least consumed slot-seconds goes first.

Consumed is what ended, halved every hour, and what runs; a slot that was just granted counts as long as the share's
jobs mostly run, so that the grants of one moment alternate. All of it is divided by the share's weight.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from heapq import heappop, heappush, heapreplace
from typing import Generic, TypeVar

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.merge import Merge, Place

T = TypeVar("T")

HALF_LIFE_SECONDS = 3600.0
SLOT_SECONDS_MEAN_DEFAULT = 1.0
"""How long a job is taken to run in a queue of which nothing is known."""
SLOT_SECONDS_MEAN_MIN = 0.001
SLOT_SECONDS_MEAN_MAX = 3600.0
MEAN_SLOTS = 7
"""The mean of the runs so far counts as much as so many further ones."""


class FairnessScope(IntEnum):
    """Among whom slots are shared out; numbers are those of `FairnessScope` in queue.proto."""

    NONE = 1
    OWNER = 2
    KEY = 3


@dataclass(frozen=True, slots=True)
class Usage:
    """What a share has consumed with jobs that have ended, as it was at a time."""

    slot_seconds: float = 0.0
    updated: Micros = Micros(0)
    mean: float = 0.0
    """Slot-seconds of a slot of a job; zero while none has ended."""
    active: bool = False
    """It had jobs when it was last looked at."""

    def at(self, now: Micros) -> float:
        """What is left of it."""
        half_lives = max(0, now - self.updated) / (HALF_LIFE_SECONDS * SECOND)
        return self.slot_seconds * math.pow(0.5, half_lives)

    def charged(self, slot_seconds: float, slots: int, now: Micros) -> "Usage":
        """With leases that ended: what they used, and how many slots they had."""
        batch = min(max(slot_seconds / slots, SLOT_SECONDS_MEAN_MIN), SLOT_SECONDS_MEAN_MAX)
        mean = self.mean + (batch - self.mean) * slots / (slots + MEAN_SLOTS) if self.mean else batch
        return Usage(self.at(now) + slot_seconds, now, mean, self.active)


@dataclass(frozen=True, slots=True)
class Running:
    """What a share holds at the moment."""

    slots: int = 0
    slot_seconds: float = 0.0
    """Since the grants."""


IDLE = Running()


@dataclass(frozen=True, slots=True)
class Standings:
    """How far each share is, and what the plan has found out about them."""

    consumed: dict[str, float]
    """By share, divided by its weight."""
    cost: dict[str, float]
    """What a further slot adds."""
    changed: dict[str, Usage]
    """Of shares that came to have jobs, or have none any more."""
    forgotten: tuple[str, ...]
    """Shares without jobs whose usage means nothing any more: they would start where everybody starts."""


def weight_of(weights: Mapping[str, float], name: str) -> float:
    """What a share is entitled to, next to the others."""
    return weights.get(name, 1.0)


def standings(
    usages: Mapping[str, Usage],
    running: Mapping[str, Running],
    waiting: Iterable[str],
    weights: Mapping[str, float],
    now: Micros,
) -> Standings:
    """How far every share is that has jobs that wait or run.

    One that had none when it was last looked at starts at the lowest of the others, however long it was away.
    """
    names = {*waiting, *running}
    typical = _typical_mean(usages)
    consumed: dict[str, float] = {}
    cost: dict[str, float] = {}
    for name in names:
        usage, held, weight = usages.get(name, Usage()), running.get(name, IDLE), weight_of(weights, name)
        mean = usage.mean or typical
        consumed[name] = (usage.at(now) + max(held.slot_seconds, held.slots * mean)) / weight
        cost[name] = mean / weight
    woken = [name for name in names if not usages.get(name, Usage()).active]
    lowest = min((consumed[name] for name in names if usages.get(name, Usage()).active), default=0.0)
    changed: dict[str, Usage] = {}
    for name in woken:
        usage = usages.get(name, Usage())
        lift = max(0.0, lowest - consumed[name])
        consumed[name] += lift
        changed[name] = Usage(usage.at(now) + lift * weight_of(weights, name), now, usage.mean, active=True)
    forgotten: list[str] = []
    for name, usage in usages.items():
        if name in names:
            continue
        if usage.at(now) / weight_of(weights, name) <= lowest or usage.at(now) < SLOT_SECONDS_MEAN_MIN:
            forgotten.append(name)
        elif usage.active:
            changed[name] = Usage(usage.at(now), now, usage.mean, active=False)
    return Standings(consumed, cost, changed, tuple(forgotten))


def _typical_mean(usages: Mapping[str, Usage]) -> float:
    known = [usage.mean for usage in usages.values() if usage.mean]
    return sum(known) / len(known) if known else SLOT_SECONDS_MEAN_DEFAULT


class FairLine(Generic[T]):
    """The jobs of a fair queue: the share that has consumed least goes first, rank orders within a share.

    Among queues it stands where its best rank is; whom it gives its turn is its own affair.
    """

    def __init__(self, standing: Standings) -> None:
        self._standing = dict(standing.consumed)
        self._cost = standing.cost
        self._shares: dict[str, Merge[T]] = {}
        self._turns: list[tuple[float, Place, str]] = []
        self._claims: list[tuple[Place, str]] = []

    def share(self, name: str) -> Merge[T]:
        """The jobs of a share; made when there is none. They are added before `begin`."""
        return self._shares.setdefault(name, Merge())

    def begin(self) -> None:
        """Has every share take part."""
        for name in sorted(self._shares):
            place = self._shares[name].bound()
            if place is not None:
                heappush(self._turns, (self._standing.get(name, 0.0), place, name))
                heappush(self._claims, (place, name))

    def bound(self) -> Place | None:
        """A place that no job is before; None when there is no job."""
        return self._claims[0][0] if self._claims else None

    def peek(self) -> Place | None:
        """Where the best rank of all shares is at the earliest; None when there is no job. Opens no share: only that
        whose turn it is is ever read."""
        while self._claims:
            place, name = self._claims[0]
            bound = self._shares[name].bound()
            if bound is None:
                heappop(self._claims)
            elif bound != place:
                heapreplace(self._claims, (bound, name))
            else:
                return place
        return None

    def pop(self) -> T | None:
        """Takes the first job of the share whose turn it is; None when there is no job."""
        while self._turns:
            consumed, place, name = self._turns[0]
            first = self._shares[name].peek()
            if first is None:
                heappop(self._turns)
            elif (consumed, place[0]) != (self._standing.get(name, 0.0), first[0]):
                # Among equals of one rank the first that was opened goes: to open all of them would cost too much.
                heapreplace(self._turns, (self._standing.get(name, 0.0), first, name))
            else:
                return self._shares[name].pop()
        return None

    def charge(self, name: str, slots: int) -> None:
        """Takes note that a share was granted slots."""
        self._standing[name] = self._standing.get(name, 0.0) + slots * self._cost.get(name, 0.0)
