"""Broken variants of the system, each with one promise taken out: what a simulation is worth is how fast it tells them.

They are put in place for a run and taken out again; nothing of the system knows of them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from headrace_server.core import facts, leases, lifecycle, retry
from headrace_server.core.ids import SECOND
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.runtime import cycle, registry
from headrace_server.runtime.clock import Clock
from headrace_server.store import cancel as cancelling
from headrace_server.store import leases as attempts
from headrace_server.store import ledger as ledgers
from headrace_server.store import outputs, reads, ready, submit, workers, writer
from simulation import server as servers
from simulation import workers as simulated

Patches = list[tuple[Any, str, Any]]

_held = attempts.held
_submit_all = submit.submit_each
_apply = lifecycle.apply
_record = ledgers.Ledger.record
_window = ready.window
_decide = retry.decide_after_failure
_read_page = reads.read_page
_fold_lost = lifecycle._FOLDS[facts.AttemptLost]
_fold_failed = lifecycle._FOLDS[facts.AttemptFailed]


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The mutant is in place."""
    with ExitStack() as stack:
        for target, attribute, value in MUTANTS[name]():
            if isinstance(target, dict):
                stack.enter_context(patch.dict(target, {attribute: value}))
            else:
                stack.enter_context(patch.object(target, attribute, value))
        yield


def _with_held(held: Callable[..., Job | None]) -> Patches:
    return [(module, "held", held) for module in (attempts, workers, outputs, cycle)]


def no_epoch_check() -> Patches:
    """A word is taken from whoever holds any lease on the job."""

    def held(ledger: Any, holder: Any, lease: Any) -> Job | None:
        job: Job | None = ledger.job(lease.job_id)
        return job if job is not None and job.state in LEASED and lease.generation == ledger.generation else None

    return _with_held(held)


def no_holder_check() -> Patches:
    """A lease is compared by its epoch only when its worker is the same, in whichever incarnation."""

    def held(ledger: Any, holder: Any, lease: Any) -> Job | None:
        job: Job | None = ledger.job(lease.job_id)
        return job if job is not None and job.state in LEASED and job.worker == holder.worker else None

    return _with_held(held)


def generation_ignored() -> Patches:
    """What was granted before a restore of the store goes on."""

    def held(ledger: Any, holder: Any, lease: Any) -> Job | None:
        return _held(ledger, holder, attempts.Lease(lease.job_id, lease.epoch, ledger.generation, lease.attempt))

    class Loose(attempts.Lease):
        def __ne__(self, other: object) -> bool:
            return False

    return [*_with_held(held), (workers, "Lease", Loose)]


def finish_without_output() -> Patches:
    """A finish is taken before the output before it."""

    def finish(ledger: Any, holder: Any, word: Any) -> Any:
        job = _held(ledger, holder, word.lease)
        if job is None:
            return attempts.Disposition.STALE, 0
        return _finish(ledger, holder, _without_last(word))

    return [(workers, "finish", finish)]


_finish = attempts.finish


def _without_last(word: Any) -> Any:
    fields = {name: getattr(word, name) for name in word.__dataclass_fields__}
    return attempts.Finish(**{**fields, "last_producer_sequence": 0, "last_report_number": 0})


def own_end_fails_the_job() -> Patches:
    """An attempt that its worker ended for its lease is taken for a failure of its job."""

    def finish(ledger: Any, holder: Any, word: Any) -> Any:
        with patch.object(attempts, "lose", lambda ledger, job, reason: fail(ledger, job, word.failed, word.usage)):
            return _finish(ledger, holder, word)

    fail = attempts._fail_attempt
    return [(workers, "finish", finish)]


def cancel_lost() -> Patches:
    """A cancel is told only to a worker that comes back: its first word is lost, and no renewal repeats it."""

    async def tell(server: Any, job: Job) -> None:
        """The message is lost."""

    return [(workers, "cancelling_of", lambda ledger, holder: ()), (servers.Server, "_tell_cancelling", tell)]


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


def output_not_deduplicated() -> Patches:
    """What was sent again is appended again."""

    def append(ledger: Any, batch: Any) -> Any:
        job = _held(ledger, batch.holder, batch.lease)
        if job is None:
            return outputs.Appended(0, stale=True)
        attempts.start(ledger, job)
        for output in batch.outputs:
            outputs._append_one(ledger, job, output)
        return outputs.Appended(job.producer_sequence, stale=False, sequence=job.sequence)

    return [(outputs, "_append", append)]


def one_attempt_too_many() -> Patches:
    """`max_attempts` counts retries."""

    def decide(attempt: Any, policy: Any, chance: float) -> Any:
        fields = {name: getattr(attempt, name) for name in attempt.__dataclass_fields__}
        return _decide(retry.EndedAttempt(**{**fields, "failures": attempt.failures - 1}), policy, chance)

    return [(attempts, "decide_after_failure", decide)]


def cancelled_retried() -> Patches:
    """A job that is being cancelled and fails is tried again."""

    def fold(job: Job, fact: Any, now: Any) -> None:
        if job.state is JobState.CANCELLING:
            job.state = JobState.RUNNING
        _fold_failed(job, fact, now)

    def fail(ledger: Any, job: Job, failure: Any, usage: Any) -> None:
        decision = retry.Decision(retry.RetryAction.RETRY, "once more", 1.0)
        ledger.record(job, facts.AttemptFailed(failure, usage, decision, ledger.now + 1))

    return [(lifecycle._FOLDS, facts.AttemptFailed, fold), (attempts, "_fail_attempt", fail)]  # type: ignore[list-item]  # a key


