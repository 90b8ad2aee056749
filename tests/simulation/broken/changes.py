"""Broken variants of what becomes of a job for others' sake or by its own time: graphs, unique keys, timeouts, snoozes,
updates, retries, deletions, and what its next attempt is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from headrace_server.core import deadlines, facts, lifecycle, retry
from headrace_server.core.deadlines import Due
from headrace_server.core.dependencies import Condition, DependencyRule, judge
from headrace_server.core.failures import TimeoutKind
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED, WAITING, JobState
from headrace_server.runtime import assignment, cycle
from headrace_server.store import ledger as ledgers
from headrace_server.store import settle
from headrace_server.store.attempts import due, leases, outputs
from headrace_server.store.jobs import (
    deletions,
    dependencies,
    planning,
    retries,
    submit,
    unblocking,
    unique_keys,
    updates,
)

Patches = list[tuple[Any, str, Any]]
"""What is put in place: of what, which attribute, and what instead."""

_decide = retry.decide_after_failure
_note_ended_parents = dependencies.note_ended_parents


def _with_judge(broken: Callable[[DependencyRule, Sequence[JobState | None]], Any]) -> Patches:
    return [(dependencies, "judge", broken), (planning, "judge", broken)]


def any_succeeded_taken_as_all_ended() -> Patches:
    """A job that needs one success runs once all have ended."""

    def broken(rule: DependencyRule, ends: Sequence[JobState | None]) -> Any:
        any_of_them = rule.condition is Condition.ANY_SUCCEEDED
        return judge(replace(rule, condition=Condition.ALL_ENDED) if any_of_them else rule, ends)

    return _with_judge(broken)


def cancelled_parent_succeeded() -> Patches:
    """A cancelled parent counts as one that succeeded."""

    def broken(rule: DependencyRule, ends: Sequence[JobState | None]) -> Any:
        return judge(rule, [JobState.SUCCEEDED if end is JobState.CANCELLED else end for end in ends])

    return _with_judge(broken)


def skipped_childs_children_forgotten() -> Patches:
    """Who waits for a job that is skipped is not told."""

    def note(ledger: Any, ended: Sequence[Job]) -> None:
        _note_ended_parents(ledger, [job for job in ended if job.state is not JobState.SKIPPED])

    return [(settle, "note_ended_parents", note)]


def one_ended_parent_noted() -> Patches:
    """Of the parents that end in one transaction only the first is kept in mind."""
    return [(settle, "note_ended_parents", lambda ledger, ended: _note_ended_parents(ledger, ended[:1]))]


def children_told_once() -> Patches:
    """Once some children of a parent were told of its end, the others are forgotten."""

    def tell(ledger: Any, count: int) -> Any:
        noted = ledger.look_up("SELECT parent FROM ended_parents ORDER BY parent LIMIT 1")
        told = dependencies.tell_children(ledger, 1)
        for parent in noted:
            ledger.run("DELETE FROM ended_parents WHERE parent = ?", parent)
        return told

    return [(unblocking, "tell_children", tell)]


def key_freed_at_grant() -> Patches:
    """A unique key is free as soon as its job is granted."""

    def grant(ledger: Any, job: Job, offer: Any, rule: str) -> None:
        leases.grant(ledger, job, offer, rule)
        if job.unique:
            unique_keys.give_up(ledger, job)

    return [(cycle, "grant", grant)]


def replaced_goes_on() -> Patches:
    """A job whose place another one takes goes on all the same."""

    def claim(submitting: Any, plan: Any, job: Job) -> None:
        recorded = ledgers.Ledger.record

        def record(ledger: Any, job: Job, fact: Any) -> None:
            if not isinstance(fact, facts.Cancelled):
                recorded(ledger, job, fact)

        with patch.object(ledgers.Ledger, "record", record):
            original(submitting, plan, job)

    original = submit._Submitting._claim
    return [(submit._Submitting, "_claim", claim)]


def granted_one_replaced() -> Patches:
    """A job that waits for its next attempt is replaced as if it had never been granted."""

    def key(planner: Any, plan: Any) -> Any:
        answer = original(planner, plan)
        new = plan.new
        first = planner._keys[new.namespace, new.queue, new.unique_key].get(unique_keys.KeyPlace.FIRST)
        if answer is None and isinstance(first, Job) and first.epoch and first.state in WAITING:
            plan.place, plan.replaces = unique_keys.KeyPlace.FIRST, first
        return answer

    original = planning.Planner._key
    return [(planning.Planner, "_key", key)]


def waiting_with_key_forgotten() -> Patches:
    """Who waits for a unique key is not told that it is free."""
    return [(settle, "hand_over_key", unique_keys.give_up)]


def run_timeout_of_all_attempts() -> Patches:
    """The run_timeout counts from the first start, whatever came between."""
    start = lifecycle._FOLDS[facts.Started]

    def fold(job: Job, fact: Any, now: Any) -> None:
        start(job, fact, now)
        if job.run_by:
            job.run_by -= now - job.started

    return [(lifecycle._FOLDS, facts.Started, fold)]  # type: ignore[list-item]  # a key


def total_timeout_retried() -> Patches:
    """An attempt that was stopped because its job's time was over is followed by another."""

    def decide(attempt: Any, policy: Any, chance: float) -> Any:
        total = attempt.timeout is TimeoutKind.TOTAL
        return _decide(replace(attempt, timeout=TimeoutKind.RUN) if total else attempt, policy, chance)

    return [(leases, "decide_after_failure", decide), (leases, "_in_time", lambda ledger, job, decision: decision)]


