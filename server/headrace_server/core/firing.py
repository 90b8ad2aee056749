"""What a schedule does with its ticks: jitter, catching up and overlap (K3, K4).

Pure: which ticks are dealt with now, and what becomes of each. Whatever stopped for long is made up for without
looking at every tick that was missed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import islice
from typing import assert_never

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.recurrence import Timing, ticks_between

MISSED_AFTER_SECONDS = 10
"""A tick whose job is this late counts as missed; before, as one of a server that was busy or restarted."""
CATCH_UP_WINDOW_SECONDS_DEFAULT = 86_400
CATCH_UP_WINDOW_SECONDS_MAX = 31 * 86_400
CATCH_UP_COUNT_DEFAULT = 100
CATCH_UP_COUNT_MAX = 1000


class CatchUpPolicy(IntEnum):
    """Which missed ticks are made up for; numbers are those of `CatchUpPolicy` in schedule.proto."""

    NONE = 1
    LAST = 2
    ALL = 3


class Overlap(IntEnum):
    """What happens to a tick while an earlier job lives; numbers are those of `Overlap` in schedule.proto."""

    SKIP = 1
    BUFFER_ONE = 2
    ALLOW = 3
    CANCEL_OTHER = 4


class FiringOutcome(IntEnum):
    """What was done at a tick; numbers are those of `FiringOutcome` in schedule.proto."""

    SUBMITTED = 1
    SKIPPED = 2
    BUFFERED = 3
    REPLACED = 4
    REFUSED = 5
    MISSED = 6


class Step(Enum):
    """What a tick leads to now."""

    SUBMIT = "submit"
    SKIP = "skip"
    BUFFER = "buffer"
    CANCEL_THEN_SUBMIT = "cancel then submit"


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Which of the missed ticks are made up for."""

    policy: CatchUpPolicy = CatchUpPolicy.LAST
    window_micros: int = CATCH_UP_WINDOW_SECONDS_DEFAULT * SECOND
    count_max: int = CATCH_UP_COUNT_DEFAULT


@dataclass(frozen=True, slots=True)
class Tick:
    """One tick to deal with."""

    nominal: Micros
    catch_up: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now."""

    dropped: Micros | None
    """The latest of the missed ticks that nobody makes up for; those between it and the cursor are dropped as well."""
    ticks: tuple[Tick, ...]
    """In order. Fewer than are due when there are too many for one time; then the next plan goes on after them."""


def jitter_of(schedule: str, nominal: Micros, jitter_micros: int) -> int:
    """How long after its tick a job is made, in [0, jitter]: of the schedule's full name and the tick, so always the
    same."""
    if jitter_micros <= 0:
        return 0
    digest = hashlib.blake2b(f"{schedule}\0{nominal}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (jitter_micros + 1)


def plan_firings(
    timing: Timing,
    cursor: Micros,
    now: Micros,
    missed_until: Micros,
    catch_up: CatchUp,
    fire_time: Callable[[Micros], int],
    jitter_micros: int,
    count_max: int,
) -> Plan:
    """Says which ticks after the cursor are dealt with now, at most so many.

    A tick is missed when its job is more than MISSED_AFTER_SECONDS late, or was due at or before `missed_until`, the
    end of a pause. `fire_time` gives the time of a tick's job, at most `jitter_micros` after it.
    """
    border = Micros(max(now - MISSED_AFTER_SECONDS * SECOND, missed_until))
    dropped, missed = _missed(timing, cursor, now, border, catch_up, fire_time, jitter_micros)
    ticks = [Tick(nominal, catch_up=True) for nominal in missed[:count_max]]
    after = max(cursor, dropped or cursor, missed[-1] if missed else cursor)
    if len(ticks) < count_max:
        on_time = (tick for tick in ticks_between(timing, Micros(after), now) if border < fire_time(tick))
        for tick in islice(on_time, count_max - len(ticks)):
            if fire_time(tick) > now:
                break
            ticks.append(Tick(tick, catch_up=False))
    return Plan(dropped, tuple(ticks))


def _missed(
    timing: Timing,
    cursor: Micros,
    now: Micros,
    border: Micros,
    catch_up: CatchUp,
    fire_time: Callable[[Micros], int],
    jitter_micros: int,
) -> tuple[Micros | None, list[Micros]]:
    """The latest missed tick that is dropped, and those that are made up for, in order."""
    if border <= cursor:
        return None, []
    wanted, earliest = _wanted(catch_up, now)
    missed: list[Micros] = []
    for tick in timing.down(border, cursor):
        if tick > border - jitter_micros and fire_time(tick) > border:
            continue
        if len(missed) == wanted or tick < earliest:
            return tick, missed[::-1]
        missed.append(tick)
    return None, missed[::-1]


def _wanted(catch_up: CatchUp, now: Micros) -> tuple[int, int]:
    """How many missed ticks are made up for at most, and from when on."""
    match catch_up.policy:
        case CatchUpPolicy.NONE:
            return 0, 0
        case CatchUpPolicy.LAST:
            return 1, 0
        case CatchUpPolicy.ALL:
            return catch_up.count_max, now - catch_up.window_micros
    assert_never(catch_up.policy)


def decide_overlap(policy: Overlap, *, alive: bool) -> Step:
    """Says what a tick leads to; `alive`: the job of an earlier tick has not ended."""
    if not alive:
        return Step.SUBMIT
    match policy:
        case Overlap.SKIP:
            return Step.SKIP
        case Overlap.BUFFER_ONE:
            return Step.BUFFER
        case Overlap.ALLOW:
            return Step.SUBMIT
        case Overlap.CANCEL_OTHER:
            return Step.CANCEL_THEN_SUBMIT
    assert_never(policy)
