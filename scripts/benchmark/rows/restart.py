"""Row `restart`: kill -9 of a busy control plane, and a start on the same data, until it has its worker back."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc

import headrace
from benchmark.bench import Bench
from benchmark.figures import Bound, Figure, Floor, Of, Target
from benchmark.processes import ProcessFailed, until
from benchmark.rows.handlers import wait_count
from benchmark.system import System, open_channel
from benchmark.worker_program import WORKER_ID
from headrace import errors
from headrace.v1 import job_pb2, worker_pb2

RUNNING = 64
SERVING_SECONDS_MAX = 2.0
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.01
RUNNING_FILTER = "state = RUNNING"


async def measure_restart(bench: Bench) -> list[Figure]:
    """Seconds from the kill to the first answer, and to the worker's attempts being where they were."""
    queued = bench.size.restart_queued_count
    bench.step("start of a bare server")
    floor = Floor("bare server's start", await bench.floors.start_seconds())
    bench.floors.note("start of a bare server to its first answer", floor.value, "s")
    async with bench.launcher.system() as system:
        bench.step(f"{queued:,} queued, {RUNNING} running")
        await system.fill("held", queued + RUNNING)
        worker = await system.start_worker(RUNNING)
        await wait_count(system, job_pb2.JOB_STATE_RUNNING, RUNNING)
        held = await _held(system.client)
        bench.step("kill -9 and start")
        started = time.monotonic()
        await system.server.kill()
        system.server, _ = await bench.launcher.start_server(system.data, system.address)
        await _poll(lambda: _answers(system.address, next(iter(held))))
        serving = time.monotonic() - started
        await _poll(lambda: _ready(system.address))
        attached = time.monotonic() - started
        await _check(system, held, queued)
        await worker.kill()
    target = Target(Of.OURS, Bound.AT_MOST, SERVING_SECONDS_MAX)
    return [
        Figure("restart", f"kill to GetJob's answer, {queued:,} queued", serving, "s", floor, target),
        Figure("restart", f"kill to {RUNNING} attempts attached again", attached, "s", floor, target),
    ]


async def _held(client: headrace.AsyncClient) -> dict[str, int]:
    """The epoch of every running job."""
    return {job.id: job.epoch async for job in client.list(RUNNING_FILTER)}


async def _answers(address: str, job_id: str) -> bool:
    """Whether GetJob is answered, on a connection of its own: an old one would wait out its backoff."""
    connection: grpc.aio.Channel = open_channel(address, alone=True)
    async with headrace.AsyncClient(connection, address=address, deadline_seconds=1.0) as client:
        try:
            await client.job(job_id).get()
        except errors.HeadraceError:
            return False
        return True


async def _ready(address: str) -> bool:
    connection: grpc.aio.Channel = open_channel(address, alone=True)
    async with headrace.AsyncClient(connection, address=address) as client:
        worker = await client.workers.get(WORKER_ID)
        return worker.state == worker_pb2.WORKER_STATE_READY and worker.slots_used == RUNNING


async def _poll(ready: Callable[[], Awaitable[bool]]) -> None:
    for _ in until(WAIT_SECONDS, POLL_SECONDS):
        if await ready():
            return
        await asyncio.sleep(POLL_SECONDS)
    raise ProcessFailed(f"nothing came back within {WAIT_SECONDS:.0f} s of the start")


async def _check(system: System, held: dict[str, int], queued: int) -> None:
    """Raises ProcessFailed when a job was lost, or runs under another lease than before."""
    connection = open_channel(system.address, alone=True)
    async with headrace.AsyncClient(connection, address=system.address) as client:
        now = await _held(client)
        waiting = {one.state: one.count for one in (await client.queues.get("bench")).state_counts}
    if now != held or waiting.get(job_pb2.JOB_STATE_QUEUED, 0) != queued:
        raise ProcessFailed(f"of {len(held)} running jobs {len(now)} run on; {waiting} jobs by state")
