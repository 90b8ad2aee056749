"""Row `sessions`: what lies between the CLI and a reader, and what a session costs besides the CLI itself."""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import headrace
from benchmark import speaking_cli
from benchmark.bench import Bench
from benchmark.figures import KIB, Figure, Floor, percentile
from benchmark.processes import Child, ProcessFailed, settled_rss
from benchmark.system import QUEUE, System
from headrace.v1 import event_pb2

PAUSE_SECONDS = 0.02
PROMPT = {"type": "user", "message": {"role": "user", "content": "go on"}}
WARM_SESSIONS = 2
TURN_SECONDS = 120.0


async def measure_sessions(bench: Bench) -> list[Figure]:
    """Sessions that talk at once: how late words are, and what they cost the control plane and the worker."""
    count, words = bench.size.sessions_count, bench.size.session_words_count
    os.environ[speaking_cli.DELTAS_VARIABLE] = f"{words}:{PAUSE_SECONDS}"
    async with bench.launcher.system() as system:
        worker = await _start_worker(system, count + WARM_SESSIONS)
        await _talk(system, WARM_SESSIONS)
        memory, computed = await settled_rss(worker), system.server.cpu_seconds
        bench.step(f"{count} sessions of {words} words")
        began = time.monotonic()
        late = await _talk(system, count)
        minutes = count * (time.monotonic() - began) / 60
        computed = system.server.cpu_seconds - computed
        grown = (await settled_rss(worker) - memory) / count
    bench.step(f"{count} programs read directly")
    direct = await _read_directly(count)
    return [
        Figure("sessions", f"a word of {count}, p{percent}", percentile(late, percent) * 1000, "ms",
               Floor("read directly", percentile(direct, percent) * 1000))
        for percent in (50, 99)
    ] + [
        Figure("sessions", "control plane for a session that talks, a minute", computed / minutes * 1000, "ms CPU"),
        Figure("sessions", "worker for a session, besides the CLI", grown / KIB, "KiB"),
    ]  # fmt: skip


async def _start_worker(system: System, slots: int) -> Child:
    program = system.data / "speaking-claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {speaking_cli.__file__} "$@"\n')
    program.chmod(0o700)
    arguments = ["-m", "headrace_worker", "--server", system.address, "--slots", str(slots), "--id", "sessions"]
    arguments += ["--data", str(system.data / "sessions"), "--claude", str(program), "--drain-seconds", "0"]
    return await system.processes.start("worker", arguments)


async def _talk(system: System, count: int) -> list[float]:
    """Has so many sessions say something at once, each with a reader; how late each word was, in seconds."""
    heard = await asyncio.gather(*(_one(system) for _ in range(count)))
    return [one for late in heard for one in late]


async def _one(system: System) -> list[float]:
    session = await system.client.sessions.create(queue=QUEUE)
    late: list[float] = []
    async with asyncio.timeout(TURN_SECONDS), session.converse(deltas=True) as talk:
        turn = await talk.send("go on")
        async for item in talk:
            if isinstance(item, event_pb2.Delta):
                late += _lateness(item.text)
            elif isinstance(item, event_pb2.Event) and item.job_id == turn.id and item.HasField("failed"):
                raise ProcessFailed(f"a turn failed: {item.failed.failure.message}")
            elif isinstance(item, event_pb2.Event) and item.job_id == turn.id and item.HasField("succeeded"):
                return late
    raise headrace.HeadraceError("a conversation ended by itself")


def _lateness(text: str) -> list[float]:
    now = time.monotonic_ns()
    return [(now - int(word)) / 1e9 for word in text.split()]


async def _read_directly(count: int) -> list[float]:
    """The same programs with nothing between: a pipe each."""
    heard = await asyncio.gather(*(_one_directly() for _ in range(count)))
    return [one for late in heard for one in late]


async def _one_directly() -> list[float]:
    program = Path(speaking_cli.__file__)
    process = await asyncio.create_subprocess_exec(
        sys.executable, program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(PROMPT).encode() + b"\n")
    late: list[float] = []
    async with asyncio.timeout(TURN_SECONDS):
        while line := await process.stdout.readline():
            frame = json.loads(line)
            if frame["type"] == "result":
                break
            late += _lateness(frame.get("event", {}).get("delta", {}).get("text", ""))
        process.stdin.close()
        await process.wait()
    return late
