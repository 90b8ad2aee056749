"""X8: programs that run as a user of their own: what they are given, what they can't reach, and that all end."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.v1 import task_pb2, worker_pb2
from headrace_worker import user as user_module
from headrace_worker.acting import acting_as, as_owner
from headrace_worker.app import clear_away
from headrace_worker.ladder import kill_and_close
from headrace_worker.process import ExitStatus, ProcessTree, Program, SpawnFailed, spawn
from headrace_worker.sweep import end_left_trees, folder_mark
from headrace_worker.trees import Trees
from headrace_worker.user import User, UserUnusable, find_user, let_pass, make_folder
from headrace_worker.workspace import WorkspaceRefused, Workspaces
from worker.other_user import NEEDS_ROOT, anybodys_python, other_user, reachable_folder

pytestmark = NEEDS_ROOT
LEASE = worker_pb2.Lease(job_id="job-1", attempt=1)
Body = Callable[[ProcessTree], Coroutine[Any, Any, None]]


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
def own(folder: Path) -> Path:
    """A folder that belongs to the other user."""
    make_folder(folder / "own", other_user())
    return folder / "own"


def shell(script: str, folder: Path, user: User | None = None) -> Program:
    return Program(("/bin/sh", "-c", script), str(folder), {"PATH": "/usr/bin:/bin"}, user or other_user())


async def output_of(program: Program) -> str:
    tree = await spawn(program, Trees())
    try:
        data = b""
        while chunk := await tree.stdout.read():
            data += chunk
        assert await tree.wait_exit() == ExitStatus(0), await tree.stderr.read()
    finally:
        await kill_and_close(tree)
    return data.decode()


def run(program: Program) -> str:
    async def main() -> str:
        async with asyncio.timeout(30):
            return await output_of(program)

    return uvloop.run(main())


def test_x8_a_program_has_the_users_rights_and_no_others(own: Path) -> None:
    user = other_user()
    assert run(shell("id -u; id -g; id -G; umask", own)).split("\n")[:4] == [
        str(user.uid),
        str(user.gid),
        " ".join(str(group) for group in user.groups),
        "0077",
    ]
    told = dict(line.split(":\t") for line in run(shell("cat /proc/self/status", own)).splitlines() if ":\t" in line)
    assert told["Uid"].split() == [str(user.uid)] * 4
    assert told["NoNewPrivs"] == "1"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(told[kind], 16) == 0, kind


def test_a_program_can_open_its_streams_anew(own: Path) -> None:
    assert run(shell("echo said > /dev/stdout; echo complained > /dev/stderr", own)) == "said\n"


def test_x8_a_program_can_neither_read_its_keeper_nor_signal_it(own: Path) -> None:
    script = "cat /proc/$PPID/environ 2>&1; kill -9 $PPID 2>&1; ls /proc/$PPID/fd 2>&1; true"
    assert run(shell(script, own)).lower().count("permi") == 3


def test_a_program_that_the_user_may_not_run_or_a_folder_it_may_not_enter_is_refused_with_its_name(
    folder: Path, own: Path
) -> None:
    program, closed = own / "program", folder / "closed"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    closed.mkdir(mode=0o700)

    async def main() -> None:
        for started in (Program((str(program),), str(own), {}, other_user()), shell("true", closed)):
            with pytest.raises(SpawnFailed, match=r"Permission denied.*as the user nobody") as failed:
                await spawn(started, Trees())
            assert failed.value.permanent

    asyncio.run(main())


CROWD = """
import os, signal, sys, time
def breed(depth):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for _ in range(2 if depth else 0):
        if os.fork() == 0:
            os.setsid()
            breed(depth - 1)
    with open("pids", "a") as pids:
        pids.write(f"{os.getpid()}\\n")
    while open("pids").read().count("\\n") < 31:
        time.sleep(0.02)
    with open("all", "w") as all:
        all.write("all\\n")
    while True:
        time.sleep(0.02)
        # Whoever is left breeds on, so that nobody can end them one by one.
        if depth == 0 and os.fork() == 0:
            os.setsid()
            depth = 1
breed(4)
"""


def test_l7_a_crowd_that_leaves_its_session_ignores_sigterm_and_grows_is_ended_to_the_last(
    own: Path, processes: Any
) -> None:
    async def main() -> None:
        program = Program((anybodys_python(), "-c", CROWD), str(own), {"PATH": "/bin"}, other_user())
        tree = await spawn(program, Trees())
        try:
            async with asyncio.timeout(30):
                await processes.until_file(own / "all")
                tree.signal_tree(signal.SIGTERM)
                tree.signal_tree(signal.SIGKILL)
                await tree.wait_gone()
        finally:
            await kill_and_close(tree)
        assert tree.survivors == 0

    uvloop.run(main())
    pids = [int(line) for line in (own / "pids").read_text().split()]
    assert len(pids) == 31
    assert not [pid for pid in pids if processes.is_alive(pid)]


WORKER = """
import asyncio, sys
from headrace_worker.process import Program, spawn
from headrace_worker.trees import Trees
from headrace_worker.user import find_user
async def main():
    program = Program(("/bin/sh", "-c", sys.argv[1]), sys.argv[2], {"PATH": "/usr/bin:/bin"}, find_user("nobody"))
    tree = await spawn(program, Trees(sys.argv[3]))
    print(tree.keeper_pid, flush=True)
    await tree.wait_gone()
