"""The rules of a worker's hello: who it is, what it can run, what it still holds."""

import re

from headrace.v1 import worker_service_pb2
from headrace_server.core import limits
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.rpc.validate_task import absolute_folder
from headrace_server.rpc.violations import (
    Rules,
    Violations,
    anything,
    at_least_zero,
    check_fields,
    each,
    job_id,
    labels,
    message_of,
    pattern,
    text,
    worker_id,
)

PROTOCOL_VERSION = 1
NAMES_COUNT_MAX = 1000
HELD_COUNT_MAX = 10_000

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
}
HOST_RESOURCES: Rules = dict.fromkeys(("memory_bytes", "memory_available_bytes", "cpu_millis"), at_least_zero)
LEASE: Rules = {
    "job_id": job_id,
    "attempt": at_least_zero,
    "epoch": at_least_zero,
    "generation": at_least_zero,
}
HELLO: Rules = {
    "worker_id": worker_id,
    "incarnation": text(limits.WORKER_ID_CHARACTERS_MAX),
    "protocol_version": anything,
    "slots": at_least_zero,
    "capabilities": message_of(CAPABILITIES),
    "host_resources": message_of(HOST_RESOURCES),
    "held": each(message_of(LEASE), HELD_COUNT_MAX),
    "host": _name,
    "version": _name,
}


def check_hello(hello: worker_service_pb2.WorkerHello) -> Refusal | None:
    """Why a worker may not connect. A protocol that is not spoken comes first: nothing else of it can be judged."""
    if hello.protocol_version != PROTOCOL_VERSION:
        message = f"protocol version {hello.protocol_version} is not spoken here; {PROTOCOL_VERSION} is"
        metadata = {"protocol_version": str(PROTOCOL_VERSION)}
        return Refusal(Reason.UNSUPPORTED_PROTOCOL, message, metadata=metadata)
    violations = Violations()
    for field in ("worker_id", "incarnation"):
        if not getattr(hello, field):
            violations.add(f"hello.{field}", "is required")
    check_fields(hello, HELLO, "hello.", violations)
    return violations.refusal()
