"""Broken variants of what holds jobs back in their queue: limits, rates, stops, order and shares."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from headrace_server.core import facts, fairness, lifecycle, rates
from headrace_server.core.ids import Micros
from headrace_server.core.job import Job
from headrace_server.core.states import LEASED, JobState
from headrace_server.store import counters
from headrace_server.store.attempts import wanted
from headrace_server.store.queueing import queue_limits, queue_stops, shares

Patches = list[tuple[Any, str, Any]]
"""What is put in place: of what, which attribute, and what instead."""


def key_limit_ignored() -> Patches:
    """What already runs of a concurrency key does not count."""
    return [(queue_limits, "key_running_count", lambda *arguments: 0)]


def queue_limit_ignored() -> Patches:
    """What already runs of a queue does not count."""
    return [(queue_limits, "running_count", lambda *arguments: 0)]


def freed_key_stays_parked() -> Patches:
    """A key that waits for one of its jobs to end is not looked at when one has."""
    flush = counters.Counters.flush

    def forget(changes: Any, connection: Any, groups: Any) -> None:
        changes._freed.clear()
        flush(changes, connection, groups)

    return [(counters.Counters, "flush", forget)]


def slot_never_given_back() -> Patches:
    """A grant that was taken back stays counted for its key."""
    change = counters.Counters.change

    def keep(
        changes: Any, job: Job, state: JobState, holder: str, assigned: Micros, now: Micros, release: Any = None
    ) -> None:
        change(changes, job, state, holder, assigned, now, release)
        if release is not None:
            changes._keys[job.key].leased += 1

    return [(counters.Counters, "change", keep)]


def bucket_never_empties() -> Patches:
    """A start takes no token."""
    return [(rates.RateLimit, "taken", lambda limit, full_at, now, tokens=1: full_at)]


def token_refunded_twice() -> Patches:
    """A start that did not happen gives two tokens back."""
    refunded = rates.RateLimit.refunded
    return [(rates.RateLimit, "refunded", lambda limit, full_at, tokens=1: refunded(limit, full_at, 2 * tokens))]


def lost_grant_refunded() -> Patches:
    """A grant whose worker was lost gives its token back, though it may have started."""
    change = counters.Counters.change

    def give_back(
        changes: Any, job: Job, state: JobState, holder: str, assigned: Micros, now: Micros, release: Any = None
    ) -> None:
        change(changes, job, state, holder, assigned, now, release)
        if release is not None and release.cause is facts.ReleaseCause.NOT_CONFIRMED:
            changes.released[job.namespace, job.queue, job.concurrency_key] += 1

    return [(counters.Counters, "change", give_back)]


def paused_queue_grants() -> Patches:
    """Nobody asks whether a queue is stopped."""
    return [(queue_stops, "stops", lambda ledger: {})]


def drained_queue_grants() -> Patches:
    """Of a stopped queue only the pause counts."""
    stops = queue_stops.stops

    def of_pauses(ledger: Any) -> Any:
        return {queue: stop for queue, stop in stops(ledger).items() if stop.pause is not None}

    return [(queue_stops, "stops", of_pauses)]


def pause_never_ends() -> Patches:
    """Nobody looks when a pause is over."""
    return [(queue_stops, "_is_over", lambda pause, now: False)]


def return_never_told() -> Patches:
    """When the grace of a drained queue is over, its workers hear nothing of it."""
    return [(wanted, "_RETURNS", "? < 0")]


def return_burns_an_attempt() -> Patches:
    """What is handed back counts as a failure."""
    hand_back = lifecycle._FOLDS[facts.HandedBack]

    def fold(job: Job, fact: Any, now: Any) -> None:
        hand_back(job, fact, now)
        job.failures += 1

    return [(lifecycle._FOLDS, facts.HandedBack, fold)]  # type: ignore[list-item]  # a key


class _HighHeads:
    """A connection that lowers no head of a key that has ready jobs."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def run_many(self, sql: str, values: Sequence[Any]) -> None:
        """All but the lowering."""
        self._connection.run_many(sql.replace("(?, ?) < (head, head_job)", "(?, ?) < (0, 0)"), values)


def head_above_the_first() -> Patches:
    """A key is taken to begin later than its first job does."""
    flush = counters.Counters.flush
    return [
        (counters.Counters, "flush", lambda changes, connection, groups: flush(changes, _HighHeads(connection), groups))
    ]


def newest_first() -> Patches:
    """Of the jobs of a key the last one goes first."""
    from headrace_server.store.queueing import ready

    window = ready.window
    return [
        (ready, "window", lambda ledger, key, after, count: window(ledger, key, after, max(count, 2))[::-1][:count])
    ]


def share_wakes_at_zero() -> Patches:
    """A share that had no jobs for a while has all of the others' past before it."""

    def standings(usages: Any, running: Any, waiting: Any, weights: Any, now: Any) -> Any:
        with patch.object(fairness, "max", lambda *values: values[0], create=True):
            return original(usages, running, waiting, weights, now)

    original = fairness.standings
    return [(shares, "standings", standings)]


def slots_of_a_job_ignored() -> Patches:
    """A job that takes two slots is counted as one."""
    count = counters.Counters._count

    def of_one(changes: Any, job: Job, change: int, state: JobState, holder: str, assigned: Micros) -> None:
        count(changes, job, change, state, holder, assigned)
        if state in LEASED:
            changes._keys[job.key].leased_slots -= change * (job.slots - 1)

    return [(counters.Counters, "_count", of_one)]
