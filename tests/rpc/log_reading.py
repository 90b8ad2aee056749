"""A store with followers of its jobs: streams that keep what they are sent."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.v1 import event_pb2, watch_pb2
from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.rpc.checks.validation import CHECKS
from headrace_server.rpc.streams.follow import Following, follow
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.log_pages import LogPages
from headrace_server.runtime.registry import Registry
from headrace_server.store.sqlite import SqliteEngine
from rpc.feed_reading import Watched
from store.driving import HOME

Written = Callable[[pb.WatchJobResponse], Awaitable[None]]


class Stream:
    """The side of a call that a stream writes to; `written` may do something after each message."""

    def __init__(self, written: Written | None = None) -> None:
        self.messages: list[pb.WatchJobResponse] = []
        self._written = written

    async def write(self, message: Any) -> None:
        response = pb.WatchJobResponse.FromString(message) if isinstance(message, bytes) else message
        self.messages.append(response)
        if self._written is not None:
            await self._written(response)

    @property
    def cursor(self) -> str:
        """The last one."""
        return self.messages[-1].cursor

    def kinds(self) -> list[str | None]:
        return [message.WhichOneof("kind") for message in self.messages]

    def events(self) -> list[event_pb2.Event]:
        return [event for message in self.messages for event in message.batch.events]

    def sequences(self) -> list[int]:
        return [event.sequence for event in self.events()]

    def gaps(self) -> list[watch_pb2.WatchGap]:
        return [message.gap for message in self.messages if message.HasField("gap")]

    def ended(self) -> watch_pb2.EndReason:
        return self.messages[-1].end.reason


class Node:
    """A store, and what the followers of its jobs share."""

    def __init__(self, folder: Path, heartbeat_seconds: float = 5.0) -> None:
        self.bench = Watched(SqliteEngine(folder))
        self.feed = Feed()
        self.bench.observers.append(lambda effects: self.feed.wake(effects.changed))
        store, clock = self.bench.store, self.bench.clock
        self.draining = asyncio.Event()
        self.logs = LogPages(store, self.feed, clock)
        self.all = Following(
            store, self.feed, Deltas(), Registry(30.0), clock, self.draining, heartbeat_seconds, self.logs
        )
        self.holder = HOME

    def request(self, job_id: JobId, **wanted: Any) -> pb.WatchJobRequest:
        request = pb.WatchJobRequest(job_id=job_id_text(job_id), **wanted)
        assert CHECKS[pb.WatchJobRequest.DESCRIPTOR.full_name](request) is None
        return request

    async def streamed(self, job_id: JobId, written: Written | None = None, **wanted: Any) -> Stream:
        """Follows to the end."""
        stream = Stream(written)
        await asyncio.wait_for(follow(self.all, self.request(job_id, **wanted), stream), 30)  # type: ignore[arg-type]  # as a Call
        return stream

    def read(self, job_id: JobId, written: Written | None = None, **wanted: Any) -> Stream:
        """What is there now."""
        return self.bench.run(self.streamed(job_id, written, no_follow=True, **wanted))

    def read_all(self, *jobs: JobId, **wanted: Any) -> list[Stream]:
        """The same for several followers at once."""

        async def each() -> list[Stream]:
            return await asyncio.gather(*(self.streamed(job_id, no_follow=True, **wanted) for job_id in jobs))

        return self.bench.run(each())


def said(kind: str, sequence: int, data: bytes = b"x") -> event_pb2.Output:
    """A piece of output of a kind that readers choose."""
    output = event_pb2.Output(producer_sequence=sequence)
    if kind == "stdout":
        output.chunk.stream, output.chunk.data = event_pb2.OUTPUT_STREAM_STDOUT, data
    elif kind == "stderr":
        output.chunk.stream, output.chunk.data = event_pb2.OUTPUT_STREAM_STDERR, data
    elif kind == "messages":
        output.claude.raw_json = "{}"
    else:
        output.progress.done = sequence
    return output


def numbers_of(outputs: Sequence[event_pb2.Event]) -> list[int]:
    """The producer sequences of events of output."""
    return [event.output.producer_sequence for event in outputs if event.HasField("output")]
