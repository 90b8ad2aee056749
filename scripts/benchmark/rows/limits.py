"""Rows `saturated` and `fair`: a backlog that may not run slows nobody, and slots are shared out by weight."""

import asyncio
import statistics

import headrace
from benchmark.bench import Bench
from benchmark.figures import Bound, Figure, Floor, Of, Target
from benchmark.rows.handlers import SLOTS, first_and_last
from benchmark.system import QUEUE, System, bulk_requests, bulk_requests_of
from headrace.v1 import job_pb2, job_service_pb2, queue_pb2

KEY = "saturated"
COST_RATIO_MAX = 1.2
ROUNDS = 3
FAIR_QUEUE = "fair"
FAIR_SLOTS = 10
WEIGHTS = {"ann": 5.0, "bob": 3.0, "eve": 2.0}
JOB_SECONDS = 0.05
SHARE_ERROR_PERCENT_MAX = 5.0
DONE_COUNT_MAX = 500
LOOK_SECONDS = 0.2


async def measure_saturated(bench: Bench) -> list[Figure]:
    """Microseconds per dispatched job, beside so many jobs of a key that has its one running job."""
    sample, depth = bench.size.deep_sample_count // ROUNDS, bench.size.saturated_jobs_count
    async with bench.launcher.system() as system:
        limits = queue_pb2.Queue(name=QUEUE, max_concurrency_per_key=1)
        await system.client.queues.update(limits, ["max_concurrency_per_key"])
        bench.step("empty queue")
        empty = [await _dispatch_micros(system, sample, f"before-{number}") for number in range(ROUNDS)]
        bench.step(f"queueing {depth:,} jobs of one key")
        spec = headrace.spec(headrace.handler("empty"), queue=QUEUE)
        spec.concurrency_key = KEY
        held = job_pb2.JobSpec()
        held.CopyFrom(spec)
        held.handler.name = "held"
        held.priority = 100
        await system.submit(held)
        for request in bulk_requests_of(spec, "behind", depth):
            await system.send_bulk(request)
        bench.step(f"{depth:,} jobs behind one")
        beside = [await _dispatch_micros(system, sample, f"beside-{number}") for number in range(ROUNDS)]
    floor = Floor("empty queue", statistics.median(empty))
    target = Target(Of.RATIO, Bound.AT_MOST, COST_RATIO_MAX)
    what = f"dispatch beside {depth:,} jobs of a saturated key"
    return [Figure("saturated", what, statistics.median(beside), "µs/job", floor, target)]


async def _dispatch_micros(system: System, count: int, name: str) -> float:
    for request in bulk_requests("empty", name, count):
        await system.send_bulk(request)
    worker = await system.start_worker(SLOTS, tell_at=count)
    first, reached = await first_and_last(worker)
    await worker.end()
    return (reached - first) / (count - 1) * 1e6


async def measure_fair(bench: Bench) -> list[Figure]:
    """The largest deviation of an owner's share of slot time from its weight, while all have work."""
    count = bench.size.fair_jobs_count
    async with bench.launcher.system() as system:
        fairness = queue_pb2.Fairness(scope=queue_pb2.FAIRNESS_SCOPE_OWNER, weights=WEIGHTS)
        await system.client.queues.create(queue_pb2.Queue(name=FAIR_QUEUE, max_queued=count * 4, fairness=fairness))
        bench.step(f"queueing {count * len(WEIGHTS):,} jobs of {len(WEIGHTS)} owners")
        for owner in WEIGHTS:
            task = headrace.handler("timed", {"seconds": JOB_SECONDS})
            spec = headrace.spec(task, queue=FAIR_QUEUE)
            spec.owner = owner
            for request in bulk_requests_of(spec, owner, count):
                await system.send_bulk(request)
        bench.step(f"running them on {FAIR_SLOTS} slots until one owner has no more")
        worker = await system.start_worker(FAIR_SLOTS)
        shares = await _shares(system, count)
        await worker.end()
    total = sum(WEIGHTS.values())
    errors = {owner: abs(shares[owner] * total / weight - 1) * 100 for owner, weight in WEIGHTS.items()}
    details = {owner: share * 100 for owner, share in shares.items()}
    target = Target(Of.OURS, Bound.AT_MOST, SHARE_ERROR_PERCENT_MAX)
    what = "deviation of an owner's share from its weight"
    return [Figure("fair", what, max(errors.values()), "%", None, target, details=details)]


async def _shares(system: System, count: int) -> dict[str, float]:
    """Of the jobs that ran while every owner had work."""
    heaviest = max(WEIGHTS, key=WEIGHTS.__getitem__)
    ended = 0
    while ended < count * 0.8:
        await asyncio.sleep(LOOK_SECONDS)
        ended = await _ended(system, heaviest)
    counts = {owner: await _ended(system, owner) for owner in WEIGHTS}
    return {owner: done / sum(counts.values()) for owner, done in counts.items()}


async def _ended(system: System, owner: str) -> int:
    request = job_service_pb2.ListJobsRequest(
        filter=f"queue = {FAIR_QUEUE} AND owner = {owner} AND state = SUCCEEDED", page_size=DONE_COUNT_MAX
    )
    ended = 0
    while True:
        response = await system.jobs.ListJobs(request)
        ended += len(response.jobs)
        if not response.next_page_token:
            return ended
        request.page_token = response.next_page_token
