"""Broken variants of what the parts keep: log and positions, queues, renewals, streams, and the worker itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from headrace_server.core import facts, leases, lifecycle
from headrace_server.core.ids import SECOND
from headrace_server.core.job import Job
from headrace_server.core.states import JobState
from headrace_server.runtime import cycle, registry
from headrace_server.runtime.clock import Clock
from headrace_server.store import ledger as ledgers
from headrace_server.store import writer
from headrace_server.store.jobs import submit
from headrace_server.store.queueing import ready
from headrace_server.store.records import log_pages
from simulation import server as servers
from simulation import workers as simulated

Patches = list[tuple[Any, str, Any]]
"""What is put in place: of what, which attribute, and what instead."""

_submit_all = submit.submit_each
_apply = lifecycle.apply
_record = ledgers.Ledger.record
_window = ready.window
_read_page = log_pages.read_page


def unconfirmed_requeued() -> Patches:
    """An assignment that its worker does not name goes back, though it may be on its way."""

    def absent(lane: Any, held: Any, handled_message_number: int) -> list[Any]:
        return [lease for lease in lane.leases if lease not in held]

    return [(registry.ControlLane, "absent", absent)]


class WallClock:
    """A clock whose monotonic time is the wall's."""

    def __init__(self, clock: Clock) -> None:
        self.now = clock.now

    def monotonic(self) -> float:
        """Jumps with the wall."""
        return self.now() / SECOND


def wall_clock_lease() -> Patches:
    """Leases are judged by the wall clock, whose jump is taken for time in which a worker was silent."""
    return [
        (servers.Server, "clock_of_leases", staticmethod(WallClock)),
        (leases.LeaseWatch, "was_not_watching", lambda watch, seconds, now: None),
    ]


def impatient_lease() -> Patches:
    """A lease ends a third too early."""
    original = leases.LeaseWatch.ended

    def ended(watch: Any, now: float) -> Any:
        return original(watch, now + watch._lease_seconds / 3)

    return [(leases.LeaseWatch, "ended", ended)]


def position_gap() -> Patches:
    """Every twentieth event takes two positions."""
    original = ledgers.Ledger._append

    def append(ledger: Any, job: Job, fact: Any, *, of_attempt: bool) -> None:
        if ledger._sequences["position"] % 20 == 19:
            ledger._sequences["position"] += 1
        original(ledger, job, fact, of_attempt=of_attempt)

    return [(ledgers.Ledger, "_append", append)]


def sequence_gap() -> Patches:
    """A start takes two places in its log."""

    def apply(job: Job, fact: Any, now: Any) -> None:
        _apply(job, fact, now)
        if type(fact) is facts.Started:
            job.sequence += 1

    return [(lifecycle, "apply", apply)]


def request_id_forgotten() -> Patches:
    """The request id is not stored with its job."""

    def submit_each(ledger: Any, submits: Sequence[Any]) -> Any:
        with patch.object(ledger, "insert", lambda *arguments: None):
            return _submit_all(ledger, submits)

    from headrace_server.rpc import job_service

    return [(submit, "submit_each", submit_each), (job_service, "submit_each", submit_each)]


def event_without_fold() -> Patches:
    """Every thirtieth event is appended to a log whose row stays as it was."""
    count = [0]

    def record(ledger: Any, job: Job, fact: Any) -> None:
        _record(ledger, job, fact)
        count[0] += 1
        if count[0] % 30 == 0:
            ledger._changed.pop(job.id, None)

    return [(ledgers.Ledger, "record", record)]


def granted_twice() -> Patches:
    """A job stands twice in the window, and the table lets it be granted twice."""

    def window(ledger: Any, key: Any, after: Any, count: int) -> list[Any]:
        found = _window(ledger, key, after, count)
        return found + found[:1]

    twice = frozenset({JobState.QUEUED, JobState.ASSIGNED})
    return [(ready, "window", window), (lifecycle.ALLOWED, facts.Assigned, twice)]  # type: ignore[list-item]  # a key


def queue_bound_of_each_submit() -> Patches:
    """The bound is checked for each submit alone: others of the same transaction do not count."""

    def waiting_count(ledger: Any, namespace: str, queue: str) -> int:
        found = ledger.look_up(
            "SELECT coalesce(sum(jobs), 0) FROM state_counts WHERE namespace = ? AND queue = ? AND state = 3",
            (namespace, queue),
        )
        return int(found[0][0])

    return [(ledgers.Ledger, "waiting_count", waiting_count)]


def answered_before_commit() -> Patches:
    """Callers are answered though the transaction was not committed."""
    original = writer.Writer._commit

    def commit(self: Any, group: Any) -> Any:
        kept: list[Any] = []
        run = writer._run

        def remember(group: Any, ledger: Any) -> Any:
            kept[:] = run(group, ledger)
            return kept

        with patch.object(writer, "_run", remember):
            outcomes, effects = original(self, group)
        return (list(kept), effects) if kept and not effects else (outcomes, effects)

    return [(writer.Writer, "_commit", commit)]


def rolled_back_remembered() -> Patches:
    """Jobs are kept in memory as a transaction left them that was not committed."""
    original = ledgers.Ledger.flush

    def flush(ledger: Any) -> None:
        original(ledger)
        ledger.remember()

    return [(ledgers.Ledger, "flush", flush)]


def absent_forgotten() -> Patches:
    """What a worker no longer names stays its own."""
    return [(registry.ControlLane, "absent", lambda lane, held, number: [])]


def restart_ends_leases() -> Patches:
    """A restarted node does not watch who held a lease before."""
    return [(servers.Server, "_watch_leases", _watch_nobody)]


async def _watch_nobody(server: Any) -> None:
    return None


def reader_skips() -> Patches:
    """A page that is full leaves one event out."""

    def read_page(*arguments: Any) -> Any:
        page = _read_page(*arguments)
        return replace(page, events=page.events[:1] + page.events[2:])

    return [(log_pages, "read_page", read_page)]


def promotion_forgotten() -> Patches:
    """Nobody looks when the next job becomes due."""
    return [(cycle, "look_at_due", lambda ledger: None)]


def worker_ignores_its_clock() -> Patches:
    """A worker goes on past the end of its lease, and so do its keepers."""

    def look_at_clock(worker: Any) -> None:
        if worker._connected and worker.around.now() >= worker._next_renewal:
            worker.renew()

    return [(simulated.Worker, "look_at_clock", look_at_clock), (simulated.Worker, "trees_end", lambda worker: None)]


def worker_starts_after_its_lease() -> Patches:
    """A worker that was frozen acts on assignments from before, on a stream that outlived its lease."""
    return [(simulated.Worker, "drop_stream_at_lease_end", False)]