asyncio.run(main())
"""
DEAF = "trap '' TERM; (trap '' TERM; echo $$ > program; setsid sleep 600 & echo $! > orphan; wait)"


def test_l7_what_a_killed_worker_and_a_killed_keeper_leave_is_found_by_a_later_start(
    folder: Path, own: Path, processes: Any
) -> None:
    mark = folder_mark(folder / "data")
    worker = subprocess.Popen([sys.executable, "-c", WORKER, DEAF, str(own), mark], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    keeper = int(worker.stdout.readline())
    orphan = int(processes.wait_file(own / "orphan"))
    os.kill(keeper, signal.SIGSTOP)
    worker.kill()
    worker.communicate()
    os.kill(keeper, signal.SIGKILL)
    processes.wait_dead(keeper)
    assert processes.is_alive(orphan)
    assert end_left_trees(mark) >= 1
    assert not processes.is_alive(orphan)


def test_l7_the_keeper_ends_the_users_tree_when_its_worker_is_killed(folder: Path, own: Path, processes: Any) -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER, DEAF, str(own), "mark"], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    keeper = int(worker.stdout.readline())
    pids = [int(processes.wait_file(own / name)) for name in ("program", "orphan")]
    worker.kill()
    worker.communicate()
    processes.wait_dead(keeper)
    assert not [pid for pid in pids if processes.is_alive(pid)]


CAPABLE = """
import asyncio, sys
from pathlib import Path
from headrace.v1 import task_pb2, worker_pb2
from headrace_worker.acting import as_owner
from headrace_worker.ladder import kill_and_close
from headrace_worker.process import Program, spawn
from headrace_worker.process_table import environment
from headrace_worker.trees import Trees
from headrace_worker.user import find_user, let_pass
from headrace_worker.workspace import Workspaces
data, user = Path(sys.argv[1]), find_user("nobody")
let_pass(data, user, ("workspaces", "tmp"))
(data / "secret").touch(mode=0o600)
workspaces = Workspaces(data, [], {}, user)
async def main():
    prepared = workspaces.prepare(worker_pb2.Lease(job_id="job", attempt=1), task_pb2.Workspace(), resumed=False)
    script = "id -un; grep CapEff /proc/self/status; mkdir -m 0 made; ln -s ../../secret link; sleep 600 & wait"
    tree = await spawn(Program(("/bin/sh", "-c", script), str(prepared.folder), {}, user), Trees("mark"))
    said = b""
    while said.count(b"\\n") < 2:
        said += await tree.stdout.read()
    print(said.decode().split(), any(b"mark" in one for one in environment(tree.process_id)))
    while not (prepared.folder / "link").is_symlink():
        await asyncio.sleep(0.01)
    with as_owner(prepared.folder):
        try:
            (prepared.folder / "link").read_text()
        except PermissionError:
            print("refused")
    await kill_and_close(tree)
    workspaces.remove(prepared, keep_folder=False)
    print(tree.survivors, prepared.folder.exists(), (data / "secret").read_text() == "")
