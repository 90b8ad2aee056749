"""Making a new job from one that has ended (R4): its lineage is kept, and there is one live retry at most."""

import hashlib
from dataclasses import replace

from headrace.v1 import job_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import Job, Origin
from headrace_server.core.refusal import Reason, Refusal, Violation
from headrace_server.core.states import ENDED
from headrace_server.store.codec import time_of
from headrace_server.store.jobs.cancel import not_found
from headrace_server.store.jobs.dependencies import known_ends
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.planning import repeated
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit

_FINGERPRINT_VERSION = b"\x02"
"""Never that of a spec: a retry and a submit with the same `request_id` are different calls."""


def retry(
    ledger: Ledger, namespace: str, job_id: JobId, request_id: str, actor: str, traceparent: str
) -> Accepted | Refusal:
    """Submits the spec of an ended job once more. Its unique key and the bound of its queue count as for any submit."""
    fingerprint = _FINGERPRINT_VERSION + hashlib.blake2b(job_id, digest_size=16).digest()
    earlier = repeated(ledger, namespace, request_id, fingerprint)
    if earlier is not None:
        return earlier
    job = ledger.job(job_id)
    if job is None or job.namespace != namespace:
        return not_found(job_id)
    refusal = _not_ended(job) or _live_retry(ledger, job) or _said_by_nobody(job)
    if refusal is not None:
        return refusal
    spec = job_pb2.JobSpec.FromString(ledger.query("SELECT spec FROM job_specs WHERE job = ?", (job.row,))[0][0])
    if spec.HasField("schedule_time") and time_of(spec.schedule_time) <= ledger.now:
        spec.ClearField("schedule_time")
    new = replace(
        new_job(namespace, request_id, spec, actor, traceparent),
        fingerprint=fingerprint,
        origin=Origin(retry_of=job.id),
        known_ends=known_ends(ledger, job) if job.dependent else None,
    )
    (answer,) = submit_each(ledger, [new])
    if isinstance(answer, Accepted) and not answer.deduplicated:
        ledger.insert("retries", ("origin", "job"), [(job.row, answer.job.row)])
        detail = f"made job {job_id_text(answer.job.id)}"
        record_audit(ledger, actor, "JobService.RetryJob", namespace, "job", job_id_text(job_id), detail)
    return answer


def _not_ended(job: Job) -> Refusal | None:
    return None if job.state in ENDED else not_ended(job, "retried")


def not_ended(job: Job, what: str) -> Refusal:
    """The refusal of what can be done to an ended job only."""
    text = job_id_text(job.id)
    message = f"job {text} is {job.state.name}; it can be {what} once it has ended"
    return Refusal(Reason.JOB_NOT_ENDED, message, "headrace.v1.Job", text, metadata={"state": job.state.name})


def _said_by_nobody(job: Job) -> Refusal | None:
    if job.turn is None or not job.turn.background:
        return None
    what = "is a turn that the CLI began by itself; it can't be begun again"
    return Refusal(Reason.INVALID_FIELD, f"job_id {what}", violations=(Violation("job_id", what),))


def _live_retry(ledger: Ledger, job: Job) -> Refusal | None:
    found = ledger.query(
        "SELECT jobs.id FROM retries JOIN jobs ON jobs.job = retries.job WHERE origin = ? AND jobs.state < 20",
        (job.row,),
    )
    if not found:
        return None
    text = job_id_text(JobId(bytes(found[0][0])))
    message = f"job {text} is a retry of it that has not ended"
    return Refusal(Reason.RETRY_LIVE, message, "headrace.v1.Job", text)
