"""A scripted server for the client's tests: real grpc.aio on a Unix socket; each WatchJob plays the next script."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from headrace.v1 import event_pb2, job_pb2, job_service_pb2, job_service_pb2_grpc, watch_pb2

Script = Callable[[job_service_pb2.WatchJobRequest, Any], Awaitable[None]]


@dataclass
class FakeJobs(job_service_pb2_grpc.JobServiceServicer):
    """Plays scripts; remembers every request."""

    scripts: list[Script] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def _answer(self, method: str, request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.asked.set()
        answer = self.answers[method]
        return await answer(request, context) if callable(answer) else answer

    async def SubmitJob(self, request: Any, context: Any) -> Any:
        return await self._answer("SubmitJob", request, context)

    async def SubmitJobs(self, request: Any, context: Any) -> Any:
        return await self._answer("SubmitJobs", request, context)

    async def GetJob(self, request: Any, context: Any) -> Any:
        return await self._answer("GetJob", request, context)

    async def ListJobs(self, request: Any, context: Any) -> Any:
        return await self._answer("ListJobs", request, context)

    async def CancelJob(self, request: Any, context: Any) -> Any:
        return await self._answer("CancelJob", request, context)

    async def CancelJobs(self, request: Any, context: Any) -> Any:
        return await self._answer("CancelJobs", request, context)

    async def WatchJob(self, request: Any, context: Any) -> None:  # type: ignore[override]  # writes to its context
        self.requests.append(request)
        self.asked.set()
        await self.scripts.pop(0)(request, context)


class Make:
    """Messages and scripts, in few words."""

    JOB_ID = "0199b3a0-0000-7000-8000-000000000001"

    def job(self, state: job_pb2.JobState = job_pb2.JOB_STATE_RUNNING, **more: Any) -> job_pb2.Job:
        return job_pb2.Job(id=self.JOB_ID, state=state, **more)

    def event(self, sequence: int, data: bytes = b"x") -> event_pb2.Event:
        chunk = event_pb2.Chunk(stream=event_pb2.OUTPUT_STREAM_STDOUT, data=data)
        return event_pb2.Event(job_id=self.JOB_ID, sequence=sequence, output=event_pb2.Output(chunk=chunk))

    def opened(self, cursor: str = "", job: job_pb2.Job | None = None) -> job_service_pb2.WatchJobResponse:
        return job_service_pb2.WatchJobResponse(cursor=cursor, opened=watch_pb2.WatchOpened(job=job or self.job()))

    def batch(self, *sequences: int, data: bytes = b"x") -> job_service_pb2.WatchJobResponse:
        events = [self.event(sequence, data) for sequence in sequences]
        return job_service_pb2.WatchJobResponse(cursor=f"c{sequences[-1]}", batch=watch_pb2.EventBatch(events=events))

    def gap(
        self, first: int, last: int, reason: watch_pb2.GapReason = watch_pb2.GAP_REASON_RETENTION
    ) -> job_service_pb2.WatchJobResponse:
        gap = watch_pb2.WatchGap(from_sequence=first, to_sequence=last, reason=reason)
        return job_service_pb2.WatchJobResponse(cursor=f"c{last}", gap=gap)

    def end(
        self,
        reason: watch_pb2.EndReason = watch_pb2.END_REASON_JOB_ENDED,
        job: job_pb2.Job | None = None,
        cursor: str = "end",
    ) -> job_service_pb2.WatchJobResponse:
        end = watch_pb2.WatchEnd(reason=reason, job=job or self.job(job_pb2.JOB_STATE_SUCCEEDED))
        return job_service_pb2.WatchJobResponse(cursor=cursor, end=end)

    def says(self, *messages: job_service_pb2.WatchJobResponse) -> Script:
        """A stream that says these and then ends with OK: a cut when there is no `end` among them."""

        async def script(request: Any, context: Any) -> None:
            for message in messages:
                await context.write(message)

        return script

    def breaks(self, *messages: job_service_pb2.WatchJobResponse) -> Script:
        """A stream that says these and then fails as a proxy does: UNAVAILABLE without details."""

        async def script(request: Any, context: Any) -> None:
            for message in messages:
                await context.write(message)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset by peer")

        return script

    def refuses(self, code: grpc.StatusCode, message: str, *details: Message) -> Script:
        """A handler that refuses with a status and its details."""

        async def script(request: Any, context: Any) -> None:
            packed = []
            for detail in details:
                one = Packed()
                one.Pack(detail)
                packed.append(one)
            status = status_pb2.Status(code=code.value[0], message=message, details=packed)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            await context.abort(code, message)

        return script

    def reason(self, name: str, **metadata: str) -> error_details_pb2.ErrorInfo:
        return error_details_pb2.ErrorInfo(reason=name, domain="headrace", metadata=metadata)


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="hr"))
    yield folder
    shutil.rmtree(folder)


Serving = Callable[[FakeJobs], AbstractAsyncContextManager[str]]


@pytest.fixture
def serving(short_folder: Path) -> Serving:
    """`async with serving(jobs) as address`: a real server for the fake."""

    @asynccontextmanager
    async def serve(jobs: FakeJobs) -> AsyncIterator[str]:
        server = grpc.aio.server()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
        address = f"unix:{short_folder / 's'}"
        server.add_insecure_port(address)
        await server.start()
        try:
            yield address
        finally:
            await server.stop(None)

    return serve


@pytest.fixture
def fake_jobs() -> type[FakeJobs]:
    return FakeJobs
