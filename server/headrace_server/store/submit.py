"""Accepting jobs (S1–S5, S7, S8): keys, job and first event in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from headrace_server.core import facts
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import PLAIN, Job, Origin
from headrace_server.core.placement import Needs
from headrace_server.core.ranking import rank
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.core.timeouts import NONE_STATED, Timeouts
from headrace_server.store.errors import FULL_RETRY_SECONDS
from headrace_server.store.ledger import Ledger
from headrace_server.store.queue_policy import QueuePolicy, policy_of

QUEUE_FULL_RETRY_SECONDS = 5.0


class UniqueKeyConflict(IntEnum):
    """What happens to a submit whose unique key is taken; numbers are those of `UniqueKeyConflict` in job.proto."""

    REFUSE = 1
    RETURN_EXISTING = 2
    REPLACE_WAITING = 3


@dataclass(slots=True)
class NewJob:
    """A job that somebody wants to submit, checked as far as that goes without the store. Never changed; not frozen,
    because tens of thousands are made a second."""

    namespace: str
    request_id: str
    fingerprint: bytes
    """Of the payload (S2)."""
    spec: bytes
    """The `JobSpec` with defaults filled in."""
    queue: str
    owner: str
    needs: Needs
    priority: int
    schedule_time: Micros
    output_bytes_max: int
    labels: tuple[tuple[str, str], ...]
    actor: str
    traceparent: str = ""
    concurrency_key: str = ""
    unique_key: str = ""
    on_conflict: UniqueKeyConflict = UniqueKeyConflict.REFUSE
    dependencies: tuple[JobId | str, ...] = ()
    """Jobs by id, or items of the same call by their `ref`."""
    ref: str = ""
    """By which other items of the call may depend on this one."""
    queue_timeout: int | None = None
    """Microseconds; None leaves it to the queue, zero sets none."""
    total_timeout: int | None = None
    """The same."""
    timeouts: Timeouts = NONE_STATED
    """As the spec states them: those of an attempt are asked when it starts."""
    origin: Origin = PLAIN


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is in the store."""

    job: Job
    deduplicated: bool


def submit_each(ledger: Ledger, submits: Sequence[NewJob]) -> list[Accepted | Refusal]:
    """Accepts or refuses each job on its own."""
    known = _known_requests(ledger, submits)
    policies: dict[tuple[str, str], QueuePolicy | None] = {}
    room: dict[tuple[str, str], int] = {}
    requests: list[tuple[str, str, bytes, JobId]] = []
    results: list[Accepted | Refusal] = []
    for new in submits:
        earlier = known.get((new.namespace, new.request_id)) if new.request_id else None
        if earlier is not None:
            results.append(_deduplicated(ledger, new, *earlier))
            continue
        refusal = _refusal(ledger, new, policies, room)
        if refusal is not None:
            results.append(refusal)
            continue
        policy = policies[new.namespace, new.queue]
        assert policy is not None
        job = _create(ledger, new, policy)
        room[new.namespace, new.queue] -= 1
        if new.request_id:
            known[new.namespace, new.request_id] = (new.fingerprint, job.id)
            requests.append((new.namespace, new.request_id, new.fingerprint, job.id))
        results.append(Accepted(job, deduplicated=False))
    ledger.insert("requests", ("namespace", "request_id", "fingerprint", "id"), requests)
    return results


def check_each(ledger: Ledger, submits: Sequence[NewJob]) -> list[Refusal | None]:
    """What `submit_each` would refuse; stores nothing (S8). An item that would be deduplicated is not refused."""
    known = _known_requests(ledger, submits)
    claimed: dict[tuple[str, str], bytes] = {}
    policies: dict[tuple[str, str], QueuePolicy | None] = {}
    room: dict[tuple[str, str], int] = {}
    checked: list[Refusal | None] = []
    for new in submits:
        request = (new.namespace, new.request_id)
        earlier = known.get(request) if new.request_id else None
        if earlier is not None:
            checked.append(None if earlier[0] == new.fingerprint else _reused(new, earlier[1]))
            continue
        if request in claimed:
            checked.append(None if claimed[request] == new.fingerprint else _reused(new, None))
            continue
        refusal = _refusal(ledger, new, policies, room)
        if refusal is None:
            room[new.namespace, new.queue] -= 1
            if new.request_id:
                claimed[request] = new.fingerprint
        checked.append(refusal)
    return checked


def submit_all(ledger: Ledger, submits: Sequence[NewJob]) -> Sequence[Accepted | Refusal | None]:
    """Accepts every job, or stores nothing: then the answer has each refusal at the place of its job, and None
    elsewhere."""
    checked = check_each(ledger, submits)
    if any(refusal is not None for refusal in checked):
        return checked
    return submit_each(ledger, submits)


