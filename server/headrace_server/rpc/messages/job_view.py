"""What GetJob, WatchJob and ExplainJob read of a job, in one moment of the store, and the message made of it."""

from dataclasses import dataclass

from headrace.v1 import event_pb2, job_pb2, outcome_pb2
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.placement import Needs
from headrace_server.core.refusal import Refused
from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.rpc.messages.job_message import attempts_of, job_message
from headrace_server.runtime.explain import wait_reasons
from headrace_server.runtime.registry import Registry
from headrace_server.store.attempts.artifacts import artifacts_of
from headrace_server.store.attempts.checkpoints import read_checkpoint
from headrace_server.store.codec import number
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.cancel import not_found
from headrace_server.store.jobs.dependencies import children_of, parent_states
from headrace_server.store.queueing.waiting import Waiting, read_waiting
from headrace_server.store.records import reads
from headrace_server.store.store import Store

_LIFECYCLE_EVENTS_COUNT = 400
CHILDREN_COUNT_MAX = 100


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job with everything that a view of it needs."""

    job: Job
    spec: bytes
    needs: Needs | None
    """None of a job that has ended."""
    position: int
    waiting: Waiting
    last_event: event_pb2.Event | None
    lifecycle: tuple[event_pb2.Event, ...] = ()
    late: tuple[tuple[int, int, bytes], ...] = ()
    parents: tuple[tuple[JobId, JobState | None], ...] = ()
    children: tuple[JobId, ...] = ()
    checkpoint: bytes | None = None
    artifacts: tuple[outcome_pb2.Artifact, ...] = ()


def read_snapshot(
    connection: Connection, namespace: str, job_id: JobId, with_attempts: bool, now: Micros
) -> JobSnapshot | None:
    """Reads a job as it is now for a view, or None."""
    job = reads.get_job(connection, namespace, job_id)
    if job is None:
        return None
    return JobSnapshot(
        job=job,
        spec=reads.get_specs(connection, [job])[job.row],
        needs=reads.job_needs(connection, job) if job.state not in ENDED else None,
        position=reads.queue_position(connection, job),
        waiting=read_waiting(connection, job, now),
        last_event=reads.last_event(connection, job),
        lifecycle=tuple(reads.lifecycle_events(connection, job, _LIFECYCLE_EVENTS_COUNT)) if with_attempts else (),
        late=tuple(reads.late_results(connection, job)) if with_attempts else (),
        parents=tuple(parent_states(connection, job)) if with_attempts else (),
        children=tuple(children_of(connection, job, CHILDREN_COUNT_MAX)) if with_attempts else (),
        checkpoint=read_checkpoint(connection, job.row) if with_attempts else None,
        artifacts=tuple(artifacts_of(connection, job.row)) if with_attempts else (),
    )


async def get_snapshot(store: Store, namespace: str, job_id: JobId, *, with_attempts: bool) -> JobSnapshot:
    """Reads a job for a view. Raises Refused (NOT_FOUND)."""
    snapshot = await store.read(read_snapshot, namespace, job_id, with_attempts, store.now())
    if snapshot is None:
        raise Refused(not_found(job_id))
    return snapshot


def full_message(snapshot: JobSnapshot, registry: Registry) -> job_pb2.Job:
    """JOB_VIEW_FULL of a job."""
    message = job_message(snapshot.job, snapshot.spec, full=True)
    message.queue_position = snapshot.position
    message.wait_reasons.extend(reasons(snapshot, registry))
    message.attempts.extend(attempts_of(snapshot.lifecycle, snapshot.late))
    for parent, state in snapshot.parents:
        message.dependency_states.add(job_id=job_id_text(parent), state=number(state) if state is not None else None)
    message.dependent_job_ids.extend(map(job_id_text, snapshot.children))
    if snapshot.checkpoint is not None:
        message.checkpoint.ParseFromString(snapshot.checkpoint)
    message.artifacts.extend(snapshot.artifacts)
    _set_result(message, snapshot.last_event)
    return message


def watched_message(snapshot: JobSnapshot, registry: Registry) -> job_pb2.Job:
    """What a follower is shown when its stream opens and ends."""
    message = job_message(snapshot.job, snapshot.spec, full=True)
    if snapshot.job.state not in LEASED:
        message.queue_position = snapshot.position
        message.wait_reasons.extend(reasons(snapshot, registry))
    _set_result(message, snapshot.last_event)
    return message


def reasons(snapshot: JobSnapshot, registry: Registry) -> list[job_pb2.WaitReason]:
    """What the job waits for."""
    if snapshot.needs is None:
        return []
    return wait_reasons(snapshot.job, snapshot.needs, snapshot.position, registry, snapshot.waiting)


def _set_result(message: job_pb2.Job, last_event: event_pb2.Event | None) -> None:
    if last_event is not None and last_event.HasField("succeeded"):
        message.result.CopyFrom(last_event.succeeded.result)
