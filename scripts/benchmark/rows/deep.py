"""Row `depth`: what a submit and a dispatch cost with a deep queue, beside the same with an empty one."""

import statistics
from collections.abc import Sequence

from benchmark.bench import Bench
from benchmark.figures import Bound, Figure, Floor, Of, Target
from benchmark.load import crowd
from benchmark.rows.handlers import SLOTS, first_and_last
from benchmark.system import System, bulk_requests

CALLERS = 4
PARTS = 5
WARM_COUNT = 1_000
SECONDS_MAX = 60.0
COST_RATIO_MAX = 1.2


async def measure_depth(bench: Bench) -> list[Figure]:
    """Microseconds per job, at both ends of one queue's life."""
    sample, depth = bench.size.deep_sample_count, bench.size.deep_jobs_count
    async with bench.launcher.system() as system:
        await system.fill("nobody", WARM_COUNT)
        bench.step("empty queue")
        submit_empty = await _submit_micros(system, "empty-queue", sample)
        dispatch_empty = await _dispatch_micros(system, sample)
        bench.step(f"queueing {depth:,} jobs")
        await system.fill("empty", depth)
        bench.step(f"{depth:,} queued")
        submit_deep = await _submit_micros(system, "deep-queue", sample)
        dispatch_deep = await _dispatch_micros(system, sample)
    return [
        _figure(f"submit, {depth:,} queued", submit_deep, submit_empty),
        _figure(f"dispatch, {depth:,} queued", [dispatch_deep], [dispatch_empty]),
    ]


def _figure(what: str, deep: Sequence[float], empty: Sequence[float]) -> Figure:
    target = Target(Of.RATIO, Bound.AT_MOST, COST_RATIO_MAX)
    details = {"parts": _texts(deep), "parts_with_an_empty_queue": _texts(empty)}
    floor = Floor("empty queue", statistics.median(empty))
    return Figure("depth", what, statistics.median(deep), "µs/job", floor, target, details=details)


def _texts(costs: Sequence[float]) -> str:
    return ", ".join(f"{cost:.0f}" for cost in costs)


async def _submit_micros(system: System, name: str, count: int) -> list[float]:
    """Of bulk submits, in a few parts."""
    costs = []
    for part in range(PARTS):
        requests = bulk_requests("empty", f"{name}-{part}", count // PARTS)
        calls = await crowd(system.send_bulk, requests, CALLERS, SECONDS_MAX)
        costs.append(calls.seconds / (count // PARTS) * 1e6)
    return costs


async def _dispatch_micros(system: System, count: int) -> float:
    """From the first start to that of so many jobs, on a worker that comes and goes."""
    worker = await system.start_worker(SLOTS, tell_at=count)
    first, reached = await first_and_last(worker)
    await worker.end()
    return (reached - first) / (count - 1) * 1e6
