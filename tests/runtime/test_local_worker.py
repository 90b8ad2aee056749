"""The local worker: adopted or started, started again when it ends, and ended with its control plane."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_server.runtime import local_worker
from headrace_server.runtime.local_worker import LocalWorker, LocalWorkerCommand

FAKE = """
import fcntl, os, signal, sys
lock, mode = sys.argv[1:]
descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.ftruncate(descriptor, 0)
signals = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
os.write(descriptor, f"{os.getpid()}\\n".encode())
with open(lock + ".starts", "a") as starts:
    print(os.getpid(), os.getsid(0), file=starts)
if mode == "crashes":
    print("before", file=sys.stderr)
    sys.exit("it has no handlers")
if mode == "crashes-in-a-group":
    raise ExceptionGroup("several", [ValueError("it has no handlers")])
if mode == "exits":
    sys.exit(0)
count = {"drains": 1, "twice": 2, "deaf": 99}[mode]
heard = [signal.sigwait(signals).name for _ in range(count)]
with open(lock + ".heard", "w") as file:
    file.write(" ".join(heard))
"""

Command = Callable[[str], LocalWorkerCommand]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """How to start a fake worker; ends what a test leaves running."""
    script, lock = tmp_path / "fake.py", tmp_path / "lock"
    script.write_text(FAKE)

    def command(mode: str) -> LocalWorkerCommand:
        arguments = [sys.executable, "-S", str(script), str(lock), mode]
        return LocalWorkerCommand(arguments, lock, tmp_path / "logs" / "log", tmp_path / "options")

    yield command
    for pid, _ in starts(command("drains")):
        if is_locked(lock):
            os.kill(pid, signal.SIGKILL)


def starts(command: LocalWorkerCommand) -> list[tuple[int, int]]:
    """Process and session of every worker that was started."""
    path = Path(f"{command.lock}.starts")
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), int(session)) for pid, session in (line.split() for line in lines)]


def is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - it is another process that makes it true
            await asyncio.sleep(0.005)


async def faults_of(command: LocalWorkerCommand) -> list[str]:
    """What is told of a worker that runs until the first is told."""
    faults: list[str] = []
    worker = LocalWorker(command, faults.append)
    running = asyncio.ensure_future(worker.run())
    await until(lambda: faults)
    await worker.stop(10)
    await running
    return faults


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def test_a_worker_is_started_in_a_session_of_its_own_and_drained_at_the_end(command: Command) -> None:
    async def test() -> None:
        made = command("drains")
        worker = LocalWorker(made)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: starts(made))
        ((pid, session),) = starts(made)
        assert session == pid
        await worker.stop(10)
        await running
        assert Path(f"{made.lock}.heard").read_text() == "SIGTERM"
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run(test)


def test_the_holder_of_the_lock_is_adopted(command: Command) -> None:
    async def test() -> None:
        made = command("drains")
        earlier = await asyncio.create_subprocess_exec(*made.arguments)
        await until(lambda: starts(made))
        worker = LocalWorker(made)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: worker._pid)
        await worker.stop(10)
        await running
        await earlier.wait()
        assert [pid for pid, _ in starts(made)] == [earlier.pid]
        assert Path(f"{made.lock}.heard").read_text() == "SIGTERM"

    run(test)


def test_a_worker_that_ends_is_started_again_after_a_pause_that_grows(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(local_worker, "RESTART_SECONDS_MIN", 0.01)
        made = command("crashes")
        worker = LocalWorker(made)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: len(starts(made)) >= 3)
        await worker.stop(10)
        await running
        assert len({pid for pid, _ in starts(made)}) == len(starts(made))

    run(test)


def test_a_stop_during_the_pause_ends_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(local_worker, "RESTART_SECONDS_MIN", 3600.0)
        made = command("crashes")
        worker = LocalWorker(made)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: starts(made) and worker._pidfd < 0)
        await worker.stop(10)
        await running
        assert len(starts(made)) == 1

    run(test)


def test_a_worker_that_does_not_drain_is_killed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(local_worker, "KILL_SECONDS", 0.05)
        made = command("deaf")
        worker = LocalWorker(made)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: starts(made))
        await worker.stop(0.05)
        await running
        assert not is_locked(made.lock)

    run(test)


def test_to_end_at_once_is_two_signals_even_when_they_arrive_together(command: Command) -> None:
    async def test() -> None:
        made = command("twice")
        worker = LocalWorker(made)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: starts(made))
        worker.end_at_once()
        await running
        assert sorted(Path(f"{made.lock}.heard").read_text().split()) == ["SIGINT", "SIGTERM"]

    run(test)


def test_a_stop_before_the_start_starts_nothing(command: Command) -> None:
    async def test() -> None:
        made = command("drains")
        worker = LocalWorker(made)
        await worker.stop(1)
        await worker.run()
        worker.end_at_once()
        assert starts(made) == []

    run(test)


def test_an_adopted_worker_with_other_options_is_named(command: Command, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        first = LocalWorker(command("drains"))
        await first._adopt_or_start()
        await until(lambda: starts(command("drains")))
        second = LocalWorker(command("twice"))
        running = asyncio.ensure_future(second.run())
        await until(lambda: second._pid)
        assert "runs with other options" in caplog.text
        assert "drains" in caplog.text
        await second.stop(10)
        await running
        first._on_end()
        first._close()

    run(test)


def test_what_a_worker_said_last_is_said_again_and_known(command: Command, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        made = command("crashes")
        made.log.parent.mkdir()
        made.log.write_text("of an earlier start\n")
        faults = await faults_of(made)
        assert faults == ["it has ended with status 1, saying: it has no handlers"]
        assert f"does not run, starting it again in 0.5 s: {faults[0]}" in caplog.text

    run(test)


def test_the_words_of_a_group_of_exceptions_are_those_inside_of_its_frame(command: Command) -> None:
    async def test() -> None:
        faults = await faults_of(command("crashes-in-a-group"))
        assert faults == ["it has ended with status 1, saying: ValueError: it has no handlers"]

    run(test)


def test_a_worker_that_said_nothing_is_known_by_its_status(command: Command) -> None:
    async def test() -> None:
        made = command("exits")
        made.log.parent.mkdir()
        made.log.write_text("of an earlier start\n")
        faults = await faults_of(made)
        assert faults == [f"it has ended with status 0; its log is {made.log}"]

    run(test)


def test_a_fault_is_over_once_the_worker_runs_steadily(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        monkeypatch.setattr(local_worker, "STEADY_SECONDS", 0.01)
        faults = await faults_of(command("drains"))
        assert faults == [""]

    run(test)


def test_q7_a_worker_that_is_not_wanted_is_not_started_until_it_is(command: Command) -> None:
    async def test() -> None:
        made = command("exits")
        worker = LocalWorker(made)
        worker.want(False)
        running = asyncio.ensure_future(worker.run())
        await asyncio.sleep(0)
        assert worker._pid == 0
        worker.want(True)
        await until(lambda: starts(made))
        worker.want(False)
        await worker.stop(10)
        await running
        assert len(starts(made)) == 1

    run(test)


def test_q7_one_that_runs_although_it_is_not_wanted_is_adopted_and_not_started_again(command: Command) -> None:
    async def test() -> None:
        made = command("drains")
        earlier = await asyncio.create_subprocess_exec(*made.arguments)
        await until(lambda: starts(made))
        worker = LocalWorker(made)
        worker.want(False)
        running = asyncio.ensure_future(worker.run())
        await until(lambda: worker._pid)
        earlier.terminate()
        await earlier.wait()
        await until(lambda: worker._pidfd < 0)
        await worker.stop(10)
        await running
        assert [pid for pid, _ in starts(made)] == [earlier.pid]

    run(test)