def _with_look(name: str, value: Callable[[Job], int]) -> Patches:
    """Whoever looks what is due takes a time of a job for another."""

    def broken(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(job: Job, *arguments: Any) -> Any:
            known = getattr(job, name)
            setattr(job, name, value(job))
            try:
                return look(job, *arguments)
            finally:
                setattr(job, name, known)

        return looked

    next_look = broken(deadlines.next_look)
    return [(lifecycle, "next_look", next_look), (ledgers, "next_look", next_look), (due, "due", broken(deadlines.due))]


def silence_since_the_start() -> Patches:
    """Output is no sign of life."""
    return _with_look("updated", lambda job: job.begun or job.updated)


def queue_timeout_ignored() -> Patches:
    """A job starts however late it is."""
    return _with_look("start_by", lambda job: 0)


def expired_after_start() -> Patches:
    """A job whose time is over between two attempts is said never to have started."""

    def broken(job: Job, now: Any) -> Any:
        what = deadlines.due(job, now)
        return (Due.EXPIRE, what[1]) if what is not None and what[0] is Due.END else what

    return [(due, "due", broken)]


def one_snooze_too_many() -> Patches:
    """`max_snoozes` counts those before this one."""
    return [(leases, "decide_after_snooze", lambda snoozes, policy: retry.decide_after_snooze(snoozes - 1, policy))]


def snooze_counted_as_failure() -> Patches:
    """Work that puts itself off burns an attempt."""
    snooze = lifecycle._FOLDS[facts.Snoozed]

    def fold(job: Job, fact: Any, now: Any) -> None:
        snooze(job, fact, now)
        job.failures += 1

    return [(lifecycle._FOLDS, facts.Snoozed, fold)]  # type: ignore[list-item]  # a key


def updated_after_start() -> Patches:
    """A job that waits for its next attempt may still be changed."""
    has_started = updates._has_started
    return [(updates, "_has_started", lambda job: None if job.state in WAITING else has_started(job))]


def two_live_retries() -> Patches:
    """Nobody asks whether a retry of the job lives."""
    return [(retries, "_live_retry", lambda ledger, job: None)]


def live_job_deleted() -> Patches:
    """A job that waits may be deleted."""
    deletable = ENDED | {JobState.QUEUED, JobState.SCHEDULED}

    def remove(ledger: Any, jobs: Sequence[Job]) -> None:
        with patch.object(ledgers, "ENDED", deletable):
            original(ledger, jobs)

    original = ledgers.Ledger.remove
    return [(deletions, "ENDED", deletable), (ledgers.Ledger, "remove", remove)]


def live_job_swept() -> Patches:
    """Whatever is old is removed, whether or not it has ended."""

    def ended_long_ago(connection: Any, after: int, ended_by: int, count: int) -> Any:
        found = connection.rows("SELECT id FROM jobs WHERE created <= ?", (ended_by,))
        return [bytes(job_id) for (job_id,) in found], None

    def remove_ended(ledger: Any, job_ids: Sequence[Any], ended_by: int) -> int:
        jobs = list(ledger.jobs(job_ids).values())
        with patch.object(ledgers, "ENDED", frozenset(JobState)):
            deletions.remove(ledger, jobs)
        return len(jobs)

    return [(deletions, "ended_long_ago", ended_long_ago), (deletions, "remove_ended", remove_ended)]


def request_of_deleted_forgotten() -> Patches:
    """The request id goes with its job."""

    def remove(ledger: Any, jobs: Sequence[Job]) -> None:
        original(ledger, jobs)
        for job in jobs:
            ledger.run("DELETE FROM requests WHERE id = ?", (job.id,))

    original = deletions.remove
    return [(deletions, "remove", remove)]


def first_checkpoint_kept() -> Patches:
    """A checkpoint does not replace the one before."""

    def keep(ledger: Any, row: int, value: bytes) -> None:
        values = [(row, value)]
        ledger.insert("checkpoints", ("job", "body"), values, "ON CONFLICT (job) DO NOTHING")

    return [(outputs, "keep_checkpoint", keep)]


def results_of_parents_left_out() -> Patches:
    """A child hears how its parents ended, and not with what."""

    def parents_of(source: Any, job: Job) -> Any:
        return [(parent, state, b"") for parent, state, _ in dependencies.parents_of(source, job)]

    return [(assignment, "parents_of", parents_of)]
