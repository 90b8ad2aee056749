"""Row `feed`: the feed of the namespace, read while jobs run and from its beginning, by one reader and by many."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.bench import Bench
from benchmark.figures import Figure, Floor
from benchmark.following import READ_SECONDS
from benchmark.processes import ProcessFailed
from benchmark.rows.handlers import SLOTS, first_and_last, wait_count
from benchmark.system import System, open_channel
from headrace.v1 import event_service_pb2 as pb
from headrace.v1 import job_pb2
from headrace.v1.event_service_pb2_grpc import EventServiceStub

if TYPE_CHECKING:
    from headrace.v1.event_service_pb2_grpc import EventServiceAsyncStub

EVENTS_OF_JOB_COUNT = 4
"""Submitted, assigned, started, succeeded."""
READERS_COUNT = 100
SHARE = 10
"""Many readers read so much less of it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What readers were sent."""

    events: int
    pages: int
    bytes: int
    seconds: float

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.seconds


async def measure_feed(bench: Bench) -> list[Figure]:
    """Events per second, and what a reader costs those who work."""
    count = bench.size.handler_jobs_count
    async with bench.launcher.system() as system, open_channel(system.address, alone=True) as connection:
        events: EventServiceAsyncStub = EventServiceStub(connection)
        bench.step(f"running {count:,} jobs without a reader")
        alone = await _run(system, count, 0)
        bench.step("the same with a reader")
        last = 2 * count * EVENTS_OF_JOB_COUNT
        reading = asyncio.create_task(_read(events, _request(), last))
        watched = await _run(system, count, count)
        live = await reading
        bench.step(f"{last:,} events from the beginning")
        whole = await _read(events, _request(from_beginning=True), last)
        bench.step("the same through a filter that matches a quarter")
        quarter = await _read(events, _request(from_beginning=True, filter="type = succeeded"), last)
        bench.step(f"{READERS_COUNT} readers of the latest tenth")
        cursor = f"feed:1:{last - last // SHARE}"
        many = await asyncio.gather(*(_read(events, _request(cursor=cursor), last) for _ in range(READERS_COUNT)))
    if live.events != last // 2 or whole.events != last or quarter.events != last // EVENTS_OF_JOB_COUNT:
        raise ProcessFailed(f"the readers got {live.events}, {whole.events} and {quarter.events} events of {last}")
    floor, floor_many = await _raw(bench, whole, 1), await _raw(bench, whole, READERS_COUNT)
    rate_of_many = sum(one.events for one in many) / max(one.seconds for one in many)
    return [
        Figure("feed", "jobs with a reader of all events", watched, "jobs/s", Floor("without a reader", alone)),
        Figure("feed", "events from the beginning", whole.rate, "events/s", Floor("raw stream", floor)),
        Figure("feed", "events looked at by a filter", last / quarter.seconds, "events/s"),
        Figure(
            "feed",
            f"events to {READERS_COUNT} readers, in all",
            rate_of_many,
            "events/s",
            Floor("raw streams", floor_many),
        ),
    ]


async def _run(system: System, count: int, before: int) -> float:
    """Jobs per second of a worker of their own, all of them queued before; `before` have run already."""
    await system.fill("empty", count)
    worker = await system.start_worker(SLOTS, tell_at=count)
    first, _ = await first_and_last(worker)
    await wait_count(system, job_pb2.JOB_STATE_SUCCEEDED, before + count)
    seconds = time.monotonic() - first
    await worker.end()
    return count / seconds


def _request(**wanted: Any) -> pb.WatchEventsRequest:
    return pb.WatchEventsRequest(scope=pb.FEED_SCOPE_NAMESPACE, **wanted)


async def _read(events: "EventServiceAsyncStub", request: pb.WatchEventsRequest, last: int) -> Told:
    """Reads up to a position."""
    call: Any = events.WatchEvents(request)
    told = pages = size = position = 0
    begun = time.monotonic()
    while position < last:
        async with asyncio.timeout(READ_SECONDS):
            message = await call.read()
        if not isinstance(message, pb.WatchEventsResponse):
            raise ProcessFailed("a stream of the feed was cut")
        if message.HasField("batch"):
            pages += 1
            told += len(message.batch.events)
            size += message.ByteSize()
        position = int(message.cursor.rpartition(":")[2])
    call.cancel()
    return Told(told, pages, size, time.monotonic() - begun)


async def _raw(bench: Bench, told: Told, readers_count: int) -> float:
    """Events per second of a bare server that streams pages of the same size."""
    bench.step(f"bare streams to {readers_count}")
    per_page = max(1, told.events // told.pages)
    pages = max(20, 400 // readers_count)
    followed = await bench.floors.stream(pages * per_page, per_page, told.bytes // told.events, readers_count)
    seconds = max(one.last for one in followed) - min(one.first for one in followed)
    rate = (pages - 1) * per_page * readers_count / seconds
    bench.floors.note(f"raw stream of events of the feed to {readers_count}", rate, "events/s")
    return rate