def loss_counted_as_failure() -> Patches:
    """A worker's death burns an attempt of the job's own."""

    def fold(job: Job, fact: Any, now: Any) -> None:
        _fold_lost(job, fact, now)
        job.failures += 1

    return [(lifecycle._FOLDS, facts.AttemptLost, fold)]  # type: ignore[list-item]  # a key


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

    def window(ledger: Any, key: Any, count: int) -> list[Any]:
        found = _window(ledger, key, count)
        return found + found[:1]

    twice = frozenset({JobState.QUEUED, JobState.ASSIGNED})
    return [(ready, "window", window), (lifecycle.ALLOWED, facts.Assigned, twice)]  # type: ignore[list-item]  # a key


def ended_twice() -> Patches:
    """A result that is said again ends the job again."""

    def held(ledger: Any, holder: Any, lease: Any) -> Job | None:
        job: Job | None = _held(ledger, holder, lease)
        if job is None:
            known = ledger.job(lease.job_id)
            again = known is not None and known.state is JobState.SUCCEEDED and known.epoch == lease.epoch
            return known if again else None
        return job

    allowed = {facts.Succeeded: frozenset({JobState.RUNNING, JobState.WAITING_INPUT, JobState.SUCCEEDED})}
    return [(attempts, "held", held), *((lifecycle.ALLOWED, fact, states) for fact, states in allowed.items())]  # type: ignore[list-item]  # a key


def cancelled_starts() -> Patches:
    """A cancel of a job that waits leaves it in the window."""

    def cancel(ledger: Any, namespace: str, job_id: Any, reason: str, actor: str) -> Any:
        job = ledger.job(job_id)
        return (
            job
            if job is not None and job.state not in ENDED
            else cancelling.cancel(ledger, namespace, job_id, reason, actor)
        )

    from headrace_server.rpc import job_service

    return [(job_service, "cancel", cancel)]


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


def returning_worker_keeps_all() -> Patches:
    """A worker that comes back keeps leases that it does not name."""
    leased_by = workers.leased_by

    def of_others(ledger: Any, worker: str) -> Any:
        current = ledger.look_up("SELECT incarnation FROM workers WHERE worker = ?", (worker,))
        return [job for job in leased_by(ledger, worker) if job.incarnation != current[0][0]]

    def lose_worker(ledger: Any, holder: Any, reason: str) -> int:
        with patch.object(workers, "leased_by", leased_by):
            return original(ledger, holder, reason)

    original = workers.lose_worker
    return [(workers, "leased_by", of_others), (cycle, "lose_worker", lose_worker)]


def restart_ends_leases() -> Patches:
    """A restarted node does not watch who held a lease before."""
    return [(servers.Server, "_watch_leases", _watch_nobody)]


async def _watch_nobody(server: Any) -> None:
    return None


def reader_skips() -> Patches:
    """A page that is full leaves one event out."""

    def read_page(connection: Any, row: int, after: int, bytes_max: int, count_max: int, **named: Any) -> Any:
        page = _read_page(connection, row, after, bytes_max, count_max, **named)
        return reads.Page(page.events[:1] + page.events[2:], page.last_sequence, page.ended)

    return [(reads, "read_page", read_page)]


def promotion_forgotten() -> Patches:
    """Nobody looks when the next job becomes due."""
    return [(ready, "promote_due", lambda ledger: 0)]


def worker_ignores_its_clock() -> Patches:
    """A worker goes on past the end of its lease, and so do its keepers."""

    def look_at_clock(worker: Any) -> None:
        if worker._connected and worker.around.now() >= worker._next_renewal:
            worker.renew()

    return [(simulated.Worker, "look_at_clock", look_at_clock), (simulated.Worker, "trees_end", lambda worker: None)]


def worker_starts_after_its_lease() -> Patches:
    """A worker that was frozen acts on assignments from before, on a stream that outlived its lease."""
    return [(simulated.Worker, "drop_stream_at_lease_end", False)]


MUTANTS: dict[str, Callable[[], Patches]] = {
    mutant.__name__: mutant
    for mutant in (
        no_epoch_check,
        no_holder_check,
        generation_ignored,
        finish_without_output,
        own_end_fails_the_job,
        cancel_lost,
        unconfirmed_requeued,
        wall_clock_lease,
        impatient_lease,
        position_gap,
        sequence_gap,
        output_not_deduplicated,
        one_attempt_too_many,
        cancelled_retried,
        loss_counted_as_failure,
        request_id_forgotten,
        event_without_fold,
        granted_twice,
        ended_twice,
        cancelled_starts,
        queue_bound_of_each_submit,
        answered_before_commit,
        rolled_back_remembered,
        absent_forgotten,
        returning_worker_keeps_all,
        restart_ends_leases,
        reader_skips,
        promotion_forgotten,
        worker_ignores_its_clock,
        worker_starts_after_its_lease,
    )
}
"""By name."""
