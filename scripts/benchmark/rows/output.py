"""Row `output`: what a handler writes, through the worker and the store to one follower; in a flood, and paced."""

import asyncio
from dataclasses import dataclass

import headrace
from benchmark.bench import Bench
from benchmark.figures import MIB, Bound, Figure, Floor, Of, Target, percentile
from benchmark.following import Followed, Follower, watch_request
from benchmark.processes import ProcessFailed
from benchmark.system import CALL_SECONDS, QUEUE, System, submit_requests
from headrace.v1 import job_pb2

EVENT_BYTES = 200
GAP_SECONDS = 0.005
CAP_BYTES = 16 * 1024 * MIB
LIFECYCLE_EVENTS_COUNT = 4
"""Of a job's log besides its output: submitted, assigned, started, succeeded."""


@dataclass(frozen=True, slots=True)
class Flood:
    """One job's output, and how it reached its followers."""

    events_count: int
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

    @property
    def complete(self) -> bool:
        """Whether every follower got every event, in order."""
        wanted = self.events_count + LIFECYCLE_EVENTS_COUNT
        return all(one.events == wanted and not one.holes for one in self.followed)


async def measure_output(bench: Bench) -> list[Figure]:
    """Events per second of a handler that never rests, and the delivery time of one that does."""
    count = bench.size.output_events_count
    async with bench.launcher.system() as system:
        bench.step(f"{count:,} events of {EVENT_BYTES} bytes")
        flood = await run_flood(system, count, followers_count=1)
    if not flood.complete:
        raise ProcessFailed(f"a follower did not get every event in order: {flood.followed}")
    bench.step("the same pages from a bare server")
    floor = await raw_stream(bench, flood, 1)
    bench.floors.note(f"raw stream, {flood.events_per_page} events a page", floor, "events/s")
    return [
        Figure(
            "output",
            f"events of {EVENT_BYTES} bytes, one follower",
            flood.rate,
            "events/s",
            Floor("raw stream", floor),
            Target(Of.RATIO, Bound.AT_LEAST, 0.5),
            details={"events": count, "events_per_page": flood.events_per_page},
        ),
        Figure(
            "output",
            "the same in bytes",
            flood.rate * EVENT_BYTES / 1e6,
            "MB/s",
            Floor("raw stream", floor * EVENT_BYTES / 1e6),
        ),
        await _delivery(bench),
    ]


async def _delivery(bench: Bench) -> Figure:
    count = bench.size.paced_calls_count
    async with bench.launcher.system() as system:
        bench.step(f"{count} events, one every 5 ms")
        followed = (await run_flood(system, count, followers_count=1, gap=GAP_SECONDS)).followed[0]
    requests = submit_requests("nobody", "echo")
    echo = await bench.floors.paced_echo([next(requests) for _ in range(count)], GAP_SECONDS, CALL_SECONDS)
    return Figure(
        "output",
        "delivery of an event every 5 ms, p50",
        percentile(followed.deliveries, 50) * 1000,
        "ms",
        Floor("echo + fdatasync", echo.millis(50) + bench.floors.disk.millis(50)),
        Target(Of.OURS, Bound.AT_MOST, 5.0),
        details={"p99_millis": percentile(followed.deliveries, 99) * 1000},
    )


def written_spec(events: int, gap: float) -> job_pb2.JobSpec:
    """A job that writes so many events."""
    task = headrace.handler("written", {"events": events, "bytes": EVENT_BYTES, "gap": gap})
    return headrace.spec(task, queue=QUEUE, output_bytes_max=CAP_BYTES)


async def run_flood(system: System, events: int, followers_count: int, gap: float = 0.0) -> Flood:
    """Has every follower open before the worker starts, then reads them all to the end."""
    job_id = await system.submit(written_spec(events, gap))
    opened = [await Follower(system.jobs, watch_request(job_id)).open() for _ in range(followers_count)]
    worker = await system.start_worker(slots=1)
    followed = list(await asyncio.gather(*(one.read(stamped=gap > 0) for one in opened)))
    started = float((await system.wait_result(job_id)).value["started"])
    await worker.end()
    return Flood(events, max(one.last for one in followed) - started, followed)


async def raw_stream(bench: Bench, flood: Flood, followers_count: int) -> float:
    """Events per second of a bare server with as many pages of the same size to as many followers."""
    followed = await bench.floors.stream(flood.events_count, flood.events_per_page, EVENT_BYTES, followers_count)
    seconds = max(one.last for one in followed) - min(one.first for one in followed)
    received = sum(one.events for one in followed) - sum(flood.events_per_page for _ in followed)
    return max(received, 1) / max(seconds, 1e-6)
