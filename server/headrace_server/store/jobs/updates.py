"""Changing a job that has not started: its priority, its schedule time, its labels (UpdateJob).

Its place in the queue, its deadlines, its stored spec and its labels follow in the same transaction.
"""

from collections.abc import Collection
from dataclasses import dataclass

from google.protobuf.field_mask_pb2 import FieldMask

from headrace.v1 import event_pb2, job_pb2
from headrace_server.core import facts
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.ranking import rank
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED, WAITING, JobState
from headrace_server.store.codec import time_of
from headrace_server.store.etags import stale_etag
from headrace_server.store.jobs.cancel import not_found
from headrace_server.store.jobs.submit import deadlines_of
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import QueuePolicy, policy_of
from headrace_server.store.records.audit import record_audit

UPDATABLE = ("labels", "priority", "schedule_time")


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody wants to be otherwise."""

    fields: Collection[str]
    """Of `UPDATABLE`."""
    spec: job_pb2.JobSpec
    """Holds their new values."""
    etag: str
    """Compared when not empty."""
    actor: str


def update(ledger: Ledger, namespace: str, job_id: JobId, change: Change) -> Job | Refusal:
    """Changes fields of a job that has not started."""
    job = ledger.job(job_id)
    if job is None or job.namespace != namespace:
        return not_found(job_id)
    refusal = stale_etag("Job", job_id_text(job_id), job.sequence, change.etag) or _has_started(job)
    if refusal is not None:
        return refusal
    policy = policy_of(ledger, namespace, job.queue)
    assert policy is not None, "a live job without its queue"
    spec = job_pb2.JobSpec.FromString(ledger.query("SELECT spec FROM job_specs WHERE job = ?", (job.row,))[0][0])
    earlier = dict(spec.labels)
    for name in change.fields:
        spec.ClearField(name)
    FieldMask(paths=list(change.fields)).MergeMessage(change.spec, spec)
    ledger.record(job, _fact(ledger, job, policy, spec, change))
    ledger.run("UPDATE job_specs SET spec = ? WHERE job = ?", (spec.SerializeToString(deterministic=True), job.row))
    if "labels" in change.fields:
        _store_labels(ledger, job, earlier, dict(spec.labels))
    record_audit(
        ledger, change.actor, "JobService.UpdateJob", namespace, "job", job_id_text(job_id), _detail(spec, change)
    )
    return job


def _has_started(job: Job) -> Refusal | None:
    if job.state in WAITING and not job.started:
        return None
    text = job_id_text(job.id)
    if job.state in ENDED:
        message = f"job {text} has ended as {job.state.name} and can't be changed"
        return Refusal(Reason.JOB_ENDED, message, "headrace.v1.Job", text, metadata={"state": job.state.name})
    message = f"job {text} has started and can't be changed any more"
    return Refusal(Reason.JOB_STARTED, message, "headrace.v1.Job", text, metadata={"state": job.state.name})


def _fact(ledger: Ledger, job: Job, policy: QueuePolicy, spec: job_pb2.JobSpec, change: Change) -> facts.Updated:
    head_start = int(policy.priority_head_start_seconds * SECOND)
    arrival = Micros(job.rank + job.priority * head_start)
    due, start_by, end_by, state = job.due, job.start_by, job.end_by, job.state
    if "schedule_time" in change.fields:
        wanted = time_of(spec.schedule_time)
        due = wanted if wanted > ledger.now else Micros(0)
        arrival = due or min(arrival, ledger.now)
        start_by, end_by = deadlines_of(job.timeouts, policy, max(job.created, wanted))
        if state is not JobState.BLOCKED:
            # A turn comes to wait for its worker as any that becomes due.
            due = due or (ledger.now if job.turn is not None else Micros(0))
            state = JobState.SCHEDULED if due else JobState.QUEUED
    elif state is JobState.QUEUED:
        due = Micros(0)
    body = event_pb2.JobUpdated(actor=change.actor, update_mask=FieldMask(paths=sorted(change.fields)))
    if "labels" in change.fields:
        body.spec.labels.update(spec.labels)
    return facts.Updated(
        state=state,
        due=due,
        start_by=start_by,
        end_by=end_by,
        priority=spec.priority,
        rank=rank(arrival, spec.priority, head_start),
        body=body.SerializeToString(),
    )


def _store_labels(ledger: Ledger, job: Job, earlier: dict[str, str], wanted: dict[str, str]) -> None:
    for label, value in earlier.items() - wanted.items():
        ledger.run(
            "DELETE FROM job_labels WHERE namespace = ? AND label = ? AND value = ? AND job = ?",
            (job.namespace, label, value, job.row),
        )
    added = [(job.namespace, label, value, job.row) for label, value in wanted.items() - earlier.items()]
    ledger.insert("job_labels", ("namespace", "label", "value", "job"), sorted(added))


def _detail(spec: job_pb2.JobSpec, change: Change) -> str:
    texts = {
        "labels": "labels: " + (", ".join(f"{key}={value}" for key, value in sorted(spec.labels.items())) or "none"),
        "priority": f"priority: {spec.priority}",
        "schedule_time": "schedule_time: "
        + (spec.schedule_time.ToJsonString() if spec.HasField("schedule_time") else "none"),
    }
    return "; ".join(texts[name] for name in sorted(change.fields))
