"""Rows `idle` and `fanout`: what followers cost that hear nothing, and many that hear the same."""

from benchmark.bench import Bench
from benchmark.figures import KIB, Bound, Figure, Floor, Of, Target
from benchmark.floors import stream_request
from benchmark.following import opened_followers, watch_request
from benchmark.processes import Child, settled_rss
from benchmark.rows.output import Written, raw_stream, run_flood
from benchmark.system import handler_spec
from headrace.v1 import job_service_pb2

WARM_COUNT = 50
MANY = 100


async def measure_idle(bench: Bench) -> list[Figure]:
    """Memory of the server for each follower of a job that waits."""
    count = bench.size.idle_followers_count
    async with bench.launcher.system() as system:
        bench.step(f"{count:,} followers")
        request = watch_request(await system.submit(handler_spec("nobody")))
        ours = await _bytes_each(system.server, system.address, request, count)
    bench.step(f"{count:,} bare streams")
    floor = await _bytes_each(bench.floors.server, bench.floors.address, stream_request(0, 1, 0), count)
    bench.floors.note("idle raw stream", floor / KIB, "KiB")
    return [
        Figure(
            "idle",
            f"memory of each of {count:,} idle followers",
            ours / KIB,
            "KiB",
            Floor("raw stream", floor / KIB),
            Target(Of.OURS, Bound.AT_MOST, 40.0),
        )
    ]


async def _bytes_each(server: Child, address: str, request: job_service_pb2.WatchJobRequest, count: int) -> float:
    async with opened_followers(address, request, min(WARM_COUNT, count)):
        before = await settled_rss(server)
        async with opened_followers(address, request, count):
            after = await settled_rss(server)
    return (after - before) / count


async def measure_fan_out(bench: Bench) -> list[Figure]:
    """Events per second that reach 1, 10, 100 and, in a full run, 1,000 followers of one job, all together."""
    figures = []
    for followers_count in bench.size.fan_out_counts:
        events = bench.size.fan_out_events_count // (followers_count // 10 if followers_count >= MANY else 1)
        bench.step(f"{followers_count} followers of {events:,} events")
        async with bench.launcher.system() as system:
            flood = await run_flood(system, Written(events), followers_count)
        bench.step(f"{followers_count} bare streams")
        floor = await raw_stream(bench, flood)
        figures.append(
            Figure(
                "fanout",
                f"lines to {followers_count:,} follower{'s, in all' if followers_count > 1 else ''}",
                flood.rate,
                "events/s",
                Floor("raw streams", floor),
                details={
                    "events": events,
                    "events_per_page": flood.events_per_page,
                    "spread_millis": _spread_millis([one.last for one in flood.followed]),
                },
            )
        )
    return figures


def _spread_millis(ends: list[float]) -> float:
    """From the first follower's end to the last one's."""
    return (max(ends) - min(ends)) * 1000
