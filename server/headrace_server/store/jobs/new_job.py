"""A submitted spec as the job that the store is asked to take: defaults filled in, needs read out, payload
fingerprinted."""

import hashlib
import posixpath
from functools import lru_cache

from headrace.v1 import job_pb2, task_pb2
from headrace_server.core.capacity import domain_name
from headrace_server.core.dependencies import CancelAction, Condition, DependencyRule, FailureAction
from headrace_server.core.ids import JobId, Micros, parse_job_id
from headrace_server.core.limits import OUTPUT_BYTES_MAX_DEFAULT
from headrace_server.core.placement import Needs
from headrace_server.core.resources import ONE_SLOT, Resources
from headrace_server.core.timeouts import NONE_STATED
from headrace_server.store.codec import time_of
from headrace_server.store.jobs.submission import NewJob, UniqueKeyConflict
from headrace_server.store.queueing.queue_policy import DEFAULT_QUEUE, timeouts_of

DEFAULT_NAMESPACE = "default"
_FINGERPRINT_VERSION = b"\x01"


def new_job(
    namespace: str, request_id: str, spec: job_pb2.JobSpec, actor: str, traceparent: str, ref: str = ""
) -> NewJob:
    """What the store is asked to take. The spec was checked before; its `queue` and `owner` are filled in by this, but
    for a turn, whose session has them. An empty namespace means `default`; by its `ref` other items of the call may
    depend on it."""
    session_id = parse_job_id(spec.claude.session_id) if spec.claude.session_id else None
    if session_id is None:
        spec.queue = spec.queue or DEFAULT_QUEUE
        spec.owner = spec.owner or actor
    # Map entries are sorted, so equal payloads have equal bytes.
    body = spec.SerializeToString(deterministic=True)
    new = NewJob(
        namespace=namespace or DEFAULT_NAMESPACE,
        request_id=request_id,
        fingerprint=_fingerprint(body) if request_id else b"",
        spec=body,
        queue=spec.queue,
        owner=spec.owner,
        needs=_needs(spec),
        priority=spec.priority,
        schedule_time=time_of(spec.schedule_time) if spec.HasField("schedule_time") else Micros(0),
        output_bytes_max=spec.output_bytes_max or OUTPUT_BYTES_MAX_DEFAULT,
        labels=tuple(sorted(spec.labels.items())) if spec.labels else (),
        actor=actor,
        traceparent=traceparent,
        concurrency_key=spec.concurrency_key,
        folder=_own_folder(spec.claude.workspace) if spec.HasField("claude") else "",
        ref=ref,
        timeouts=timeouts_of(spec.timeouts) if spec.HasField("timeouts") else NONE_STATED,
        session_id=session_id,
    )
    if spec.HasField("unique_key"):
        new.unique_key = spec.unique_key.key
        new.on_conflict = UniqueKeyConflict(spec.unique_key.on_conflict or UniqueKeyConflict.REFUSE)
    if spec.dependencies:
        new.dependencies = tuple(map(_dependency, spec.dependencies))
        new.dependency_rule = _dependency_rule(spec)
    return new


def resources_of(message: job_pb2.Resources) -> Resources:
    """What a job takes; one slot when it does not say."""
    if not message.ByteSize():
        return ONE_SLOT
    return Resources(max(1, message.slots), message.memory_bytes, message.cpu_millis)


def _dependency(message: job_pb2.Dependency) -> JobId | str:
    return message.ref if message.HasField("ref") else parse_job_id(message.job_id)


def _dependency_rule(spec: job_pb2.JobSpec) -> DependencyRule:
    return DependencyRule(
        Condition(spec.dependency_condition or Condition.ALL_SUCCEEDED),
        FailureAction(spec.dependency_failure_action or FailureAction.SKIP),
        CancelAction(spec.dependency_cancel_action or CancelAction.EVALUATE),
    )


def _fingerprint(body: bytes) -> bytes:
    """Of the fields that are set (S2); versioned, so that another way to compute it never takes one for the other."""
    return _FINGERPRINT_VERSION + hashlib.blake2b(body, digest_size=16).digest()


def _own_folder(workspace: task_pb2.Workspace) -> str:
    """The given folder that a Claude job has to itself, as it is compared; no link can be followed from here."""
    if not workspace.folder or workspace.shared:
        return ""
    # Two slashes at the beginning would be kept.
    return posixpath.normpath("/" + workspace.folder.lstrip("/"))


def _needs(spec: job_pb2.JobSpec) -> Needs:
    kind = spec.WhichOneof("task")
    assert kind is not None, "a spec without a task passed validation"
    capability = ""
    if kind == "handler":
        capability = spec.handler.name
    elif kind == "command":
        capability = spec.command.program
    domain = ""
    if kind == "claude":
        capability = spec.claude.environment_profile
        domain = domain_name(capability, spec.claude.model)
    if not spec.HasField("placement"):
        return _plain_needs(kind, capability, domain)
    placement = spec.placement
    labels = tuple(sorted(placement.required_labels.items()))
    preferred = tuple(sorted(placement.preferred_labels.items()))
    return Needs(kind, capability, labels, preferred, resources_of(placement.resources), domain)


@lru_cache(maxsize=1024)
def _plain_needs(executor: str, capability: str, domain: str) -> Needs:
    """The same one each time: needs are looked up for every job, and two that are equal are slow to compare."""
    return Needs(executor, capability, domain=domain)
