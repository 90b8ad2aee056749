"""What a unary call is made of, and the stubs that it runs on. Knows nothing of any single rpc."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from headrace.v1 import (
    admin_service_pb2_grpc,
    event_service_pb2_grpc,
    job_service_pb2_grpc,
    queue_service_pb2_grpc,
    schedule_service_pb2_grpc,
    session_service_pb2_grpc,
    worker_service_pb2_grpc,
)

Value = TypeVar("Value")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Stubs:
    """The generated stubs over one channel, of either kind."""

    jobs: Any
    queues: Any
    schedules: Any
    workers: Any
    admin: Any
    events: Any
    sessions: Any


def stubs(channel: Any) -> Stubs:
    """The stubs of a channel, blocking or asyncio."""
    return Stubs(
        jobs=job_service_pb2_grpc.JobServiceStub(channel),
        queues=queue_service_pb2_grpc.QueueServiceStub(channel),
        schedules=schedule_service_pb2_grpc.ScheduleServiceStub(channel),
        workers=worker_service_pb2_grpc.WorkerServiceStub(channel),
        admin=admin_service_pb2_grpc.AdminServiceStub(channel),
        events=event_service_pb2_grpc.EventServiceStub(channel),
        sessions=session_service_pb2_grpc.SessionServiceStub(channel),
    )


@dataclass(frozen=True, slots=True)
class Call(Generic[Value]):
    """A unary call: `method(stubs)` takes the request, `read` makes the caller's value of the response."""

    method: Callable[[Stubs], Any]
    request: Any
    read: Callable[[Any], Value]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of a list; an empty token is the only end."""

    items: Sequence[Item]
    next_page_token: str


def new_request_id() -> str:
    """A fresh id, which makes it safe to send a submit again."""
    return str(uuid.uuid4())
