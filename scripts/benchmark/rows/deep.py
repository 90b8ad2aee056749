"""Row `depth`: what a submit and a dispatch cost with a deep queue, beside the same with an empty one; and whether the
queue can still be looked at."""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from benchmark.bench import Bench
from benchmark.figures import MIB, Bound, Figure, Floor, Of, Target, percentile
from benchmark.load import crowd
from benchmark.rows.handlers import SLOTS, first_and_last
from benchmark.system import CALL_SECONDS, QUEUE, System, bulk_requests
from headrace.v1 import job_service_pb2, queue_service_pb2

CALLERS = 4
PARTS = 5
WARM_COUNT = 1_000
SECONDS_MAX = 60.0
COST_RATIO_MAX = 1.2
LOOKS_COUNT = 20
LOOK_MILLIS_MAX = 50.0


async def measure_depth(bench: Bench) -> list[Figure]:
    """Microseconds per job, at both ends of one queue's life."""
    sample, depth = bench.size.deep_sample_count, bench.size.deep_jobs_count
    async with bench.launcher.system() as system:
        await system.fill("nobody", WARM_COUNT)
        bench.step("empty queue")
        submit_empty = await _submit_micros(system, "empty-queue", sample)
        dispatch_empty = await _dispatch_micros(system, sample)
        looks_empty = await _looks(system)
        memory = system.server.rss
        bench.step(f"queueing {depth:,} jobs")
        await system.fill("empty", depth)
        bench.step(f"{depth:,} queued")
        memory = system.server.rss - memory
        looks_deep = await _looks(system)
        submit_deep = await _submit_micros(system, "deep-queue", sample)
        dispatch_deep = await _dispatch_micros(system, sample)
    return [
        _figure(f"submit, {depth:,} queued", submit_deep, submit_empty),
        _figure(f"dispatch, {depth:,} queued", [dispatch_deep], [dispatch_empty]),
        *(
            _look_figure(f"{what}, {depth:,} queued", millis, looks_empty[what], memory)
            for what, millis in looks_deep.items()
        ),
    ]


def _figure(what: str, deep: Sequence[float], empty: Sequence[float]) -> Figure:
    target = Target(Of.RATIO, Bound.AT_MOST, COST_RATIO_MAX)
    details = {"parts": _texts(deep), "parts_with_an_empty_queue": _texts(empty)}
    floor = Floor("empty queue", statistics.median(empty))
    return Figure("depth", what, statistics.median(deep), "µs/job", floor, target, details=details)


def _look_figure(what: str, deep: float, empty: float, memory: int) -> Figure:
    target = Target(Of.OURS, Bound.AT_MOST, LOOK_MILLIS_MAX)
    details = {"server_growth_mib": memory / MIB}
    return Figure("depth", what, deep, "ms", Floor("empty queue", empty), target, details=details)


async def _looks(system: System) -> dict[str, float]:
    """Milliseconds, the 90th percentile, of ways to look at the queue."""
    running = job_service_pb2.ListJobsRequest(filter=f"state = RUNNING AND queue = {QUEUE}")
    queued = job_service_pb2.ListJobsRequest(filter=f"state = QUEUED AND queue = {QUEUE}")
    nobody = job_service_pb2.ListJobsRequest(filter="owner = nobody")
    statistics_of = queue_service_pb2.GetQueueStatisticsRequest(name=QUEUE)
    return {
        "list of queued jobs": await _millis(lambda: system.jobs.ListJobs(queued, timeout=CALL_SECONDS)),
        "list of running jobs": await _millis(lambda: system.jobs.ListJobs(running, timeout=CALL_SECONDS)),
        "list that finds nothing": await _millis(lambda: system.jobs.ListJobs(nobody, timeout=CALL_SECONDS)),
        "statistics": await _millis(lambda: system.queues.GetQueueStatistics(statistics_of, timeout=CALL_SECONDS)),
    }


async def _millis(look: Callable[[], Awaitable[object]]) -> float:
    durations = []
    for _ in range(LOOKS_COUNT):
        before = time.monotonic()
        await look()
        durations.append(time.monotonic() - before)
    return percentile(durations, 90) * 1000


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
