"""Broken variants of what follows a word of a worker or client: leases, results, retries, cancels."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from headrace_server.core import facts, lifecycle, retry
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.runtime import cycle
from headrace_server.store.attempts import inputs, outputs, workers
from headrace_server.store.attempts import leases as attempts
from headrace_server.store.jobs import cancel as cancelling
from simulation import server as servers

Patches = list[tuple[Any, str, Any]]
"""What is put in place: of what, which attribute, and what instead."""

_held = attempts.held
_decide = retry.decide_after_failure
_fold_lost = lifecycle._FOLDS[facts.AttemptLost]
_fold_failed = lifecycle._FOLDS[facts.AttemptFailed]


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


def answered_twice() -> Patches:
    """Whoever answers what an attempt has asked is taken at his word, also after somebody else."""
    return [(inputs, "_is_open", lambda job, request_id: job.state in LEASED)]


def cancel_lost() -> Patches:
    """A cancel is told only to a worker that comes back: its first word is lost, and no renewal repeats it."""

    def tell(server: Any, wanted: Any) -> None:
        """The message is lost."""

    def renewed(ledger: Any, word: Any) -> Any:
        with patch.object(workers, "wanted_of", lambda ledger, holder: ()):
            return hear(ledger, word)

    hear = workers._hear
    return [(workers, "_hear", renewed), (servers.Server, "_tell_stopped", tell)]


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
            else cancelling.cancel_by_caller(ledger, namespace, job_id, reason, actor)
        )

    from headrace_server.rpc import job_service

    return [(job_service, "cancel_by_caller", cancel)]


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


def late_hello_believed() -> Patches:
    """A hello of a stream that the worker has given up takes the place of the later one."""
    return [(workers, "_is_overtaken", lambda greeting, heard: False)]
