"""A submitted spec as the job that the store is asked to take: defaults filled in, needs read out, payload
fingerprinted."""

import hashlib

from headrace.v1 import job_pb2
from headrace_server.core.ids import Micros
from headrace_server.core.limits import OUTPUT_BYTES_MAX_DEFAULT
from headrace_server.core.placement import Needs
from headrace_server.core.timeouts import NONE_STATED
from headrace_server.store.codec import time_of
from headrace_server.store.queue_policy import DEFAULT_QUEUE, timeouts_of
from headrace_server.store.submit import NewJob

DEFAULT_NAMESPACE = "default"
_FINGERPRINT_VERSION = b"\x01"


def new_job(namespace: str, request_id: str, spec: job_pb2.JobSpec, actor: str, traceparent: str) -> NewJob:
    """What the store is asked to take. The spec was checked before; its `queue` and `owner` are filled in by this. An
    empty namespace means `default`."""
    spec.queue = spec.queue or DEFAULT_QUEUE
    spec.owner = spec.owner or actor
    # Map entries are sorted, so equal payloads have equal bytes.
    body = spec.SerializeToString(deterministic=True)
    return NewJob(
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
        timeouts=timeouts_of(spec.timeouts) if spec.HasField("timeouts") else NONE_STATED,
    )


def _fingerprint(body: bytes) -> bytes:
    """Of the fields that are set (S2); versioned, so that another way to compute it never takes one for the other."""
    return _FINGERPRINT_VERSION + hashlib.blake2b(body, digest_size=16).digest()


def _needs(spec: job_pb2.JobSpec) -> Needs:
    kind = spec.WhichOneof("task")
    assert kind is not None, "a spec without a task passed validation"
    capability = ""
    if kind == "handler":
        capability = spec.handler.name
    elif kind == "command":
        capability = spec.command.program
    labels = tuple(sorted(spec.placement.required_labels.items())) if spec.HasField("placement") else ()
    return Needs(kind, capability, labels)
