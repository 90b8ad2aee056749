"""The floors, as a client sees them: the same calls as the rows make, to the bare server of `floor_server`."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc

from benchmark.figures import Calls
from benchmark.following import Followed, Follower, opened_followers
from benchmark.load import crowd, paced, synced_writes
from benchmark.processes import Child, Processes
from benchmark.system import open_channel, stub
from headrace.v1 import job_service_pb2, worker_service_pb2, worker_service_pb2_grpc

SYNCED_COUNT = 200
PROGRAM = ["-m", "benchmark.floor_server"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A floor, for the list under the table."""

    what: str
    value: float
    unit: str


@dataclass(slots=True)
class Floors:
    """The bare server, and what was measured of it."""

    processes: Processes
    server: Child
    address: str
    channel: grpc.aio.Channel
    disk: Calls
    """Appends of 4 KiB with fdatasync, in the folder where the data lies."""
    measured: list[Measured] = field(default_factory=list)

    async def disk_now(self) -> Calls:
        """The disk as it is just now, for a row that waits for it."""
        return await asyncio.to_thread(synced_writes, self.processes.folder, SYNCED_COUNT)

    def note(self, what: str, value: float, unit: str) -> None:
        """Remembers a floor."""
        self.measured.append(Measured(what, value, unit))

    @property
    def echo_call(self) -> Any:
        """SubmitJob that sends back what it got."""
        return self.channel.unary_unary(
            "/headrace.v1.JobService/SubmitJob",
            request_serializer=job_service_pb2.SubmitJobRequest.SerializeToString,
            response_deserializer=job_service_pb2.SubmitJobRequest.FromString,
        )

    async def echo(
        self, requests: Iterable[job_service_pb2.SubmitJobRequest], callers: int, seconds: float, deadline: float
    ) -> Calls:
        """Unary calls of a crowd."""
        call = self.echo_call
        return await crowd(lambda request: call(request, timeout=deadline), requests, callers, seconds)

    async def paced_echo(
        self, requests: Iterable[job_service_pb2.SubmitJobRequest], gap: float, deadline: float
    ) -> Calls:
        """Unary calls of one caller at a pace."""
        call = self.echo_call
        return await paced(lambda request: call(request, timeout=deadline), requests, gap)

    async def bulk(
        self, requests: list[job_service_pb2.SubmitJobsRequest], callers: int, seconds: float, deadline: float
    ) -> Calls:
        """SubmitJobs calls that are read and answered."""
        jobs = stub(self.channel)
        return await crowd(lambda request: jobs.SubmitJobs(request, timeout=deadline), requests, callers, seconds)

    async def stream(self, events: int, per_page: int, event_bytes: int, followers: int = 1) -> list[Followed]:
        """Streams of pages, to so many followers at once."""
        request = stream_request(events, per_page, event_bytes)
        opened = [await Follower(stub(self.channel), request).open() for _ in range(followers)]
        return list(await asyncio.gather(*(one.read() for one in opened)))

    async def beats(self, events: int, event_bytes: int, gap: float, followers: int) -> list[Followed]:
        """Streams of one event every `gap` seconds, to so many followers at once, on connections as a row has them."""
        request = stream_request(events, 1, event_bytes, gap)
        async with opened_followers(self.address, request, followers) as opened:
            return list(await asyncio.gather(*(one.read(stamped=True) for one in opened)))

    async def lane(self, jobs: int, slots: int) -> float:
        """Assignments and finishes on a bare control lane; returns the seconds that it took."""
        connect: Any = worker_service_pb2_grpc.WorkerServiceStub(self.channel).Connect
        call = connect()
        hello = worker_service_pb2.WorkerHello(worker_id=str(jobs), slots=slots)
        started = time.monotonic()
        await call.write(worker_service_pb2.ConnectRequest(hello=hello))
        finished = 0
        while finished < jobs:
            message = await call.read()
            answer = worker_service_pb2.ConnectRequest()
            for assignment in message.assignments:
                answer.starts.add().lease.CopyFrom(assignment.lease)
                finish = answer.finishes.add()
                finish.lease.CopyFrom(assignment.lease)
                finish.succeeded.SetInParent()
            finished += len(message.assignments)
            await call.write(answer)
        seconds = time.monotonic() - started
        call.cancel()
        return seconds

    async def start_seconds(self) -> float:
        """From the start of a bare server's process to its first answer."""
        async with self.processes.ending_what_starts():
            started = time.monotonic()
            server = await self.processes.start("floor", PROGRAM)
            async with open_channel(await server.line(), alone=True) as connection:
                await stub(connection).SubmitJob(job_service_pb2.SubmitJobRequest())
            return time.monotonic() - started


def stream_request(events: int, per_page: int, event_bytes: int, gap: float = 0.0) -> job_service_pb2.WatchJobRequest:
    """What `floor_server.stream` is asked; no events: a stream that stays silent; a gap: one event so often."""
    wanted = {"events": events, "events_per_page": per_page, "event_bytes": event_bytes, "gap": gap}
    return job_service_pb2.WatchJobRequest(cursor=json.dumps(wanted))


@contextlib.asynccontextmanager
async def floors(processes: Processes) -> AsyncIterator[Floors]:
    """The bare server, for as long as the block runs."""
    disk = synced_writes(processes.folder, SYNCED_COUNT)
    server = await processes.start("floor", PROGRAM)
    address = await server.line()
    async with open_channel(address) as connection:
        made = Floors(processes, server, address, connection, disk)
        made.note("fdatasync of 4 KiB, p50", disk.millis(50), "ms")
        made.note("fdatasync of 4 KiB, p99", disk.millis(99), "ms")
        yield made
