"""Row `output`: what a handler writes, through the worker and the store to one follower; in a flood, and paced."""

import asyncio
from dataclasses import dataclass

import headrace
from benchmark.bench import Bench
from benchmark.figures import KIB, MIB, Bound, Figure, Floor, Of, Target, percentile
from benchmark.following import Followed, opened_followers, watch_request
from benchmark.processes import ProcessFailed
from benchmark.system import CALL_SECONDS, QUEUE, System, submit_requests
from headrace.v1 import job_pb2

LINE_BYTES = 200
CHUNK_BYTES = 64 * KIB
GAP_SECONDS = 0.005
CAP_BYTES = 16 * 1024 * MIB
LIFECYCLE_EVENTS_COUNT = 4
"""Of a job's log besides its output: submitted, assigned, started, succeeded."""
RAW_PAGES_COUNT = 400
"""Of a bare stream, all followers together: enough to time, and soon over."""
RAW_PAGES_COUNT_MIN = 20


@dataclass(frozen=True, slots=True)
class Written:
    """What a job writes."""

    events_count: int
    event_bytes: int = LINE_BYTES
    gap_seconds: float = 0.0
    """Between two events; zero: as fast as they are taken."""

    def spec(self) -> job_pb2.JobSpec:
        """The job."""
        task = headrace.handler(
            "written", {"events": self.events_count, "bytes": self.event_bytes, "gap": self.gap_seconds}
        )
        return headrace.spec(task, queue=QUEUE, output_bytes_max=CAP_BYTES)


@dataclass(frozen=True, slots=True)
class Flood:
    """One job's output, and how it reached its followers."""

    job_id: str
    written: Written
    seconds: float
    """From the handler's first line to the last page of the last follower."""
    followed: list[Followed]

    @property
    def rate(self) -> float:
        """Events per second, all followers together."""
        return sum(one.events for one in self.followed) / self.seconds

    @property
    def events_per_page(self) -> int:
        """On average."""
        pages = sum(one.pages for one in self.followed)
        return max(1, round(sum(one.events for one in self.followed) / pages))


async def measure_output(bench: Bench) -> list[Figure]:
    """Lines and large chunks of a handler that never rests, and the delivery time of one that does."""
    size = bench.size
    return [
        await _flooded(bench, Written(size.output_events_count), "lines of 200 bytes, one follower", "events/s", 1.0),
        await _flooded(
            bench,
            Written(size.output_bytes // CHUNK_BYTES, CHUNK_BYTES),
            "chunks of 64 KiB, one follower",
            "MB/s",
            CHUNK_BYTES / 1e6,
        ),
        await _delivery(bench),
    ]


async def _flooded(bench: Bench, written: Written, what: str, unit: str, per_event: float) -> Figure:
    async with bench.launcher.system() as system:
        bench.step(f"{written.events_count:,} events of {written.event_bytes:,} bytes")
        cpu = system.server.cpu_seconds
        flood = await run_flood(system, written, followers_count=1)
        cpu = system.server.cpu_seconds - cpu
    bench.step("the same pages from a bare server")
    floor = await raw_stream(bench, flood)
    return Figure(
        "output",
        what,
        flood.rate * per_event,
        unit,
        Floor("raw stream", floor * per_event),
        Target(Of.RATIO, Bound.AT_LEAST, 0.5),
        details={
            "events": written.events_count,
            "events_per_page": flood.events_per_page,
            "server_cpu_micros": cpu / written.events_count * 1e6,
        },
    )


async def _delivery(bench: Bench) -> Figure:
    count = bench.size.paced_calls_count
    async with bench.launcher.system() as system:
        bench.step(f"{count} events, one every 5 ms")
        flood = await run_flood(system, Written(count, gap_seconds=GAP_SECONDS), followers_count=1)
    deliveries = flood.followed[0].deliveries
    requests = submit_requests("nobody", "echo")
    echo = await bench.floors.paced_echo([next(requests) for _ in range(count)], GAP_SECONDS, CALL_SECONDS)
    disk = await bench.floors.disk_now()
    return Figure(
        "output",
        "delivery of a line every 5 ms, p50",
        percentile(deliveries, 50) * 1000,
        "ms",
        Floor("echo + fdatasync", echo.millis(50) + disk.millis(50)),
        Target(Of.OURS, Bound.AT_MOST, 5.0),
        details={"p99_millis": percentile(deliveries, 99) * 1000},
    )


async def run_flood(system: System, written: Written, followers_count: int, *, digested: bool = False) -> Flood:
    """Has every follower open before the worker starts, then reads them all to the end.

    Raises ProcessFailed when one of them did not get every event, in order.
    """
    job_id = await system.submit(written.spec())
    async with opened_followers(system.address, watch_request(job_id), followers_count) as opened:
        worker = await system.start_worker(slots=1)
        followed = list(
            await asyncio.gather(*(one.read(stamped=written.gap_seconds > 0, digested=digested) for one in opened))
        )
        started = float((await system.wait_result(job_id)).value["started"])
        await worker.end()
    for one in followed:
        if one.holes or one.events != written.events_count + LIFECYCLE_EVENTS_COUNT:
            raise ProcessFailed(f"a follower got {one.events} events with {one.holes} holes, of {written.events_count}")
    return Flood(job_id, written, max(one.last for one in followed) - started, followed)


async def raw_stream(bench: Bench, flood: Flood) -> float:
    """Events per second of a bare server that streams pages of the same size to as many followers, in all."""
    followers_count = len(flood.followed)
    per_page = flood.events_per_page
    pages = max(RAW_PAGES_COUNT_MIN, RAW_PAGES_COUNT // followers_count)
    followed = await bench.floors.stream(pages * per_page, per_page, flood.written.event_bytes, followers_count)
    seconds = max(one.last for one in followed) - min(one.first for one in followed)
    rate = (pages - 1) * per_page * followers_count / seconds
    what = f"raw stream to {followers_count}, {per_page} events of {flood.written.event_bytes} bytes a page"
    bench.floors.note(what, rate, "events/s")
    return rate
