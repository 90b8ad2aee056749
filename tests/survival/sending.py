"""What garbage is sent with: every rpc of the contract, values that look right, and the statuses that are none of ours.

Owns no state but what was learnt of the server so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from headrace.v1 import job_pb2, job_service_pb2, queue_service_pb2, task_pb2, worker_service_pb2

FILES: Sequence[FileDescriptor] = (
    job_service_pb2.DESCRIPTOR,
    queue_service_pb2.DESCRIPTOR,
    worker_service_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
)
NOT_OURS = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})
"""A call that ends with one of these has found a fault."""

PLAUSIBLE: dict[str, Sequence[Any]] = {
    "namespace": ("", "default"),
    "queue": ("", "default"),
    "name": ("echo", "default", "q1"),
    "request_id": ("", "r1", "r2", "r3"),
    "program": ("sh", "/bin/sh"),
    "arguments": ("-c", "true"),
    "owner": ("", "me"),
    "folder": ("/tmp",),
    "executors": ("command", "handler"),
    "worker_id": ("raw",),
    "service": ("", "headrace.v1.JobService"),
    "filter": ("", "state=QUEUED", "labels.a=b", "queue=(default OR q1) AND owner=me"),
    "paths": ("max_queued", "retry_policy", "executors", "timeouts"),
    "priority": (0, 5, -100),
    "view": (0, 1, 2),
    "page_size": (0, 1, 500),
    "backoff_multiplier": (1.0, 2.0),
    "seconds": (0, 1, 5, 2**33),
    "nanos": (0, 1, 999_999_999),
    "max_attempts": (0, 1, 3),
    "output_bytes_max": (0, 100, 2**36),
    "cursor": ("",),
    "etag": ("",),
    **dict.fromkeys(
        ("dependencies", "dependency_condition", "dependency_failure_action", "dependency_cancel_action"), ()
    ),
    **dict.fromkeys(("unique_key", "on_conflict", "concurrency_key", "session_id", "environment_profile", "ref"), ()),
    **dict.fromkeys(
        ("git_worktree", "memory_bytes", "cpu_millis", "permission_prompts", "fairness", "environment"), ()
    ),
    **dict.fromkeys(("max_concurrency", "max_concurrency_per_key", "rate_limit", "rate_limit_per_key"), ()),
    **dict.fromkeys(("queue_timeout", "run_timeout", "total_timeout", "silence_timeout", "input_timeout"), ()),
    **dict.fromkeys(("max_backoff", "create_time", "update_time", "pause", "state_counts"), ()),
}


@dataclass(frozen=True, slots=True)
class Rpc:
    """One rpc in which the client sends one message."""

    name: str
    request: type[Message]
    response: type[Message]


def rpcs(*, server_streaming: bool) -> list[Rpc]:
    """Every rpc of the contract and of the health service that takes one message."""
    return [
        Rpc(
            f"{service.full_name}/{method.name}",
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
        )
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
        if not method.client_streaming and method.server_streaming is server_streaming
    ]


def command_spec(program: str = "sh") -> job_pb2.JobSpec:
    """A sound spec."""
    return job_pb2.JobSpec(command=task_pb2.CommandTask(program=program))


def handler_spec(name: str = "echo") -> job_pb2.JobSpec:
    """A sound spec."""
    return job_pb2.JobSpec(handler=task_pb2.HandlerTask(name=name))
