"""A control plane, a worker and clients with wires between them, and what readers at the ends of those have heard.

Owns the processes' parts and what is said; which faults there are, and what has to hold, is for the tests to say.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import headrace
from headrace.v1 import event_pb2, event_service_pb2, watch_pb2
from headrace.worker import HandlerContext, Worker
from survival.served import Served
from survival.wire import Wire, wire

DEADLINE_SECONDS = 30.0
HEARTBEAT_SECONDS = 0.5
RENEWAL_SECONDS = 0.3
WAITING = "waiting"
"""A handler that nobody has: its jobs are events of the feed and nothing more."""


class Heard:
    """What one reader was handed, in order, over any number of streams."""

    def __init__(self) -> None:
        self.places: list[int] = []
        """Sequences of a job's log, or positions of the feed."""
        self.data = bytearray()
        self.kinds: list[str] = []
        self.breaks = 0
        self._news = asyncio.Condition()

    async def read(self, stream: Any) -> None:
        """Reads to the end."""
        async with stream:
            async for item in stream:
                async with self._news:
                    self._take(item)
                    self._news.notify_all()

    def _take(self, item: object) -> None:
        match item:
            case event_pb2.Event():
                assert item.sequence == len(self.places) + 1, "a hole or a repeat"
                self.places.append(item.sequence)
                self.data += item.output.chunk.data
                self.kinds.append(item.WhichOneof("kind") or "")
            case event_service_pb2.FeedEvent():
                assert item.event.position > (self.places or [0])[-1], "a repeat"
                self.places.append(item.event.position)
            case watch_pb2.WatchGap() | event_service_pb2.FeedGap():
                raise AssertionError("nothing was removed")
            case headrace.follow.Reconnecting():
                self.breaks += 1

    async def until(self, condition: Callable[["Heard"], bool]) -> None:
        """Waits until it has heard enough."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._news:
            await self._news.wait_for(lambda: condition(self))


class Speaker:
    """What a handler writes: so many numbered lines each time that it is told to."""

    def __init__(self) -> None:
        self._wanted: asyncio.Queue[int] = asyncio.Queue()
        self.lines = 0
        """That it was told to write."""
        self.runs = 0

    async def speak(self, input: dict[str, Any], context: HandlerContext) -> int:
        self.runs += 1
        written = 0
        while count := await self._wanted.get():
            for _ in range(count):
                written += 1
                await context.write(b"%d\n" % written)
        return written

    def say(self, lines: int) -> None:
        """Has it write so many lines more."""
        self.lines += lines
        self._wanted.put_nowait(lines)

    def end(self) -> None:
        """Has it return."""
        self._wanted.put_nowait(0)

    @property
    def said(self) -> bytes:
        return b"".join(b"%d\n" % number for number in range(1, self.lines + 1))


class Network:
    """Everything that a test has: a job whose handler speaks, and clients near the server and far from it."""

    def __init__(self, near: headrace.AsyncClient, far: headrace.AsyncClient, wire: Wire, worker_wire: Wire) -> None:
        self.near = near
        self.far = far
        self.wire = wire
        """Between the server and the far client."""
        self.worker_wire = worker_wire
        self.speaker = Speaker()
        self.job = near.job("")
        self.submitted = 0

    async def submit(self, count: int) -> None:
        """Adds events to the feed."""
        self.submitted += count
        await self.near.submit_many([headrace.item(headrace.handler(WAITING)) for _ in range(count)])

    def has_all_lines(self, heard: Heard) -> bool:
        return heard.data == self.speaker.said

    async def finish(self) -> headrace.Outcome:
        """Ends the job."""
        self.speaker.end()
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.job.result()


@asynccontextmanager
async def network(folder: Path) -> AsyncIterator[Network]:
    """A server of its own, a worker at the end of a wire with the job that speaks, and two clients."""
    async with AsyncExitStack() as stack:
        served = Served(folder / "data", heartbeat_seconds=HEARTBEAT_SECONDS, renewal_seconds=RENEWAL_SECONDS)
        await asyncio.to_thread(served.__enter__)
        stack.push_async_exit(lambda *error: asyncio.to_thread(served.__exit__, *error))
        far = await stack.enter_async_context(wire(served.target))
        to_worker = await stack.enter_async_context(wire(served.target))
        made = Network(
            await stack.enter_async_context(headrace.connect(served.target)),
            await stack.enter_async_context(headrace.connect(far.address)),
            far,
            to_worker,
        )
        worker = Worker(to_worker.address, slots=1, id="w", data=folder / "worker", drain_seconds=1.0)
        worker.handler("speak")(made.speaker.speak)
        await stack.enter_async_context(worker.running())
        made.job = await made.near.submit(headrace.handler("speak"))
        async with asyncio.timeout(DEADLINE_SECONDS), made.job.events() as events:
            async for event in events:
                if isinstance(event, event_pb2.Event) and event.HasField("attempt_started"):
                    break
        yield made
