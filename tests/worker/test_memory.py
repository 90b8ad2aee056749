"""A tree that holds too much memory: a line in the log past the soft limit, killed past the hard one, with its size."""

import asyncio
import json
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from headrace.v1 import event_pb2, outcome_pb2, task_pb2
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.command import CommandExecutor
from headrace_worker.executors.contract import Failed, Outcome, Succeeded
from headrace_worker.process import Program, spawn
from headrace_worker.process_table import proportional_bytes, read_table
from headrace_worker.trees import Memory, MemoryLimits, Trees, take_samples
from headrace_worker.workspace import Workspaces

MIB = 1024 * 1024
RESOURCE = outcome_pb2.FAILURE_CLASS_RESOURCE


def run_claude(
    steps: list[dict[str, Any]],
    limits: MemoryLimits,
    workspaces: Workspaces,
    environment: dict[str, str],
    attempt_of: Callable[..., Any],
    data: Path,
) -> tuple[Outcome, Any]:
    command = ClaudeCommand(
        (sys.executable, "-m", "headrace_worker.simulator"),
        simulated=True,
        data_folder=data,
        environment=environment,
        credentials={"HEADRACE_SIMULATOR_PACE": "0"},
    )
    seconds = ConversationSeconds(close=1.0, terminate=0.5, drain=0.5)

    async def main() -> tuple[Outcome, Any]:
        executor = ClaudeExecutor(command, workspaces, Trees(sample_seconds=0.05), lambda: 0.0, seconds, limits)
        attempt = attempt_of(claude=task_pb2.ClaudeTask(prompt=f"SIMULATE<<{json.dumps(steps)}>>"))
        async with asyncio.timeout(40):
            return await executor.run(attempt), attempt

    return uvloop.run(main())


def notes_of(attempt: Any) -> list[str]:
    return [output.progress.message for output in attempt.outputs if output.HasField("progress")]


def test_a_claude_tree_past_its_hard_limit_is_killed_and_says_how_large_it_was(
    tmp_path: Path,
    workspaces: Workspaces,
    base_environment: dict[str, str],
    attempt_of: Callable[..., Any],
    processes: Any,
) -> None:
    grows: list[dict[str, Any]] = [{"text": "begin"}, {"fault": "memory", "bytes": 1024 * MIB, "milliseconds": 5}]
    limits = MemoryLimits(60 * MIB, 150 * MIB)
    outcome, attempt = run_claude(grows, limits, workspaces, base_environment, attempt_of, tmp_path / "data")
    assert isinstance(outcome, Failed)
    assert outcome.failure.failure_class == RESOURCE
    name, equals, number = outcome.failure.sign.partition("=")
    assert (name, equals) == ("rss_bytes", "=")
    assert 150 * MIB < int(number) < 1100 * MIB
    assert outcome.failure.message.endswith(" of memory, 150.0 MiB are allowed")
    assert outcome.failure.partial_result.claude.claude_session_id
    (note,) = notes_of(attempt)
    assert note.endswith("(soft limit 60.0 MiB, hard limit 150.0 MiB)")
    assert "begin" in [block.text for frame in attempt.frames() for block in frame.assistant.blocks]
    assert processes.left() == []


def test_a_claude_tree_past_its_soft_limit_only_says_so_once(
    tmp_path: Path, workspaces: Workspaces, base_environment: dict[str, str], attempt_of: Callable[..., Any]
) -> None:
    grows: list[dict[str, Any]] = [
        {"fault": "memory", "bytes": 96 * MIB},
        {"fault": "delay", "milliseconds": 500},
        {"text": "done"},
    ]
    limits = MemoryLimits(90 * MIB, 0)
    outcome, attempt = run_claude(grows, limits, workspaces, base_environment, attempt_of, tmp_path / "data")
    assert isinstance(outcome, Succeeded)
    assert outcome.result.claude.text == "done"
    (note,) = notes_of(attempt)
    assert note.endswith("(soft limit 90.0 MiB, hard limit none)")


