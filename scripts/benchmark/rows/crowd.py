"""Rows `crowd` and `delivery`: many idle followers beside a busy job that others follow, and how late lines come."""

from benchmark.bench import Bench
from benchmark.figures import KIB, Bound, Figure, Floor, Of, Target, percentile
from benchmark.following import Followed, Follower, opened_followers, watch_request
from benchmark.processes import ProcessFailed, settled_rss
from benchmark.rows.output import LINE_BYTES, Flood, Written, raw_stream, run_flood
from benchmark.system import System, handler_spec

IDLE_KIB_MAX = 40.0
GAP_SECONDS_EACH = 0.0005
"""Between two lines, for each follower: both processes that speak of it keep up with so much."""
WARM_COUNT = 50
DELIVERY_P99_MILLIS_MAX = 100.0


async def measure_crowd(bench: Bench) -> list[Figure]:
    """Memory of each idle follower, then lines to those of a busy job beside them, and whether all got the same."""
    idle, busy = bench.size.crowd_idle_count, bench.size.crowd_busy_count
    written = Written(bench.size.fan_out_events_count * 10 // busy)
    async with bench.launcher.system() as system:
        request = watch_request(await system.submit(handler_spec("nobody")))
        async with opened_followers(system.address, request, WARM_COUNT):
            before = await settled_rss(system.server)
            bench.step(f"{idle:,} idle followers")
            async with opened_followers(system.address, request, idle):
                each = (await settled_rss(system.server) - before) / idle
                bench.step(f"{busy:,} followers of {written.events_count:,} lines beside them")
                cpu = system.server.cpu_seconds
                flood = await run_flood(system, written, busy, digested=True)
                cpu = system.server.cpu_seconds - cpu
                await _check_digests(system, flood)
        bench.step(f"{busy:,} bare streams")
    floor = await raw_stream(bench, flood)
    delivered = sum(one.events for one in flood.followed)
    target = Target(Of.OURS, Bound.AT_MOST, IDLE_KIB_MAX)
    return [
        Figure("crowd", f"memory of each of {idle:,} idle followers", each / KIB, "KiB", target=target),
        Figure(
            "crowd",
            f"lines to {busy:,} followers beside them, in all",
            flood.rate,
            "events/s",
            Floor("raw streams", floor),
            details={"digests_equal": True, "server_cpu_micros_each": cpu / delivered * 1e6},
        ),
    ]


async def _check_digests(system: System, flood: Flood) -> None:
    """What each was sent is what the log holds."""
    log = await (await Follower(system.jobs, watch_request(flood.job_id)).open()).read(digested=True)
    different = sum(one.digest != log.digest for one in flood.followed)
    if different or log.output_bytes != flood.written.events_count * LINE_BYTES:
        raise ProcessFailed(f"{different} followers got something else than the {log.output_bytes} bytes of the log")


async def measure_delivery(bench: Bench) -> list[Figure]:
    """From a handler's line to each of many followers, when lines come at a pace."""
    followers, lines = bench.size.crowd_busy_count, bench.size.delivery_lines_count
    gap = followers * GAP_SECONDS_EACH
    async with bench.launcher.system() as system:
        bench.step(f"{lines} lines, one every {gap * 1000:.0f} ms, to {followers:,} followers")
        cpu = system.server.cpu_seconds
        flood = await run_flood(system, Written(lines, gap_seconds=gap), followers)
        cpu = system.server.cpu_seconds - cpu
    bench.step("the same from a bare server")
    floor_cpu = bench.floors.server.cpu_seconds
    raw = await bench.floors.beats(lines, LINE_BYTES, gap, followers)
    floor_cpu = bench.floors.server.cpu_seconds - floor_cpu
    details = {
        "server_cpu_micros_each": cpu / (lines * followers) * 1e6,
        "raw_cpu_micros_each": floor_cpu / (lines * followers) * 1e6,
    }
    return [
        Figure(
            "delivery",
            f"a line to each of {followers:,} followers, p{percent}",
            _millis(flood.followed, percent),
            "ms",
            Floor("raw streams", _millis(raw, percent)),
            Target(Of.OURS, Bound.AT_MOST, DELIVERY_P99_MILLIS_MAX) if percent == 99 else None,
            details=details,
        )
        for percent in (50, 99)
    ]


def _millis(followed: list[Followed], percent: int) -> float:
    return percentile([one for each in followed for one in each.deliveries], percent) * 1000