def _known_requests(ledger: Ledger, submits: Sequence[NewJob]) -> dict[tuple[str, str], tuple[bytes, JobId]]:
    known: dict[tuple[str, str], tuple[bytes, JobId]] = {}
    by_namespace: dict[str, list[str]] = {}
    for new in submits:
        if new.request_id:
            by_namespace.setdefault(new.namespace, []).append(new.request_id)
    for namespace, request_ids in by_namespace.items():
        # The number of marks is rounded up to a power of two, so that few statements are ever prepared.
        padded = request_ids + [""] * ((1 << (len(request_ids) - 1).bit_length()) - len(request_ids))
        marks = ",".join("?" * len(padded))
        found = ledger.look_up(
            f"SELECT request_id, fingerprint, id FROM requests WHERE namespace = ? AND request_id IN ({marks})",
            (namespace, *padded),
        )
        for request_id, fingerprint, job_id in found:
            known[namespace, request_id] = (bytes(fingerprint), JobId(bytes(job_id)))
    return known


def _refusal(
    ledger: Ledger,
    new: NewJob,
    policies: dict[tuple[str, str], QueuePolicy | None],
    room: dict[tuple[str, str], int],
) -> Refusal | None:
    name = (new.namespace, new.queue)
    if name not in policies:
        policies[name] = policy_of(ledger, *name)
        policy = policies[name]
        room[name] = policy.max_queued - ledger.waiting_count(*name) if policy is not None else 0
    policy = policies[name]
    if policy is None:
        return Refusal(
            Reason.NOT_FOUND,
            f"there is no queue {new.queue!r} in namespace {new.namespace!r}",
            "headrace.v1.Queue",
            new.queue,
        )
    if policy.executors and new.needs.executor not in policy.executors:
        return Refusal(
            Reason.NOT_SUPPORTED,
            f"queue {new.queue!r} takes {', '.join(sorted(policy.executors))} tasks, not {new.needs.executor}",
            "headrace.v1.Queue",
            new.queue,
            metadata={"field": f"spec.{new.needs.executor}"},
        )
    if ledger.disk_is_low:
        message = "the disk of the store is nearly full; what is left is kept for jobs that were accepted already"
        return Refusal(Reason.DISK_FULL, message, retry_after_seconds=FULL_RETRY_SECONDS, metadata={"scope": "server"})
    if room[name] <= 0:
        return Refusal(
            Reason.QUEUE_FULL,
            f"queue {new.queue!r} holds {policy.max_queued} jobs that wait, which is its max_queued",
            "headrace.v1.Queue",
            new.queue,
            retry_after_seconds=QUEUE_FULL_RETRY_SECONDS,
            metadata={"max_queued": str(policy.max_queued)},
        )
    return None


def _deduplicated(ledger: Ledger, new: NewJob, fingerprint: bytes, job_id: JobId) -> Accepted | Refusal:
    if fingerprint != new.fingerprint:
        return _reused(new, job_id)
    job = ledger.job(job_id)
    assert job is not None, "a request without its job"
    return Accepted(job, deduplicated=True)


def _reused(new: NewJob, job_id: JobId | None) -> Refusal:
    text = "" if job_id is None else job_id_text(job_id)
    owner = f"job {text}" if text else "an earlier item"
    message = f"request_id {new.request_id!r} belongs to {owner}, which has another payload"
    return Refusal(Reason.REQUEST_ID_REUSED, message, "headrace.v1.Job", text)


def _create(ledger: Ledger, new: NewJob, policy: QueuePolicy) -> Job:
    row, job_id = ledger.next_job()
    waits = new.schedule_time > ledger.now
    arrival = new.schedule_time if waits else ledger.now
    job = Job(
        row=row,
        id=job_id,
        namespace=new.namespace,
        queue=new.queue,
        owner=new.owner,
        key=ledger.key_of(new.namespace, new.queue, new.needs, new.owner, new.concurrency_key),
        rank=rank(arrival, new.priority, int(policy.priority_head_start_seconds * SECOND)),
        priority=new.priority,
        created=ledger.now,
        output_bytes_max=new.output_bytes_max,
        slots=new.needs.resources.slots,
        concurrency_key=new.concurrency_key,
        timeouts=new.timeouts,
    )
    state = JobState.SCHEDULED if waits else JobState.QUEUED
    first = facts.Submitted(state, new.actor, new.schedule_time if waits else Micros(0), origin=new.origin)
    ledger.create(job, first, spec=new.spec, traceparent=new.traceparent, request_id=new.request_id, labels=new.labels)
    return job
