"""Cancelling jobs (C1, C2)."""

from collections.abc import Iterable

from headrace_server.core import facts
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import CancelCause, Cancellation, Job, Usage
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED, WAITING, JobState
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit


def cancel(
    ledger: Ledger,
    namespace: str,
    job_id: JobId,
    reason: str,
    actor: str,
    cause: CancelCause = CancelCause.REQUESTED,
) -> Job | Refusal:
    """Cancels a job: at once when it has not started, else it is CANCELLING until its worker has ended it."""
    job = ledger.job(job_id)
    if job is None or job.namespace != namespace:
        return not_found(job_id)
    cancellation = Cancellation(reason, actor, ledger.now, cause)
    if job.state in WAITING:
        ledger.record(job, facts.Cancelled(cancellation, Usage()))
    elif job.state in ENDED and job.state is not JobState.CANCELLED:
        return Refusal(
            Reason.JOB_ENDED,
            f"job {job_id_text(job_id)} has ended as {job.state.name} and can't be cancelled",
            "headrace.v1.Job",
            job_id_text(job_id),
            metadata={"state": job.state.name},
        )
    elif job.state not in (JobState.CANCELLING, JobState.CANCELLED):
        ledger.record(job, facts.CancelRequested(cancellation))
    return job


def cancel_by_caller(ledger: Ledger, namespace: str, job_id: JobId, reason: str, actor: str) -> Job | Refusal:
    """Cancels a job because somebody asked for it; a cancel that changes something is audited."""
    before = ledger.job(job_id)
    changes = before is not None and before.state not in ENDED and before.state is not JobState.CANCELLING
    answer = cancel(ledger, namespace, job_id, reason, actor)
    if changes and isinstance(answer, Job):
        detail = f"reason: {reason}" if reason else ""
        record_audit(ledger, actor, "JobService.CancelJob", namespace, "job", job_id_text(job_id), detail)
    return answer


def cancel_each(
    ledger: Ledger, namespace: str, job_ids: Iterable[JobId], reason: str, actor: str
) -> list[tuple[JobId, Job | Refusal]]:
    """Cancels many jobs, each on its own."""
    ids = list(job_ids)
    ledger.jobs(ids)  # All at once: each alone would be a statement.
    return [(job_id, cancel_by_caller(ledger, namespace, job_id, reason, actor)) for job_id in ids]


def not_found(job_id: JobId) -> Refusal:
    """There is no such job in the namespace."""
    text = job_id_text(job_id)
    return Refusal(Reason.NOT_FOUND, f"there is no job {text}", "headrace.v1.Job", text)
