"""Ways of calling: a crowd that calls as fast as it is answered, and one caller at a fixed pace. Knows no service."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from benchmark.figures import Calls

Request = TypeVar("Request")
Send = Callable[[Request], Awaitable[object]]

SYNC_BLOCK_BYTES = 4096


async def crowd(send: Send[Request], requests: Iterable[Request], callers: int, seconds: float) -> Calls:
    """So many callers, each of which calls again once it is answered, until the time is over or requests run out."""
    waiting: Iterator[Request] = iter(requests)
    durations: list[float] = []
    started = time.monotonic()
    deadline = started + seconds

    async def caller() -> None:
        for request in waiting:
            before = time.monotonic()
            await send(request)
            after = time.monotonic()
            durations.append(after - before)
            if after >= deadline:
                return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())
    return Calls(time.monotonic() - started, durations)


async def paced(send: Send[Request], requests: Iterable[Request], gap_seconds: float) -> Calls:
    """One caller that calls every `gap_seconds`, later only when it has not been answered by then."""
    durations: list[float] = []
    started = due = time.monotonic()
    for request in requests:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        before = time.monotonic()
        await send(request)
        after = time.monotonic()
        durations.append(after - before)
        due = max(due + gap_seconds, after)
    return Calls(time.monotonic() - started, durations)


def synced_writes(folder: Path, count: int) -> Calls:
    """Appends 4 KiB and waits for the disk, again and again, as a log does."""
    path = folder / "synced"
    block = os.urandom(SYNC_BLOCK_BYTES)
    durations: list[float] = []
    started = time.monotonic()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for _ in range(count):
            before = time.monotonic()
            os.write(file, block)
            os.fdatasync(file)
            durations.append(time.monotonic() - before)
    finally:
        os.close(file)
        path.unlink()
    return Calls(time.monotonic() - started, durations)
