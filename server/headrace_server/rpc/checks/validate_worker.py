"""The rules of a lane's first message: who the worker is, what it can run, what it still holds."""

import re

from headrace.v1 import worker_service_pb2
from headrace_server.core import limits
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.rpc.checks.validate_task import absolute_folder
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    anything,
    at_least_zero,
    between,
    check_fields,
    duration,
    each,
    enum,
    job_id,
    labels,
    message_of,
    pattern,
    text,
    timestamp,
    worker_id,
)

PROTOCOL_VERSION = 1
NAMES_COUNT_MAX = 1000
HELD_COUNT_MAX = 10_000
SLOTS_COUNT_MAX = 10_000
INCARNATION_CHARACTERS_MAX = 64

_name = text(limits.KEY_CHARACTERS_MAX)
_executor = pattern(
    re.compile(r"[a-z][a-z0-9_]{0,62}"), "1 to 63 characters of a-z, 0-9 and _, beginning with a letter"
)

CAPABILITIES: Rules = {
    "executors": each(_executor, NAMES_COUNT_MAX),
    "labels": labels,
    "programs": each(_name, NAMES_COUNT_MAX),
    "handlers": each(_name, NAMES_COUNT_MAX),
    "workspace_roots": each(absolute_folder, NAMES_COUNT_MAX),
    "claude_version": _name,
    "claude_simulated": anything,
    "sessions_max": at_least_zero,
    "environment_profiles": each(_name, NAMES_COUNT_MAX),
}
HOST_RESOURCES: Rules = dict.fromkeys(
    ("memory_bytes", "memory_available_bytes", "cpu_millis", "cpu_available_millis"), at_least_zero
)
LEASE: Rules = {
    "job_id": job_id,
    "attempt": at_least_zero,
    "epoch": at_least_zero,
    "generation": at_least_zero,
}
HELD_LEASE: Rules = {"lease": message_of(LEASE), "phase": enum(worker_service_pb2.HeldPhase), "dirty": anything}
SESSION_PROCESS: Rules = {
    "process_id": at_least_zero,
    "memory_bytes": at_least_zero,
    "folder": absolute_folder,
    "start_time": timestamp,
    "busy": anything,
}
HELD_SESSION: Rules = {
    "session_id": job_id,
    "binding_epoch": at_least_zero,
    "process": message_of(SESSION_PROCESS),
}
KEPT_SESSIONS_COUNT_MAX = 100
RESPONSE_CACHE: Rules = {
    "entries": at_least_zero,
    "size_bytes": at_least_zero,
    "hits": at_least_zero,
    "misses": at_least_zero,
    "oldest_time": timestamp,
    "newest_time": timestamp,
    "stores": at_least_zero,
    "evictions": at_least_zero,
    "shared": at_least_zero,
}
RENEWAL: Rules = {
    "counter": at_least_zero,
    "held": each(message_of(HELD_LEASE), HELD_COUNT_MAX),
    "handled_message_number": at_least_zero,
    "host_resources": message_of(HOST_RESOURCES),
    "draining": anything,
    "sessions": each(message_of(HELD_SESSION), HELD_COUNT_MAX),
    "response_cache": message_of(RESPONSE_CACHE),
    "kept_session_ids": each(job_id, KEPT_SESSIONS_COUNT_MAX),
}
HELLO: Rules = {
    "worker_id": worker_id,
    "incarnation": text(INCARNATION_CHARACTERS_MAX),
    "reattach": anything,
    "protocol_version": anything,
    "slots": between(1, SLOTS_COUNT_MAX),
    "capabilities": message_of(CAPABILITIES),
    "host_resources": message_of(HOST_RESOURCES),
    "host": _name,
    "version": _name,
}
DRAIN: Rules = {"worker_id": worker_id, "wanted": enum(worker_service_pb2.WantedWorker), "grace": duration}
OPEN: Rules = {
    "worker_id": worker_id,
    "incarnation": text(INCARNATION_CHARACTERS_MAX),
    "connection_id": _name,
}


def check_connect(request: worker_service_pb2.ConnectRequest) -> Refusal | None:
    """Why a control lane can't begin with this message.

    A protocol that is not spoken comes first: nothing else of the message can be judged.
    """
    violations = Violations()
    if not request.HasField("hello"):
        violations.add("hello", "is required in the first message")
        return violations.refusal()
    hello = request.hello
    if hello.protocol_version != PROTOCOL_VERSION:
        return _unspoken(hello.protocol_version)
    for field in ("worker_id", "incarnation", "slots"):
        if not getattr(hello, field):
            violations.add(f"hello.{field}", "is required")
    if hello.ByteSize() > limits.HELLO_BYTES_MAX:
        violations.add("hello", f"has {hello.ByteSize()} bytes; at most {limits.HELLO_BYTES_MAX} are allowed")
    check_fields(hello, HELLO, "hello.", violations)
    if not request.HasField("renewal"):
        violations.add("renewal", "is required in the first message")
    check_fields(request.renewal, RENEWAL, "renewal.", violations)
    return violations.refusal()


def check_open(request: worker_service_pb2.StreamOutputRequest) -> Refusal | None:
    """Why a data lane can't begin with this message."""
    violations = Violations()
    if not request.HasField("open"):
        violations.add("open", "is required in the first message")
        return violations.refusal()
    for field in ("worker_id", "incarnation", "connection_id"):
        if not getattr(request.open, field):
            violations.add(f"open.{field}", "is required")
    check_fields(request.open, OPEN, "open.", violations)
    return violations.refusal()


def check_drain(request: worker_service_pb2.DrainWorkerRequest) -> Refusal | None:
    """Why a worker can't be drained as asked."""
    violations = Violations()
    if not request.worker_id:
        violations.add("worker_id", "is required")
    if request.wanted == worker_service_pb2.WANTED_WORKER_RUN and request.HasField("grace"):
        violations.add("grace", "means nothing with RUN: nothing is drained any more")
    check_fields(request, DRAIN, "", violations)
    return violations.refusal()


def _unspoken(version: int) -> Refusal:
    message = f"protocol version {version} is not spoken here; {PROTOCOL_VERSION} is"
    return Refusal(Reason.UNSUPPORTED_PROTOCOL, message, metadata={"protocol_version": str(PROTOCOL_VERSION)})
