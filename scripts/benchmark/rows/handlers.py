"""Rows `handlers` and `latency`: jobs of a handler that does nothing, as many as go and one at a time."""

import asyncio
import time

from benchmark.bench import Bench
from benchmark.figures import Bound, Calls, Figure, Floor, Of, Target, percentile
from benchmark.load import paced
from benchmark.processes import Child, ProcessFailed, until
from benchmark.system import CALL_SECONDS, System, handler_spec, submit_requests
from headrace.v1 import job_pb2, job_service_pb2

SLOTS = 512
GAP_SECONDS = 0.005
WARM_COUNT = 20
RUN_SECONDS_MAX = 120.0
POLL_SECONDS = 0.002


async def measure_handlers(bench: Bench) -> list[Figure]:
    """Jobs per second from the first start to the last committed finish; all of them queued before."""
    count = bench.size.handler_jobs_count
    async with bench.launcher.system() as system:
        bench.step(f"queueing {count:,} jobs")
        await system.fill("empty", count)
        bench.step(f"running {count:,} jobs")
        cpu = system.server.cpu_seconds
        seconds = await run_all(system, count)
        cpu = system.server.cpu_seconds - cpu
    bench.step("bare control lane")
    floor = count / await bench.floors.lane(count, SLOTS)
    bench.floors.note(f"assignments and finishes on a bare lane, {SLOTS} slots", floor, "jobs/s")
    return [
        Figure(
            "handlers",
            f"empty jobs, lease to finish, {SLOTS} slots",
            count / seconds,
            "jobs/s",
            Floor("bare lane", floor),
            Target(Of.OURS, Bound.AT_LEAST, 24_000),
            details={"jobs": count, "server_cpu_micros": cpu / count * 1e6},
        )
    ]


async def run_all(system: System, count: int) -> float:
    """Starts a worker for so many queued jobs of `empty`; seconds from the first start to the last committed finish."""
    worker = await system.start_worker(SLOTS, tell_at=count)
    first, _ = await first_and_last(worker)
    await wait_count(system, job_pb2.JOB_STATE_SUCCEEDED, count)
    return time.monotonic() - first


async def first_and_last(worker: Child) -> tuple[float, float]:
    """When the worker began the first job and the one that it was to tell."""
    times = {}
    for _ in range(2):
        word = await worker.word(RUN_SECONDS_MAX)
        times[word["word"]] = float(word["time"])
    return times["first"], times["reached"]


async def wait_count(system: System, state: job_pb2.JobState, count: int) -> None:
    """Waits until so many jobs are in a state. Raises ProcessFailed when they never are."""
    for _ in until(RUN_SECONDS_MAX, POLL_SECONDS):
        if await system.count(state) >= count:
            return
        await asyncio.sleep(POLL_SECONDS)
    raise ProcessFailed(f"there were never {count} jobs {job_pb2.JobState.Name(state)}{system.server.last_words()}")


async def measure_latency(bench: Bench) -> list[Figure]:
    """From the call of a lone caller to the first line of the handler, on a worker with room."""
    count = bench.size.paced_calls_count
    async with bench.launcher.system() as system:
        await system.start_worker(SLOTS)
        await system.wait_result(await system.submit(handler_spec("stamped")))
        await _starts(system, "warm", WARM_COUNT)
        bench.step(f"{count} echoes")
        echo = await bench.floors.paced_echo(_requests("echo", count), GAP_SECONDS, CALL_SECONDS)
        bench.step(f"{count} jobs")
        calls, starts = await _starts(system, "paced", count)
    disk = await bench.floors.disk_now()
    floor_p50 = echo.millis(50) + disk.millis(50)
    over = percentile(starts, 99) * 1000 - disk.millis(99)
    bench.floors.note("echo by one caller every 5 ms, p50", echo.millis(50), "ms")
    bench.floors.note("echo by one caller every 5 ms, p99", echo.millis(99), "ms")
    return [
        Figure(
            "latency",
            "submit to handler's start, p50",
            percentile(starts, 50) * 1000,
            "ms",
            Floor("echo + fdatasync", floor_p50),
            Target(Of.OURS, Bound.AT_MOST, 2.0),
            details={"calls": count},
        ),
        Figure(
            "latency",
            "its p99 less fdatasync's",
            over,
            "ms",
            Floor("echo", echo.millis(99)),
            Target(Of.OURS, Bound.AT_MOST, 5.0),
            details={"p99_millis": percentile(starts, 99) * 1000, "fdatasync_p99_millis": disk.millis(99)},
        ),
        Figure("latency", "submit's own p50", calls.millis(50), "ms", Floor("echo + fdatasync", floor_p50)),
    ]


def _requests(name: str, count: int) -> list[job_service_pb2.SubmitJobRequest]:
    endless = submit_requests("stamped", name)
    return [next(endless) for _ in range(count)]


async def _starts(system: System, name: str, count: int) -> tuple[Calls, list[float]]:
    """Submits at the pace; what the calls took, and from each call to its handler's start, in seconds."""
    sent: dict[str, float] = {}

    async def send(request: job_service_pb2.SubmitJobRequest) -> None:
        before = time.monotonic()
        response = await system.jobs.SubmitJob(request, timeout=CALL_SECONDS)
        sent[response.job.id] = before

    calls = await paced(send, _requests(name, count), GAP_SECONDS)
    starts = []
    for job_id, before in sent.items():
        outcome = await system.wait_result(job_id)
        starts.append(float(outcome.value["started"]) - before)
    return calls, starts
