"""CommandTasks: exact bytes, limits of what may run, and every way to end."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.v1 import event_pb2, outcome_pb2, task_pb2
from headrace_worker.executors.command import CommandExecutor, CommandSeconds
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, Succeeded
from headrace_worker.trees import Trees
from headrace_worker.workspace import Workspaces

STDOUT, STDERR = event_pb2.OUTPUT_STREAM_STDOUT, event_pb2.OUTPUT_STREAM_STDERR
DEAF = "import signal, time\nfor n in (2, 15): signal.signal(n, signal.SIG_IGN)\nprint('ready', flush=True)\n"


@pytest.fixture
def executor(workspaces: Workspaces, lease: Trees, base_environment: dict[str, str]) -> CommandExecutor:
    seconds = CommandSeconds(drain=0.3, terminate=0.3)
    return CommandExecutor([sys.executable, "cat", "no-such-thing"], base_environment, workspaces, lease, seconds)


@pytest.fixture
def run(executor: CommandExecutor, attempt_of: Callable[..., Any]) -> Callable[..., tuple[Outcome, Any]]:
    """Runs a script to its end, beside something that happens meanwhile."""

    def run_script(script: str, meanwhile: Callable[[Any], Any] | None = None, **task: Any) -> tuple[Outcome, Any]:
        async def main() -> tuple[Outcome, Any]:
            fields = {"program": sys.executable, "arguments": ["-c", script], **task}
            attempt = attempt_of(command=task_pb2.CommandTask(**fields))
            async with asyncio.timeout(30):
                running = asyncio.create_task(executor.run(attempt))
                if meanwhile is not None:
                    await meanwhile(attempt)
                return await running, attempt

        return uvloop.run(main())

    return run_script


def failure_of(outcome: Outcome) -> outcome_pb2.Failure:
    assert isinstance(outcome, Failed)
    return outcome.failure


def test_e6_bytes_are_kept_exactly(run: Any) -> None:
    everything = bytes(range(256)) * 4000 + b"\r\n\x1b[0m\xe2\x82"
    outcome, attempt = run(
        "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer); sys.stderr.write('\\x1b[31m')",
        stdin=everything,
    )
    assert isinstance(outcome, Succeeded)
    assert attempt.bytes_of(STDOUT) == everything
    assert attempt.bytes_of(STDERR) == b"\x1b[31m"
    assert max(len(output.chunk.data) for output in attempt.outputs) <= 256 * 1024
    result = outcome.result.command
    assert (result.exit_code, result.stdout_bytes, result.stderr_bytes) == (0, len(everything), 5)


def test_exit_status_is_a_failure_with_the_tail_of_standard_error(run: Any) -> None:
    outcome, attempt = run("import sys; print('partly'); sys.stderr.write('x' * 100_000 + 'why'); sys.exit(3)")
    failure = failure_of(outcome)
    assert failure.failure_class == outcome_pb2.FAILURE_CLASS_ERROR
    assert (failure.sign, failure.exit_code) == ("exit_code=3", 3)
    assert failure.detail.endswith("xwhy")
    assert len(failure.detail.encode()) <= 16 * 1024
    assert failure.partial_result.command.stdout_bytes == 7
    assert attempt.bytes_of(STDOUT) == b"partly\n"


def test_signal_is_a_crash(run: Any) -> None:
    failure = failure_of(run("import os; os.kill(os.getpid(), 11)")[0])
    assert (failure.failure_class, failure.sign, failure.signal) == (outcome_pb2.FAILURE_CLASS_CRASH, "signal=11", 11)
    assert not failure.HasField("exit_code")


@pytest.mark.parametrize(
    "task",
    [
        {"program": "/bin/sh"},
        {"program": "no-such-thing"},
        {"program": ""},
        {"environment": {"LD_PRELOAD": "/x"}},
        {"environment": {"TMPDIR": "/x"}},
        {"environment": {"A=B": "x"}},
        {"arguments": ["a\0b"]},
        {"workspace": task_pb2.Workspace(folder="/etc")},
    ],
)
def test_s6_what_is_not_allowed_is_invalid_and_starts_nothing(run: Any, task: dict[str, Any]) -> None:
    outcome, attempt = run("print('started')", **task)
    assert failure_of(outcome).failure_class == outcome_pb2.FAILURE_CLASS_INVALID
    assert attempt.outputs == []


def test_only_the_fixed_environment_and_the_tasks_own_is_seen(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "x")
    outcome, attempt = run(
        "import os; print(sorted(os.environ), os.environ['GIVEN'], os.environ['HOME'])", environment={"GIVEN": "yes"}
    )
    assert isinstance(outcome, Succeeded)
    names = "['GIVEN', 'HEADRACE_TREE', 'HOME', 'LANG', 'LC_CTYPE', 'PATH', 'TMPDIR']"
    assert attempt.bytes_of(STDOUT).decode().replace("'LC_CTYPE', ", "") == f"{names} yes /\n".replace(
        "'LC_CTYPE', ", ""
    )


def test_x8_folders_are_gone_afterwards(run: Any, tmp_path: Path) -> None:
    outcome, attempt = run(
        "import os, tempfile; open('a', 'w'); open(tempfile.mkdtemp() + '/b', 'w'); print(os.getcwd())"
    )
    assert isinstance(outcome, Succeeded)
    assert attempt.bytes_of(STDOUT).decode().strip() == str(tmp_path / "data" / "workspaces" / "job-1")
    assert [os.listdir(tmp_path / "data" / name) for name in ("workspaces", "tmp")] == [[], []]


def test_c1_ladder_ends_with_the_first_rung_that_helps(run: Any) -> None:
    script = (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\nprint('ready', flush=True)\n"
        "signal.sigwait([signal.SIGINT])\nprint('bye')"
    )

    async def cancel(attempt: Any) -> None:
        await attempt.wait_output(lambda a: a.bytes_of(STDOUT) == b"ready\n")
        attempt.stop()

    outcome, attempt = run(script, cancel)
    assert outcome == Cancelled()
    assert attempt.rungs() == ["INTERRUPT", "TREE_GONE"]
    assert attempt.steps[-1].survivors == 0
    assert attempt.bytes_of(STDOUT) == b"ready\nbye\n"


def test_c1_every_rung_is_reported_when_the_program_is_deaf(run: Any) -> None:
    async def cancel(attempt: Any) -> None:
        await attempt.wait_output(lambda a: a.bytes_of(STDOUT) == b"ready\n")
        attempt.stop(grace_seconds=0.2)

    outcome, attempt = run(DEAF + "time.sleep(600)", cancel)
    assert outcome == Cancelled()
    assert attempt.rungs() == ["INTERRUPT", "TERMINATE", "KILL", "TREE_GONE"]


def test_c1_orphans_are_ended_with_the_program(run: Any, tmp_path: Path, processes: Any) -> None:
    pid_file = tmp_path / "allowed" / "pid"
    script = DEAF + (
        "import os\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n"
        "  open('pid', 'w').write(f'{os.getpid()}\\n'); time.sleep(600)\n os._exit(0)\nos.wait(); time.sleep(600)"
    )

    async def cancel(attempt: Any) -> None:
        await processes.until_file(pid_file)
        attempt.stop(grace_seconds=0.1)

    outcome, attempt = run(script, cancel, workspace=task_pb2.Workspace(folder=str(pid_file.parent)))
    assert outcome == Cancelled()
    assert not processes.is_alive(int(pid_file.read_text()))
    assert (attempt.rungs()[-1], attempt.steps[-1].survivors) == ("TREE_GONE", 0)


def test_a_kill_goes_straight_to_the_last_rung(run: Any) -> None:
    async def kill(attempt: Any) -> None:
        await attempt.wait_output(lambda a: a.bytes_of(STDOUT) == b"ready\n")
        attempt.stop(kill=True)

    outcome, attempt = run(DEAF + "time.sleep(600)", kill)
    assert outcome == Cancelled()
    assert attempt.rungs() == ["KILL", "TREE_GONE"]


def test_a_kill_does_not_wait_for_a_full_outbox(run: Any) -> None:
    async def kill(attempt: Any) -> None:
        await attempt.wait_output(lambda a: a.outputs)
        attempt.room.clear()
        attempt.stop(kill=True)

    outcome, _ = run("import os\nwhile True: os.write(1, b'x' * 4096)", kill)
    assert outcome == Cancelled()


def test_a_stop_before_the_start_starts_nothing(run: Any) -> None:
    async def stop_now(attempt: Any) -> None:
        attempt.stop()

    outcome, attempt = run("print('started')", stop_now)
    assert (outcome, attempt.outputs) == (Cancelled(), [])


def test_grandchild_that_holds_stdout_does_not_delay_the_end(run: Any, processes: Any) -> None:
    script = (
        "import os, time\nsaid, say = os.pipe()\npid = os.fork()\n"
        "if pid == 0:\n os.setsid(); os.write(1, b'child '); os.write(say, b'x'); time.sleep(600)\n"
        "os.read(said, 1); os.write(1, str(pid).encode())"
    )
    outcome, attempt = run(script)
    assert isinstance(outcome, Succeeded)
    assert attempt.rungs() == []
    word, pid = attempt.bytes_of(STDOUT).split()
    assert (word, processes.is_alive(int(pid))) == (b"child", False)


def test_e4_full_outbox_slows_the_program_and_loses_nothing(run: Any, tmp_path: Path, processes: Any) -> None:
    written = tmp_path / "allowed" / "written"
    script = (
        "import os\nos.set_blocking(1, False)\ncount = 0\n"
        "try:\n while True: count += os.write(1, b'x' * 4096)\n"
        "except BlockingIOError: open('written', 'w').write(f'{count}\\n')\n"
        "os.set_blocking(1, True)\nfor _ in range(20): os.write(1, b'y' * 65536)\n"
    )

    async def resume(attempt: Any) -> None:
        attempt.room.clear()
        assert int(await processes.until_file(written)) < 2 * 1024 * 1024
        attempt.room.set()

    outcome, attempt = run(script, resume, workspace=task_pb2.Workspace(folder=str(written.parent)))
    assert isinstance(outcome, Succeeded)
    assert len(attempt.bytes_of(STDOUT)) == outcome.result.command.stdout_bytes
    assert outcome.result.command.stdout_bytes == 20 * 65536 + int(written.read_text())


def test_cancelled_run_leaves_no_process_and_no_folder(
    executor: CommandExecutor, attempt_of: Callable[..., Any], tmp_path: Path, processes: Any
) -> None:
    async def main() -> None:
        task = task_pb2.CommandTask(program=sys.executable, arguments=["-c", DEAF + "time.sleep(600)"])
        attempt = attempt_of(command=task)
        running = asyncio.create_task(executor.run(attempt))
        await attempt.wait_output(lambda a: a.bytes_of(STDOUT) == b"ready\n")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert processes.left() == []
        assert os.listdir(tmp_path / "data" / "tmp") == []

    asyncio.run(main())
