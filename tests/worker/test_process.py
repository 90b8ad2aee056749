"""Processes as executors see them: pipes with back pressure, the end, and the proof that nothing is left."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace_worker.ladder import kill_and_close
from headrace_worker.process import ExitStatus, ProcessTree, Program, SpawnFailed, spawn
from headrace_worker.trees import Trees

Body = Callable[[ProcessTree], Coroutine[Any, Any, None]]
LOOPS = [asyncio.run, uvloop.run]


def python(script: str, folder: Path) -> Program:
    return Program((sys.executable, "-c", script), str(folder), {"PATH": os.environ["PATH"]})


def with_tree(script: str, folder: Path, body: Body, run: Callable[..., Any] = uvloop.run) -> None:
    async def main() -> None:
        async with asyncio.timeout(30):
            tree = await spawn(python(script, folder), Trees())
            try:
                await body(tree)
            finally:
                await kill_and_close(tree)

    run(main())


async def read_all(tree: ProcessTree) -> bytes:
    data = b""
    while chunk := await tree.stdout.read():
        data += chunk
    return data


@pytest.mark.parametrize("run", LOOPS)
def test_input_output_and_status(run: Callable[..., Any], tmp_path: Path) -> None:
    async def body(tree: ProcessTree) -> None:
        sent = os.urandom(1_000_000)
        reading = asyncio.create_task(read_all(tree))
        await tree.stdin.write(sent, 10)
        tree.stdin.close()
        assert await reading == sent
        assert await tree.stderr.read() == b"done"
        assert await tree.wait_exit() == ExitStatus(5)
        await tree.wait_gone()

    script = "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer); sys.stdout.flush()"
    with_tree(script + "; sys.stderr.write('done'); sys.exit(5)", tmp_path, body, run)


def test_output_that_nobody_takes_stops_the_program(tmp_path: Path, processes: Any) -> None:
    async def body(tree: ProcessTree) -> None:
        taken = int(await processes.until_file(tmp_path / "written"))
        assert 0 < taken <= 1024 * 1024
        assert len(await read_all(tree)) == taken + 1_000_000
        assert await tree.wait_exit() == ExitStatus(0)

    script = (
        "import os\nos.set_blocking(1, False)\ncount = 0\n"
        "try:\n while True: count += os.write(1, b'x' * 4096)\n"
        "except BlockingIOError: open('written', 'w').write(f'{count}\\n')\n"
        "os.set_blocking(1, True)\nopen(1, 'wb').write(b'y' * 1_000_000)\n"
    )
    with_tree(script, tmp_path, body)


def test_write_to_a_program_that_takes_nothing_ends_by_its_deadline(tmp_path: Path) -> None:
    async def body(tree: ProcessTree) -> None:
        with pytest.raises(TimeoutError):
            await tree.stdin.write(b"x" * 10_000_000, 0.2)

    with_tree("import time; time.sleep(600)", tmp_path, body)


def test_write_to_a_program_that_has_closed_its_input_fails(tmp_path: Path) -> None:
    async def body(tree: ProcessTree) -> None:
        with pytest.raises(BrokenPipeError):
            await tree.stdin.write(b"x" * 10_000_000, 10)

    with_tree("import os, time; os.close(0); time.sleep(600)", tmp_path, body)


def test_exit_is_seen_while_a_grandchild_holds_stdout(tmp_path: Path) -> None:
    async def body(tree: ProcessTree) -> None:
        assert await tree.wait_exit() == ExitStatus(0)
        assert not tree.gone
        tree.signal_tree(signal.SIGKILL)
        await tree.wait_gone()
        assert await read_all(tree) == b"last words"

    script = "import os, time\nif os.fork() == 0:\n os.setsid(); time.sleep(600)\nos.write(1, b'last words')"
    with_tree(script, tmp_path, body)


def test_output_ends_with_the_tree_although_a_stranger_holds_the_pipe(tmp_path: Path) -> None:
    async def body(tree: ProcessTree) -> None:
        handle = os.open(f"/proc/{await tree.confirm_started()}/fd/1", os.O_WRONLY)
        try:
            tree.stdin.close()
            await tree.wait_gone()
            assert await read_all(tree) == b"all"
        finally:
            os.close(handle)

    with_tree("import sys; sys.stdin.read(); print('all', end='')", tmp_path, body)


@pytest.mark.parametrize(
    ("arguments", "folder", "permanent"),
    [(("/no/such/program",), ".", True), ((sys.executable,), "missing", True), (("/etc/passwd",), ".", True)],
)
def test_program_that_can_not_start_leaves_nothing(
    arguments: tuple[str, ...], folder: str, permanent: bool, tmp_path: Path, processes: Any
) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(SpawnFailed) as failed:
            await spawn(Program(arguments, str(tmp_path / folder), {}), Trees())
        assert failed.value.permanent is permanent
        assert len(os.listdir("/proc/self/fd")) == before
        assert processes.left() == []

    asyncio.run(main())


def test_a_hundred_trees_leave_no_file_descriptor(tmp_path: Path) -> None:
    async def main() -> None:
        lease = Trees()

        async def one() -> None:
            tree = await spawn(Program(("/bin/true",), str(tmp_path), {}), lease)
            assert await tree.wait_exit() == ExitStatus(0)
            await kill_and_close(tree)

        await one()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            await asyncio.gather(*(one() for _ in range(10)))
        assert len(os.listdir("/proc/self/fd")) == before

    uvloop.run(main())


def test_l7_trees_end_with_their_lease(tmp_path: Path) -> None:
    async def main() -> None:
        lease = Trees()
        lease.extend_seconds(600)
        tree = await spawn(python("import time; time.sleep(600)", tmp_path), lease)
        lease.extend_seconds(0)
        assert await tree.wait_exit() == ExitStatus(0, signal.SIGTERM)
        await kill_and_close(tree)

    uvloop.run(main())


def test_tree_of_a_killed_keeper_is_swept(tmp_path: Path, processes: Any) -> None:
    async def body(tree: ProcessTree) -> None:
        grandchild = int(await processes.until_file(tmp_path / "grandchild"))
        os.kill(tree._keeper.pid, signal.SIGKILL)
        await tree.wait_gone()
        assert await tree.wait_exit() == ExitStatus(0, signal.SIGKILL)
        assert not processes.is_alive(grandchild)

    script = (
        "import os, time\nif os.fork() == 0:\n os.setsid()\n"
        " open('grandchild', 'w').write(f'{os.getpid()}\\n')\ntime.sleep(600)"
    )
    with_tree(script, tmp_path, body)


def test_spawn_that_is_given_up_leaves_nothing(tmp_path: Path, processes: Any) -> None:
    async def main() -> None:
        task = asyncio.create_task(spawn(python("import time; time.sleep(600)", tmp_path), Trees()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert processes.left() == []

    asyncio.run(main())


WORKER = """
import asyncio, sys
from headrace_worker.process import Program, spawn
from headrace_worker.trees import Trees
async def main():
    await spawn(Program((sys.executable, "-c", sys.argv[1]), sys.argv[2], {"PATH": "/bin"}), Trees())
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_l7_kill_9_of_the_worker_leaves_no_process(tmp_path: Path, processes: Any) -> None:
    program = (
        "import os, signal, time\nsignal.signal(15, signal.SIG_IGN)\nif os.fork() == 0:\n os.setsid()\n"
        " if os.fork() == 0:\n  open('orphan', 'w').write(f'{os.getpid()}\\n'); time.sleep(600)\n os._exit(0)\n"
        "os.wait(); time.sleep(600)"
    )
    worker = subprocess.Popen([sys.executable, "-c", WORKER, program, str(tmp_path)])
    orphan = int(processes.wait_file(tmp_path / "orphan"))
    (keeper,) = processes.children_of(worker.pid)
    worker.kill()
    worker.wait()
    processes.wait_dead(keeper)
    assert not processes.is_alive(orphan)
