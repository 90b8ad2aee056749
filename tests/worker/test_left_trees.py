"""What a killed worker and its killed keepers leave behind: the next start ends it before it says a word (L5, L7)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_worker.app import clear_away
from headrace_worker.local_lock import LocalLock, LockTaken
from headrace_worker.process_table import Process, read_table, start_ticks
from headrace_worker.sweep import carriers, end_left_trees, folder_mark, sweep

WORKER = """
import asyncio, sys
from headrace_worker.process import Program, spawn
from headrace_worker.trees import Trees
async def main():
    program = Program((sys.executable, "-c", sys.argv[1]), sys.argv[2], {"PATH": "/usr/bin:/bin"})
    tree = await spawn(program, Trees(sys.argv[3]))
    print(tree.keeper_pid, flush=True)
    await tree.wait_gone()
asyncio.run(main())
"""
DEAF_FAMILY = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("grandchild", "w").write(f"{os.getpid()}\\n")
        time.sleep(600)
    os._exit(0)
open("program", "w").write(f"{os.getpid()}\\n")
time.sleep(600)
"""


class Family:
    """A worker, its keeper, a program that ignores SIGTERM, and a grandchild in a session of its own."""

    def __init__(self, folder: Path, mark: str, processes: Any) -> None:
        self.worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, DEAF_FAMILY, str(folder), mark], stdout=subprocess.PIPE, text=True
        )
        assert self.worker.stdout is not None
        self.keeper = int(self.worker.stdout.readline())
        self.program = int(processes.wait_file(folder / "program"))
        self.grandchild = int(processes.wait_file(folder / "grandchild"))

    @property
    def members(self) -> set[int]:
        return {self.program, self.grandchild}

    def kill(self, *pids: int) -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        if self.worker.pid in pids:
            self.worker.wait()

    def close(self) -> None:
        for pid in (self.worker.pid, self.keeper, *self.members):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.worker.communicate()


@pytest.fixture
def family(tmp_path: Path, processes: Any) -> Iterator[Callable[[str], Family]]:
    made: list[Family] = []

    def make(mark: str) -> Family:
        made.append(Family(tmp_path, mark, processes))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_l7_a_later_start_waits_until_the_keeper_has_ended_its_tree(
    tmp_path: Path, family: Callable[[str], Family], processes: Any
) -> None:
    mark = folder_mark(tmp_path)
    one = family(mark)
    one.kill(one.worker.pid)
    assert end_left_trees(mark) == 3
    assert not [pid for pid in (one.keeper, *one.members) if processes.is_alive(pid)]


def test_l7_a_later_start_ends_a_tree_whose_keeper_was_killed_too(
    tmp_path: Path, family: Callable[[str], Family], processes: Any
) -> None:
    mark = folder_mark(tmp_path)
    one = family(mark)
    os.kill(one.keeper, signal.SIGSTOP)
    one.kill(one.worker.pid, one.keeper)
    begin = time.monotonic()
    assert end_left_trees(mark) >= 1
    assert time.monotonic() - begin < 3.0, "nobody is there to wait for"
    assert not [pid for pid in one.members if processes.is_alive(pid)]


def test_l7_a_keeper_that_is_stopped_keeps_nothing_alive(
    tmp_path: Path, family: Callable[[str], Family], processes: Any
) -> None:
    mark = folder_mark(tmp_path)
    one = family(mark)
    os.kill(one.keeper, signal.SIGSTOP)
    one.kill(one.worker.pid)
    assert end_left_trees(mark) == 3
    assert not [pid for pid in (one.keeper, *one.members) if processes.is_alive(pid)]


def test_trees_of_another_data_folder_are_left_alone(
    tmp_path: Path, family: Callable[[str], Family], processes: Any
) -> None:
    other = folder_mark(tmp_path / "other")
    one = family(folder_mark(tmp_path))
    assert end_left_trees(other) == 0
    assert all(processes.is_alive(pid) for pid in one.members)


def test_the_mark_of_a_data_folder_stays_and_is_its_own(tmp_path: Path) -> None:
    assert folder_mark(tmp_path / "a") == folder_mark(tmp_path / "a") != folder_mark(tmp_path / "b")


def test_a_process_that_was_seen_is_found_without_its_mark_and_its_children_too(tmp_path: Path, processes: Any) -> None:
    script = "import os, time\nif os.fork() == 0: open('child', 'w').write(f'{os.getpid()}\\n')\ntime.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env={})
    child = int(processes.wait_file(tmp_path / "child"))
    seen = read_table().entries[parent.pid].process
    assert sweep("no-such-mark", [seen]) == 0
    assert parent.wait(20) == -signal.SIGKILL
    assert not processes.is_alive(child)


def test_a_process_that_got_the_number_of_one_that_was_seen_is_left_alone() -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={})
    ticks = start_ticks(other.pid)
    assert ticks is not None
    try:
        assert sweep("no-such-mark", [Process(other.pid, ticks - 1)]) == 0
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_nobody_is_named_by_a_mark_that_nobody_carries() -> None:
    found = carriers("no-such-mark")
    assert (found.members, found.keepers) == (frozenset(), frozenset())


def test_a_start_removes_the_temporary_folders_of_dead_attempts(tmp_path: Path) -> None:
    (tmp_path / "tmp" / "1-abc").mkdir(parents=True)
    (tmp_path / "tmp" / "1-abc" / "file").write_text("left")
    (tmp_path / "workspaces" / "job").mkdir(parents=True)
    clear_away(tmp_path)
    assert os.listdir(tmp_path / "tmp") == []
    assert os.listdir(tmp_path / "workspaces") == ["job"], "a dirty job is resumed in it"


def test_a_data_folder_has_one_worker_at_a_time(tmp_path: Path) -> None:
    lock = LocalLock(tmp_path / "lock")
    started = subprocess.run(
        [sys.executable, "-m", "headrace_worker", "--data", str(tmp_path), "--server", "127.0.0.1:1"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (started.returncode, started.stderr) == (
        5,
        f"headrace work: {tmp_path / 'lock'} is held by process {os.getpid()}\n",
    )
    with pytest.raises(LockTaken):
        LocalLock(tmp_path / "lock")
    lock.close()
