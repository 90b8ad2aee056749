"""A submitted spec as the job that the store is asked to take: defaults filled in, needs read out, payload fingerprinted."""

import hashlib

from headrace.v1 import job_pb2
from headrace_server.core.ids import Micros
from headrace_server.core.limits import OUTPUT_BYTES_MAX_DEFAULT
from headrace_server.core.placement import Needs
from headrace_server.rpc.call import Call
from headrace_server.store.codec import time_of
from headrace_server.store.queues import DEFAULT_QUEUE
from headrace_server.store.submit import NewJob

DEFAULT_NAMESPACE = "default"
_FINGERPRINT_VERSION = b"\x01"


def namespace_of(text: str) -> str:
    """The namespace of a request; empty means `default`."""
    return text or DEFAULT_NAMESPACE


def new_job(namespace: str, request_id: str, spec: job_pb2.JobSpec, call: Call) -> NewJob:
    """What the store is asked to take. The spec was checked before; it is changed by this."""
    fingerprint = _fingerprint(spec)
    spec.queue = spec.queue or DEFAULT_QUEUE
    spec.owner = spec.owner or call.principal
    return NewJob(
        namespace=namespace_of(namespace),
        request_id=request_id,
        fingerprint=fingerprint,
        spec=spec.SerializeToString(),
        queue=spec.queue,
        owner=spec.owner,
        needs=_needs(spec),
        priority=spec.priority,
        schedule_time=time_of(spec.schedule_time) if spec.HasField("schedule_time") else Micros(0),
        output_bytes_max=spec.output_bytes_max or OUTPUT_BYTES_MAX_DEFAULT,
        labels=tuple(sorted(spec.labels.items())),
        actor=call.principal,
        traceparent=call.traceparent,
    )


def _fingerprint(spec: job_pb2.JobSpec) -> bytes:
    """Of the fields that are set, as the client sent them (S2). Map entries are sorted, so equal payloads are equal."""
    body = spec.SerializeToString(deterministic=True)
    return _FINGERPRINT_VERSION + hashlib.blake2b(body, digest_size=16).digest()


def _needs(spec: job_pb2.JobSpec) -> Needs:
    kind = spec.WhichOneof("task")
    assert kind is not None, "a spec without a task passed validation"
    capability = {"command": spec.command.program, "handler": spec.handler.name}.get(kind, "")
    return Needs(kind, capability, tuple(sorted(spec.placement.required_labels.items())))
