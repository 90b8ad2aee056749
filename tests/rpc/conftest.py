"""A real aio server on a Unix socket, with whatever servicer a test brings."""

import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from headrace.v1 import job_service_pb2, job_service_pb2_grpc, worker_service_pb2, worker_service_pb2_grpc
from headrace_server.core.limits import PRINCIPAL_STREAMS_COUNT_MAX
from headrace_server.rpc.admission import DEFAULT_CAPS, Admission, CallClass
from headrace_server.rpc.health import Health
from headrace_server.rpc.pipeline import Check, Pipeline
from headrace_server.rpc.server import Service, build_server, listen_unix
from headrace_server.rpc.telemetry import Telemetry

JOBS = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
WORKERS = worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"]
DETAIL_CLASSES = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.QuotaFailure,
    error_details_pb2.RetryInfo,
    error_details_pb2.ResourceInfo,
    error_details_pb2.PreconditionFailure,
)


@dataclass(frozen=True, slots=True)
class Serving:
    """A server that runs, and a channel to it."""

    server: grpc.aio.Server
    channel: grpc.aio.Channel
    admission: Admission
    health: Health

    @property
    def jobs(self) -> Any:
        return job_service_pb2_grpc.JobServiceStub(self.channel)

    @property
    def workers(self) -> Any:
        return worker_service_pb2_grpc.WorkerServiceStub(self.channel)


Serve = Callable[..., AbstractAsyncContextManager[Serving]]


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Short enough for a socket, whatever the temporary folder of the run is called."""
    with tempfile.TemporaryDirectory(prefix="hr") as folder:
        yield Path(folder, "s")


@pytest.fixture
def serve(socket_path: Path) -> Serve:
    """Serves `servicer` as JobService and WorkerService."""

    @asynccontextmanager
    async def serving(
        servicer: object,
        checks: Mapping[str, Check] | None = None,
        caps: Mapping[CallClass, int] | None = None,
        telemetry: Telemetry | None = None,
        with_channelz: bool = False,
        principal_streams_max: int = PRINCIPAL_STREAMS_COUNT_MAX,
    ) -> AsyncIterator[Serving]:
        admission = Admission(caps or DEFAULT_CAPS, principal_streams_max)
        numbers = itertools.count(1)
        pipeline = Pipeline(admission, checks or {}, lambda: f"made-{next(numbers)}", telemetry)
        health = Health([JOBS.full_name])
        services = [Service(JOBS, servicer), Service(WORKERS, servicer, streams=CallClass.WORKER_LANE)]
        server = build_server(pipeline, services, health, with_channelz=with_channelz)
        listen_unix(server, socket_path)
        await server.start()
        options = [("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.insecure_channel(f"unix:{socket_path}", options=options)
        try:
            yield Serving(server, channel, admission, health)
        finally:
            await channel.close(None)
            await server.stop(0)

    return serving


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client sees of a call that failed."""

    code: grpc.StatusCode
    message: str
    details: dict[str, Message]
    request_id: str
    details_bytes: int

    @property
    def info(self) -> Any:
        return self.details["ErrorInfo"]


def unpack(details: bytes) -> dict[str, Message]:
    """The details of a serialised `google.rpc.Status`, by short name."""
    found: dict[str, Message] = {}
    for packed in status_pb2.Status.FromString(details).details:
        for detail_class in DETAIL_CLASSES:
            if packed.Is(detail_class.DESCRIPTOR):
                detail = detail_class()
                packed.Unpack(detail)
                found[detail_class.DESCRIPTOR.name] = detail
    return found


async def _read_all(call: Any) -> None:
    async for _ in call:
        pass


async def _failure_of(call: Any) -> Failure:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (_read_all(call) if hasattr(call, "read") else call)
    error = caught.value
    trailers: dict[str, Any] = dict(error.trailing_metadata() or ())  # type: ignore[arg-type]  # pairs, say the stubs not
    details: bytes = trailers.get("grpc-status-details-bin", b"")
    return Failure(
        code=error.code(),
        message=error.details() or "",
        details=unpack(details),
        request_id=trailers.get("x-request-id", ""),
        details_bytes=len(details),
    )


@pytest.fixture
def failure_of() -> Callable[[Any], Any]:
    """Awaits a call that has to fail, and says how it did."""
    return _failure_of


@pytest.fixture
def unpacked() -> Callable[[bytes], dict[str, Message]]:
    """Unpacks the details of a status."""
    return unpack
