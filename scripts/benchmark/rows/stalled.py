"""Row `stalled`: a follower that stops reading while a command produces much more than any buffer holds (E4)."""

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import headrace
from benchmark import producer
from benchmark.bench import Bench
from benchmark.figures import MIB, Bound, Figure, Floor, Of, Target
from benchmark.following import Followed, Follower, watch_request
from benchmark.processes import Child, ProcessFailed, watched
from benchmark.system import QUEUE, System
from headrace.v1 import job_pb2

PROGRAM = Path(producer.__file__)
WARM_BYTES = MIB
GROWTH_MIB_MAX = 32.0
CAP_BYTES = 16 * 1024 * MIB


@dataclass(frozen=True, slots=True)
class Run:
    """One job's output as its reading follower saw it."""

    size: int
    seconds: float
    followed: Followed

    @property
    def rate(self) -> float:
        """Millions of bytes per second."""
        return self.size / self.seconds / 1e6

    @property
    def exact(self) -> bool:
        """Whether every byte came."""
        return self.followed.output_bytes == self.size and self.followed.digest == producer.digest(self.size)


async def measure_stalled(bench: Bench) -> list[Figure]:
    """Growth of memory, and what a second follower still gets; then the first one reads on, and must get every byte."""
    size = bench.size.stalled_bytes
    async with bench.launcher.system() as system:
        worker = await system.start_command_worker(sys.executable)
        await _run(system, WARM_BYTES)
        bench.step(f"{size // MIB} MiB with a stalled follower")
        job_id = await _submit(system, size)
        stalled = await Follower(system.jobs, watch_request(job_id)).open()
        async with watched(system.server, worker) as peaks:
            beside = await _read(system, job_id, size)
            bench.step("the stalled follower reads on")
            late = await stalled.read(digested=True)
        bench.step(f"{size // MIB} MiB without a stalled follower")
        alone = await _run(system, size)
    _check(Run(size, 1.0, late), beside, alone)
    return _figures(system.server, beside, alone, [peak.growth for peak in peaks])


def _figures(server: Child, beside: Run, alone: Run, growths: list[int]) -> list[Figure]:
    target = Target(Of.OURS, Bound.AT_MOST, GROWTH_MIB_MAX)
    size = f"{beside.size // MIB} MiB produced"
    return [
        Figure("stalled", f"server's growth, {size}", growths[0] / MIB, "MiB", None, target),
        Figure("stalled", f"worker's growth, {size}", growths[1] / MIB, "MiB", None, target),
        Figure(
            "stalled",
            "second follower beside it",
            beside.rate,
            "MB/s",
            Floor("none stalled", alone.rate),
            Target(Of.RATIO, Bound.AT_LEAST, 0.9),
            details={"every_byte_to_both": True, "events_per_page": beside.followed.events / beside.followed.pages},
        ),
    ]


async def _submit(system: System, size: int) -> str:
    task = headrace.command(sys.executable, str(PROGRAM), str(size))
    policy = job_pb2.RetryPolicy(max_attempts=1)
    return await system.submit(headrace.spec(task, queue=QUEUE, output_bytes_max=CAP_BYTES, retry_policy=policy))


async def _run(system: System, size: int) -> Run:
    return await _read(system, await _submit(system, size), size)


async def _read(system: System, job_id: str, size: int) -> Run:
    """Follows a job to its end; timed from the first page."""
    follower = await Follower(system.jobs, watch_request(job_id)).open()
    started = time.monotonic()
    reading = asyncio.create_task(follower.read(digested=True))
    await system.wait_result(job_id)
    followed = await reading
    return Run(size, followed.last - started, followed)


def _check(*runs: Run) -> None:
    for run in runs:
        if not run.exact:
            raise ProcessFailed(f"a follower got {run.followed.output_bytes} bytes of {run.size}, or other ones")
