"""Readers of every kind while much is produced: one that stops, one at 10 KiB a second, one that reconnects all the
time, one that comes late. Each gets every byte in order, a fast one waits for none, and memory is bounded (E1, E4)."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import event_pb2
from survival.hearing import Heard, read
from survival.memory import MIB, Peak
from survival.wire import Wire, wire

StartControlPlane = Callable[..., ControlPlane]
GROWTH_BYTES_MAX = 32 * MIB
SLOW_BYTES_PER_SECOND = 10 * 1024
RECONNECT_BYTES = 4 * MIB
"""About what the restless reader gets in a second."""


def program(size: int) -> str:
    """Says so many bytes, all of them different enough to tell a hole or a repeat."""
    return f"seq 1 1000000000 | head -c {size}"


async def read_restlessly(job: headrace.Job, heard: Heard) -> int:
    """Reads with one stream after the other, each from the cursor of the one before; says with how many."""
    cursor, streams = "", 0
    while not heard.ended:
        streams += 1
        until = heard.size + RECONNECT_BYTES
        async with job.watch(cursor=cursor) as stream:
            async for item in stream:
                if isinstance(item, event_pb2.Event) and item.sequence <= heard.sequence:
                    # The cursor moves with the last event of a batch.
                    continue
                heard.take(item)
                cursor = stream.cursor
                if heard.size >= until and cursor:
                    break
    return streams


async def read_after_a_stop(job: headrace.Job, heard: Heard, opened: asyncio.Event, go_on: asyncio.Event) -> None:
    """Opens the stream, and reads no more until it is told to."""
    async with job.watch() as stream:
        heard.take(await anext(stream))
        opened.set()
        await go_on.wait()
        async for item in stream:
            heard.take(item)


@asynccontextmanager
async def clients(address: str, slow: Wire) -> AsyncIterator[list[headrace.AsyncClient]]:
    """Four on connections of their own, the last one at the end of a wire."""
    made = [headrace.connect(address) for _ in range(3)] + [headrace.connect(slow.address)]
    async with made[0], made[1], made[2], made[3]:
        yield made


async def produce_past_readers(plane: ControlPlane, size: int) -> None:
    """Has a job say so many bytes past readers of every kind; checks what each got, and when."""
    loop = asyncio.get_running_loop()
    expected = await loop.run_in_executor(None, digest_of, size)
    heard = {name: Heard() for name in ("fast", "stopped", "restless", "slow", "late")}
    opened, go_on = asyncio.Event(), asyncio.Event()
    async with wire(plane.address) as slow, clients(plane.address, slow) as (near, other, third, far):
        warm = await near.submit(command(program(MIB)))
        await read(warm, Heard())
        gate = plane.folder / "go"
        said = f"while [ ! -e {gate} ]; do sleep 0.05; done; {program(size)}"
        job = await near.submit(command(said), output_bytes_max=1 << 36)
        with Peak(plane.pid, plane.worker_pid) as peak:
            stopped = asyncio.create_task(read_after_a_stop(other.job(job.id), heard["stopped"], opened, go_on))
            restless = asyncio.create_task(read_restlessly(third.job(job.id), heard["restless"]))
            slowly = asyncio.create_task(read(far.job(job.id), heard["slow"]))
            await opened.wait()
            slow.bytes_per_second = SLOW_BYTES_PER_SECOND
            gate.touch()
            await read(job, heard["fast"])
            behind = {name: heard[name].size for name in ("stopped", "slow")}
            await read(job, heard["late"])
        slow.bytes_per_second = 0
        go_on.set()
        streams, _, _ = await asyncio.gather(restless, stopped, slowly)
    assert behind["stopped"] == 0
    assert behind["slow"] < size // 4, "the fast one has not waited for it"
    assert {name: one.digest.hexdigest() for name, one in heard.items()} == dict.fromkeys(heard, expected)
    assert all(one.ended and one.size == size and not one.breaks for one in heard.values())
    assert streams > size // (2 * RECONNECT_BYTES)
    assert max(peak.growth) < GROWTH_BYTES_MAX, peak.growth


def command(script: str) -> Any:
    return headrace.command("sh", "-c", script)


def digest_of(size: int) -> str:
    said = subprocess.run(["sh", "-c", f"{program(size)} | sha256sum"], check=True, capture_output=True, text=True)
    return said.stdout.split()[0]


def start(start_plane: StartControlPlane) -> ControlPlane:
    plane = start_plane("--claude", "none", "--allow-command", "sh")
    wait_for(lambda: plane.worker_pid, "the worker has connected")
    return plane


def test_e4_readers_of_every_kind_get_every_byte_and_none_delays_another(start_plane: StartControlPlane) -> None:
    asyncio.run(asyncio.wait_for(produce_past_readers(start(start_plane), 48 * MIB), 100))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_e4_readers_of_every_kind_get_every_byte_of_a_gibibyte(start_plane: StartControlPlane) -> None:
    asyncio.run(asyncio.wait_for(produce_past_readers(start(start_plane), 1024 * MIB), 1100))
