"""A Headrace of its own for one row: a control plane on a fresh data folder, its workers, and a connection to it."""

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

import headrace
from benchmark.processes import Child, Processes, ProcessFailed
from benchmark.worker_program import WORKER_ID
from headrace import channel
from headrace.v1 import (
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    queue_pb2,
    queue_service_pb2_grpc,
)

SERVES = "headrace serves on "
QUEUE = "bench"
MAX_QUEUED = 10_000_000
CALL_SECONDS = 60.0
CONNECT_SECONDS = 30.0
BULK_COUNT = 500

if TYPE_CHECKING:
    from headrace.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from headrace.v1.queue_service_pb2_grpc import QueueServiceAsyncStub


def open_channel(address: str, *, alone: bool = False) -> grpc.aio.Channel:
    """A channel as the client makes it; `alone`: on a connection of its own."""
    where = channel.parse_address(address)
    options = [*channel.options(where), ("grpc.use_local_subchannel_pool", int(alone))]
    return grpc.aio.insecure_channel(where.target, options=options)


def stub(connection: grpc.aio.Channel) -> "JobServiceAsyncStub":
    """The generated stub, without the client around it: rows measure the server and not our Python client."""
    return job_service_pb2_grpc.JobServiceStub(connection)


@dataclass(slots=True)
class System:
    """What a row works with."""

    processes: Processes
    server: Child
    address: str
    data: Path
    client: headrace.AsyncClient
    jobs: "JobServiceAsyncStub"
    queues: "QueueServiceAsyncStub"

    async def start_worker(self, slots: int, tell_at: int = 0) -> Child:
        """A worker with the handlers of `worker_program`; it may still be connecting."""
        data = self.data / f"worker-{time.monotonic_ns()}"
        arguments = ["-m", "benchmark.worker_program", self.address, str(slots), str(data), str(tell_at)]
        return await self.processes.start("worker", arguments)

    async def start_command_worker(self, program: str) -> Child:
        """A worker that may run one program."""
        arguments = ["-m", "headrace_worker", "--server", self.address, "--slots", "4", "--id", WORKER_ID]
        arguments += ["--data", str(self.data / "commands"), "--allow-command", program, "--claude", "none"]
        return await self.processes.start("worker", [*arguments, "--drain-seconds", "0"])

    async def submit(self, spec: job_pb2.JobSpec) -> str:
        """Submits one job; returns its id."""
        job = await self.client.submit(spec, queue=QUEUE)
        return job.id

    async def fill(self, handler: str, count: int) -> None:
        """Queues so many jobs. Raises ProcessFailed when one is refused."""
        for request in bulk_requests(handler, f"fill-{time.monotonic_ns()}", count):
            await self.send_bulk(request)

    async def send_bulk(self, request: job_service_pb2.SubmitJobsRequest) -> None:
        """Submits many jobs in one call. Raises ProcessFailed when one is refused."""
        response = await self.jobs.SubmitJobs(request, timeout=CALL_SECONDS)
        refused = [result.error.message for result in response.results if result.HasField("error")]
        if refused:
            raise ProcessFailed(f"{len(refused)} jobs of a call were refused: {refused[0]}")

    async def count(self, state: job_pb2.JobState) -> int:
        """How many jobs of the queue are in a state."""
        queue = await self.client.queues.get(QUEUE)
        return next((one.count for one in queue.state_counts if one.state == state), 0)

    async def wait_result(self, job_id: str) -> headrace.Outcome:
        """How a job ended. Raises what the client raises when it did not succeed."""
        return await self.client.job(job_id).result()


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts systems, under a profile when one is wanted."""

    processes: Processes
    profiles: Path | None

    @contextlib.asynccontextmanager
    async def system(self) -> AsyncIterator[System]:
        """A control plane on an empty folder, with one queue that takes as much as there is; ended with the block."""
        # A short path, so that the server's socket fits into it and goes with it.
        data = Path(tempfile.mkdtemp(prefix="data", dir=self.processes.folder))
        async with self.processes.ending_what_starts():
            server, address = await self.start_server(data, "127.0.0.1:0")
            connection = open_channel(address)
            client = headrace.AsyncClient(connection, address=address, deadline_seconds=CALL_SECONDS)
            async with client:
                await client.queues.create(queue_pb2.Queue(name=QUEUE, max_queued=MAX_QUEUED))
                queues = queue_service_pb2_grpc.QueueServiceStub(connection)
                yield System(self.processes, server, address, data, client, stub(connection), queues)

    async def start_server(self, data: Path, listen: str) -> tuple[Child, str]:
        """A control plane on a folder, and its address, once it serves."""
        options = ["--data", str(data), "--listen", listen, "--no-worker", "--log-level", "warning"]
        program = ["-m", "headrace_server"]
        if self.profiles is not None:
            program = ["-m", "benchmark.profiled_server", str(self.profiles / str(time.monotonic_ns()))]
        server = await self.processes.start("server", [*program, *options])
        line = await server.line()
        if not line.startswith(SERVES):
            raise ProcessFailed(f"the server said {line!r}{server.last_words()}")
        return server, line.removeprefix(SERVES).split()[0]


def handler_spec(handler: str) -> job_pb2.JobSpec:
    """A job for a handler, without input."""
    return headrace.spec(headrace.handler(handler), queue=QUEUE)


def bulk_requests(handler: str, name: str, count: int) -> list[job_service_pb2.SubmitJobsRequest]:
    """SubmitJobs calls for so many jobs; no two with the same request id, as long as the name is another."""
    return bulk_requests_of(handler_spec(handler), name, count)


def bulk_requests_of(spec: job_pb2.JobSpec, name: str, count: int) -> list[job_service_pb2.SubmitJobsRequest]:
    """The same, for any job."""
    return [
        job_service_pb2.SubmitJobsRequest(
            items=[
                job_service_pb2.SubmitJobsItem(request_id=f"{name}-{number:032d}", spec=spec)
                for number in range(first, min(count, first + BULK_COUNT))
            ]
        )
        for first in range(0, count, BULK_COUNT)
    ]


def submit_requests(handler: str, name: str) -> Iterator[job_service_pb2.SubmitJobRequest]:
    """SubmitJob calls without end, each with a request id of its own."""
    spec = handler_spec(handler)
    number = 0
    while True:
        number += 1
        yield job_service_pb2.SubmitJobRequest(request_id=f"{name}-{number:032d}", spec=spec)
