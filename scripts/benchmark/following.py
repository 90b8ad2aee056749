"""Reading a follow stream as a client does, and what came of it. The same for ours and for the floor."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark.processes import ProcessFailed
from benchmark.stamps import age
from benchmark.system import open_channel, stub
from headrace.v1 import event_pb2, job_service_pb2

if TYPE_CHECKING:
    from headrace.v1.job_service_pb2_grpc import JobServiceAsyncStub

FOLLOWERS_PER_CONNECTION_COUNT = 250
READ_SECONDS = 120.0
"""A stream that says nothing for so long is broken; heartbeats come more often."""


@dataclass(slots=True)
class Followed:
    """What one follower received."""

    pages: int = 0
    events: int = 0
    first: float = 0.0
    last: float = 0.0
    """When the first and the last page came."""
    sequence: int = 0
    holes: int = 0
    """Pages that did not begin right after the page before; the floor's all do not."""
    output_bytes: int = 0
    deliveries: list[float] = field(default_factory=list)
    """From the worker's stamp to here, in seconds, where they were asked for."""
    digest: str = ""


class Follower:
    """One WatchJob stream: opened first, read when the row says so."""

    def __init__(self, jobs: "JobServiceAsyncStub", request: job_service_pb2.WatchJobRequest) -> None:
        self._call: Any = jobs.WatchJob(request)
        self.followed = Followed()

    async def open(self) -> "Follower":
        """Waits for the first message, and reads no more."""
        message = await self._read()
        if message is None or not message.HasField("opened"):
            raise ProcessFailed("a follow stream did not open")
        return self

    async def read(self, *, stamped: bool = False, digested: bool = False) -> Followed:
        """Reads to the end of the stream. Raises ProcessFailed when it is cut."""
        total = hashlib.blake2b(digest_size=16)
        while True:
            message = await self._read()
            if message is None:
                raise ProcessFailed("a follow stream was cut")
            if message.HasField("end"):
                break
            if message.HasField("batch"):
                now = time.monotonic()
                self._count(message.batch.events, now)
                if stamped:
                    self._stamp(message.batch.events, now)
                if digested:
                    for data in _chunks(message.batch.events):
                        total.update(data)
                        self.followed.output_bytes += len(data)
        self.followed.digest = total.hexdigest()
        return self.followed

    def cancel(self) -> None:
        """Closes the stream."""
        self._call.cancel()

    async def _read(self) -> job_service_pb2.WatchJobResponse | None:
        async with asyncio.timeout(READ_SECONDS):
            message = await self._call.read()
        return message if isinstance(message, job_service_pb2.WatchJobResponse) else None

    def _count(self, events: Sequence[event_pb2.Event], now: float) -> None:
        followed = self.followed
        if not followed.pages:
            followed.first = now
        followed.last = now
        followed.pages += 1
        followed.events += len(events)
        last = events[-1].sequence
        followed.holes += events[0].sequence != followed.sequence + 1 or last != followed.sequence + len(events)
        followed.sequence = last

    def _stamp(self, events: Sequence[event_pb2.Event], now: float) -> None:
        for data in _chunks(events):
            self.followed.deliveries.append(age(data, now))


def _chunks(events: Sequence[event_pb2.Event]) -> list[bytes]:
    return [event.output.chunk.data for event in events if event.WhichOneof("kind") == "output"]


def watch_request(job_id: str) -> job_service_pb2.WatchJobRequest:
    """Follows a job from its beginning."""
    return job_service_pb2.WatchJobRequest(job_id=job_id)


@contextlib.asynccontextmanager
async def opened_followers(
    address: str, request: job_service_pb2.WatchJobRequest, count: int
) -> AsyncIterator[list[Follower]]:
    """So many followers that are open and read nothing yet, some hundreds on a connection; closed with the block."""
    async with contextlib.AsyncExitStack() as stack:
        opened: list[Follower] = []
        for first in range(0, count, FOLLOWERS_PER_CONNECTION_COUNT):
            channel = await stack.enter_async_context(open_channel(address, alone=True))
            here = min(FOLLOWERS_PER_CONNECTION_COUNT, count - first)
            opened += [await Follower(stub(channel), request).open() for _ in range(here)]
        try:
            yield opened
        finally:
            for one in opened:
                one.cancel()
