"""Cancelling jobs (C1, C2)."""

from headrace_server.core import facts
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import CancelCause, Cancellation, Job, Usage
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED, WAITING, JobState
from headrace_server.store.ledger import Ledger


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


def not_found(job_id: JobId) -> Refusal:
    """There is no such job in the namespace."""
    text = job_id_text(job_id)
    return Refusal(Reason.NOT_FOUND, f"there is no job {text}", "headrace.v1.Job", text)