asyncio.run(main())
"""


def test_x8_a_worker_with_the_capabilities_alone_does_as_root_does(folder: Path) -> None:
    switch = shutil.which("setpriv")
    if switch is None:
        pytest.skip("there is no setpriv to give a process capabilities with")
    capabilities = "+" + ",+".join(name.removeprefix("CAP_").lower() for name in user_module.NEEDED)
    (folder / "capable").mkdir()
    os.chown(folder / "capable", 1, 1)
    options = (
        "--reuid=1",
        "--regid=1",
        "--clear-groups",
        f"--inh-caps={capabilities}",
        f"--ambient-caps={capabilities}",
    )
    ran = subprocess.run(
        [switch, *options, sys.executable, "-c", CAPABLE, str(folder / "capable")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.splitlines() == [
        "['nobody', 'CapEff:', '0000000000000000'] True",
        "refused",
        "0 False True",
    ], ran.stderr


@pytest.mark.parametrize(("name", "why"), [("no-such-user", "there is no user 'no-such-user'"), ("root", "is root")])
def test_a_user_that_can_not_be_is_refused(name: str, why: str) -> None:
    with pytest.raises(UserUnusable, match=why):
        find_user(name)


def test_a_worker_that_can_not_switch_users_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_module, "effective_capabilities", lambda: 0b1001011)
    with pytest.raises(UserUnusable, match="start it as root, or give it CAP_KILL, CAP_SETUID, CAP_SYS_PTRACE"):
        find_user("nobody")


def test_x8_acting_as_another_user_is_bound_by_its_rights_in_one_thread_and_ends(folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    acting, read = threading.Event(), []

    def read_then() -> None:
        assert acting.wait(20)
        read.append(secret.read_text())

    other = threading.Thread(target=read_then)
    other.start()
    rights = rights_of_this_thread()
    with acting_as(other_user().identity):
        with pytest.raises(PermissionError):
            secret.read_text()
        acting.set()
        other.join()
    assert (read, secret.read_text()) == (["x"], "x")
    assert rights_of_this_thread() == rights


def rights_of_this_thread() -> list[str]:
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    return [line for line in lines if line.startswith(("Uid", "Gid", "Groups", "Cap"))]


def test_x8_a_link_in_the_users_folder_leads_the_worker_nowhere(folder: Path, own: Path) -> None:
    secret, made = folder / "secret", folder / "made"
    secret.write_text("x")
    secret.chmod(0o600)
    (own / "link").symlink_to(secret)
    (own / "new").symlink_to(made)
    with as_owner(own):
        with pytest.raises(PermissionError):
            (own / "link").read_text()
        with pytest.raises(PermissionError):
            (own / "new").write_text("x")
    assert not made.exists()


def test_x8_a_workspace_is_the_users_and_goes_with_all_that_is_in_it(folder: Path) -> None:
    user = other_user()
    workspaces = Workspaces(folder / "data", [], {}, user)
    prepared = workspaces.prepare(LEASE, task_pb2.Workspace(), resumed=False)
    for made in (prepared.folder, prepared.temporary):
        assert (made.stat().st_uid, stat.S_IMODE(made.stat().st_mode)) == (user.uid, 0o700)
    assert (prepared.private.stat().st_uid, stat.S_IMODE(prepared.private.stat().st_mode)) == (0, 0o700)
    run(shell(f"mkdir -p a/b; echo x > a/b/c; chmod 500 a/b; touch {prepared.temporary}/y", prepared.folder))
    assert workspaces.prepare(LEASE, task_pb2.Workspace(), resumed=True).folder == prepared.folder
    workspaces.remove(prepared, keep_folder=False)
    assert not [made for made in (prepared.folder, prepared.temporary, prepared.private) if made.exists()]


def test_r6_a_folder_in_which_the_workers_own_user_worked_is_refused_to_another_one(folder: Path) -> None:
    before = Workspaces(folder / "data", []).prepare(LEASE, task_pb2.Workspace(), resumed=False)
    (before.folder / "left").write_text("x")
    with pytest.raises(WorkspaceRefused, match="belongs to another user than nobody"):
        Workspaces(folder / "data", [], {}, other_user()).prepare(LEASE, task_pb2.Workspace(), resumed=True)


def test_s6_a_given_folder_that_the_user_can_not_enter_is_refused_and_says_where_its_way_ends(folder: Path) -> None:
    (folder / "closed" / "inner").mkdir(mode=0o755, parents=True)
    (folder / "closed").chmod(0o700)
    (folder / "open").mkdir(mode=0o755)
    (folder / "passage").mkdir(mode=0o711)
    workspaces = Workspaces(folder / "data", [folder], {}, other_user())
    for name, why in (("closed/inner", f"may not pass through {folder}/closed$"), ("passage", "may not read")):
        with pytest.raises(WorkspaceRefused, match=f"closed to the user that programs run as: the user nobody {why}"):
            workspaces.prepare(LEASE, task_pb2.Workspace(folder=str(folder / name)), resumed=False)
    given = workspaces.prepare(LEASE, task_pb2.Workspace(folder=str(folder / "open")), resumed=False)
    assert given.folder.stat().st_uid == 0, "what was given is not handed over"


def test_x8_what_the_worker_keeps_is_closed_to_the_user(folder: Path) -> None:
    data = folder / "data"
    clear_away(data)
    for name in ("spool", "answers"):
        (data / name).mkdir(mode=0o755)
    (data / "lock").write_text("1\n")
    let_pass(data, other_user(), ("workspaces", "tmp"))
    script = "ls . ; cat mark lock; ls spool answers workspaces tmp; cd workspaces && cd ../tmp && echo passed"
    said = run(shell(f"({script}) 2>&1", data))
    assert said.count("ermission denied") == 7, said
    assert said.endswith("passed\n")


def test_a_data_folder_that_the_user_can_not_reach_is_refused_with_the_place(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with pytest.raises(UserUnusable, match=f"may not pass through {folder}/closed; give --data"):
        let_pass(folder / "closed" / "data", other_user(), ("workspaces",))


@pytest.mark.parametrize(("mode", "owner"), [(0o777, 0), (0o755, other_user().uid if os.geteuid() == 0 else 0)])
def test_x8_a_data_folder_that_the_user_could_put_another_one_in_the_place_of_is_refused(
    folder: Path, mode: int, owner: int
) -> None:
    (folder / "open").mkdir()
    (folder / "open").chmod(mode)
    os.chown(folder / "open", owner, 0)
    with pytest.raises(UserUnusable, match=f"may rename what is in {folder}/open"):
        let_pass(folder / "open" / "data", other_user(), ("workspaces",))