def test_a_commands_children_count_and_no_limit_is_the_default(
    workspaces: Workspaces, base_environment: dict[str, str], attempt_of: Callable[..., Any], processes: Any
) -> None:
    child = f"held = b'x' * {200 * MIB}; print('held', flush=True); import sys, time; time.sleep(int(sys.argv[1]))"
    begin = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, sys.argv[1]])"

    async def main(limits: MemoryLimits | None, seconds: int) -> tuple[Outcome, Any]:
        trees = Trees(sample_seconds=0.05)
        executor = CommandExecutor([sys.executable], base_environment, workspaces, trees, memory=limits)
        attempt = attempt_of(
            command=task_pb2.CommandTask(program=sys.executable, arguments=["-c", begin, f"{seconds}"])
        )
        async with asyncio.timeout(40):
            return await executor.run(attempt), attempt

    outcome, _ = uvloop.run(main(MemoryLimits(0, 100 * MIB), 600))
    assert isinstance(outcome, Failed)
    assert outcome.failure.failure_class == RESOURCE
    assert int(outcome.failure.sign.removeprefix("rss_bytes=")) > 100 * MIB
    assert processes.left() == []
    outcome, attempt = uvloop.run(main(None, 1))
    assert isinstance(outcome, Succeeded)
    assert attempt.bytes_of(event_pb2.OUTPUT_STREAM_STDOUT) == b"held\n"


def test_shared_pages_count_once_where_a_limit_depends_on_it() -> None:
    """Five processes that share 100 MiB hold 100 MiB, though each seems to."""
    held = mmap.mmap(-1, 100 * MIB)
    held.write(b"x" * (100 * MIB))
    script = (
        f"import mmap, os, sys\nheld = mmap.mmap(-1, {100 * MIB}); held.write(b'x' * {100 * MIB})\n"
        "for _ in range(4):\n    if os.fork() == 0: break\nelse: print('ready', flush=True)\n"
        f"sum(held[i] for i in range(0, {100 * MIB}, 4096))\nsys.stdin.read()\nos._exit(0)"
    )

    async def main() -> tuple[int, int]:
        tree = await spawn(Program((sys.executable, "-c", script), "/", {}), Trees())
        async with asyncio.timeout(20):
            assert await tree.stdout.read() == b"ready\n"
            while True:
                samples = await asyncio.to_thread(take_samples, {tree.keeper_pid: 0})
                if samples[tree.keeper_pid].memory_bytes > 480 * MIB:
                    break
            limited = await asyncio.to_thread(take_samples, {tree.keeper_pid: 200 * MIB})
        tree.stdin.close()
        await tree.wait_gone()
        tree.close()
        return len(limited[tree.keeper_pid].processes), limited[tree.keeper_pid].memory_bytes

    count, memory_bytes = uvloop.run(main())
    assert count == 5
    assert 100 * MIB < memory_bytes < 200 * MIB


def test_each_limit_is_passed_once_and_the_largest_sample_is_kept() -> None:
    async def main() -> None:
        memory = Memory(MemoryLimits(10, 20))
        assert memory.least_limit() == 10
        memory.note(10)
        assert memory.least_limit() == 10, "a limit is what is allowed"
        memory.note(15)
        await memory.wait_over_soft()
        assert (memory.least_limit(), memory.over_hard) == (20, False)
        memory.note(21)
        await memory.wait_over_hard()
        memory.note(5)
        assert (memory.least_limit(), memory.over_hard, memory.last_bytes, memory.peak_bytes) == (0, True, 5, 21)

    asyncio.run(main())


def test_the_table_knows_this_process() -> None:
    table = read_table()
    assert table.entries[os.getpid()].parent == os.getppid()
    assert table.entries[os.getpid()] in table.below(os.getppid())
    own = table.entries[os.getpid()]
    assert 0 < proportional_bytes([own.process]) <= own.resident_bytes * 1.1
