"""`headrace work` as a process: it runs every kind of task, drains by a signal, ends at once by the second."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from headrace.v1 import job_pb2, task_pb2
from worker.agent_running import handler_spec
from worker.agent_server import DEADLINE_SECONDS, ScriptedServer, serving

HANDLERS = """
import asyncio, threading
from headrace.worker import Worker
worker = Worker()
@worker.handler("hello")
async def hello(values): return "hello " + values["who"]
@worker.handler("endless")
async def endless(values): await asyncio.Event().wait()
@worker.handler("deaf")
def deaf(values): threading.Event().wait()
"""


def start(*options: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Not the loop's way to start a process: uvloop forks, which grpc's threads do not survive."""
    command = [sys.executable, "-m", "headrace_worker", *options]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@asynccontextmanager
async def process(server: ScriptedServer, folder: Path, *options: str) -> AsyncIterator[subprocess.Popen[str]]:
    """A `headrace work` that is connected."""
    (folder / "process_handlers.py").write_text(HANDLERS)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder)}
    fixed = (f"--server={server.address}", f"--data={folder / 'data'}", "--handlers=process_handlers")
    started = start(*fixed, *options, environment=environment)
    try:
        await server.until(lambda: server.controls)
        yield started
    finally:
        started.kill()
        await asyncio.to_thread(started.communicate)


async def ended(started: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = await asyncio.to_thread(started.communicate, timeout=DEADLINE_SECONDS)
    return started.returncode, errors


def test_it_runs_handlers_commands_and_the_simulated_claude_and_drains_by_a_signal(tmp_path: Path) -> None:
    async def run() -> None:
        options = ("--id=w1", "--claude=simulated", "--allow-command=echo", "--label=zone=a", "--slots=3")
        async with serving(tmp_path) as server, process(server, tmp_path, *options) as started:
            hello = server.control.hello.hello
            assert list(hello.capabilities.executors) == ["claude", "command", "handler"]
            assert (hello.worker_id, hello.slots, dict(hello.capabilities.labels)) == ("w1", 3, {"zone": "a"})
            assert hello.capabilities.claude_simulated
            handler = server.assign(handler_spec("hello", who="you"))
            command = server.assign(job_pb2.JobSpec(command=task_pb2.CommandTask(program="echo", arguments=["hi"])))
            claude = server.assign(job_pb2.JobSpec(claude=task_pb2.ClaudeTask(prompt="Say hello")))
            await server.until(lambda: handler.finishes and command.finishes and claude.finishes)
            assert handler.finishes[0].succeeded.handler.value.string_value == "hello you"
            assert command.data == b"hi\n"
            assert claude.finishes[0].succeeded.claude.simulated
            started.send_signal(signal.SIGTERM)
            status, errors = await ended(started)
            assert status == 0
            assert errors.splitlines()[-1] == "headrace work: drained"

    uvloop.run(run())


def test_the_second_signal_ends_it_at_once_and_returns_what_ran(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server, process(server, tmp_path, "--drain-seconds=3600") as started:
            attempt = server.assign(handler_spec("endless"))
            await server.until(lambda: attempt.starts)
            started.send_signal(signal.SIGTERM)
            await server.until(lambda: server.control.renewals[-1].draining)
            assert not attempt.finishes
            started.send_signal(signal.SIGINT)
            status, _ = await ended(started)
            assert (status, attempt.outcome) == (1, "returned")

    uvloop.run(run())


def test_a_thread_that_never_returns_does_not_keep_the_process(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server, process(server, tmp_path, "--drain-seconds=3600") as started:
            attempt = server.assign(handler_spec("deaf"))
            await server.until(lambda: attempt.starts)
            started.send_signal(signal.SIGTERM)
            await server.until(lambda: server.control.renewals[-1].draining)
            started.send_signal(signal.SIGTERM)
            assert (await ended(started))[0] == 1

    uvloop.run(run())


def test_a_worker_whose_id_is_taken_exits_with_a_reason(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as server, process(server, tmp_path) as started:
            server.refusal = "STALE_INCARNATION"
            server.cut()
            status, errors = await ended(started)
            assert status == 3
            assert "Give each worker an --id of its own" in errors

    uvloop.run(run())


def test_a_second_local_worker_leaves_the_lock_alone(tmp_path: Path) -> None:
    async def run() -> None:
        lock = f"--lock={tmp_path / 'lock'}"
        async with serving(tmp_path) as server, process(server, tmp_path, lock) as first:
            async with process(server, tmp_path, lock) as second:
                status, errors = await ended(second)
            assert status == 5
            assert f"is held by process {first.pid}" in errors

    uvloop.run(run())
