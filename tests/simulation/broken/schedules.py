"""Broken variants of schedules: ticks, catching up, overlaps."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from headrace_server.core import firing, recurrence
from headrace_server.core.firing import CatchUpPolicy, Overlap, Step
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.store.scheduling import firings, schedules

Patches = list[tuple[Any, str, Any]]
"""What is put in place: of what, which attribute, and what instead."""

_write = firings._Firing._write
_submit = firings._Firing._submit
_decide_overlap = firing.decide_overlap
_wanted = firing._wanted


def tick_fires_twice() -> Patches:
    """Nothing is kept of a tick whose job was made."""

    def store_ticks(ledger: Any, schedule: Any) -> None:
        last = Micros(max(0, schedule.last - 1))
        schedules.store_ticks(ledger, replace(schedule, last=last, wake=Micros(ledger.now + SECOND)))

    def write(
        self: Any, tick: Any, outcome: Any, message: str, job_id: JobId = JobId(b""), *, live: bool = False
    ) -> None:
        """Nothing is written."""

    return [(firings, "store_ticks", store_ticks), (firings._Firing, "_write", write)]


def job_made_after_its_tick() -> Patches:
    """The job of a tick is made in the cycle after the one that took note of the tick: a kill between loses it."""
    pending: dict[int, list[tuple[Any, Any]]] = defaultdict(list)
    fire_due = firings.fire_due

    def submit(self: Any, tick: Any) -> None:
        pending[id(self._ledger._memory)].append((self, tick))

    def fire(ledger: Any) -> None:
        for one, tick in pending.pop(id(ledger._memory), []):
            one._ledger = ledger
            _submit(one, tick)
        fire_due(ledger)

    return [(firings._Firing, "_submit", submit), (firings, "fire_due", fire)]


def fires_before_its_creation() -> Patches:
    """The first ticks of a schedule are those of the last minute."""

    def parse_interval(micros: int, anchor: Micros) -> Any:
        return recurrence.parse_interval(micros, Micros(anchor - 100 * micros))

    cursor = property(lambda schedule: max(schedule.started - 60 * SECOND, schedule.last))
    return [(schedules, "parse_interval", parse_interval), (schedules.StoredSchedule, "cursor", cursor)]


def edit_invents_ticks() -> Patches:
    """A changed interval holds for the past, too."""
    return [(schedules, "_timing", lambda message: ())]


def none_makes_up() -> Patches:
    """A policy that makes up for nothing makes up for the last tick."""

    def wanted(catch_up: Any, now: Any) -> tuple[int, int]:
        return (1, 0) if catch_up.policy is CatchUpPolicy.NONE else _wanted(catch_up, now)

    return [(firing, "_wanted", wanted)]


def last_makes_up_for_all() -> Patches:
    """A policy that makes up for the last tick makes up for every one."""

    def wanted(catch_up: Any, now: Any) -> tuple[int, int]:
        return (100, 0) if catch_up.policy is CatchUpPolicy.LAST else _wanted(catch_up, now)

    return [(firing, "_wanted", wanted)]


def _with_overlap(of: Overlap, step: Step) -> Patches:
    def decide(overlap: Overlap, *, alive: bool) -> Step:
        return step if overlap is of else _decide_overlap(overlap, alive=alive)

    return [(firings, "decide_overlap", decide)]


def skip_runs_both() -> Patches:
    """A tick that has to be skipped makes its job."""
    return _with_overlap(Overlap.SKIP, Step.SUBMIT)


def buffer_runs_both() -> Patches:
    """A tick that has to wait makes its job."""
    return _with_overlap(Overlap.BUFFER_ONE, Step.SUBMIT)


def other_not_cancelled() -> Patches:
    """A tick that has to cancel the job before it leaves it alone."""
    return _with_overlap(Overlap.CANCEL_OTHER, Step.SUBMIT)


def buffered_tick_forgotten() -> Patches:
    """A tick that waits is never let go."""
    return [(firings._Firing, "release_buffered", lambda self: None)]


def tick_never_looked_at() -> Patches:
    """Once a tick was dealt with, nobody looks when the next one is due."""

    def store_ticks(ledger: Any, schedule: Any) -> None:
        schedules.store_ticks(ledger, replace(schedule, wake=Micros(0)))

    return [(firings, "store_ticks", store_ticks)]
