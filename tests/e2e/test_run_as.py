"""The whole as root with `--run-as`: jobs run as the user, nothing of theirs is left, and what can't be is refused."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace
from e2e.control_plane import ControlPlane
from e2e.story import OUT, Story, class_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as another user")
USER = "nobody"
COMMANDS = tuple(option for name in ("sh", "id", "cat") for option in ("--allow-command", name))


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that anybody can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-user-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def worker(*options: str) -> subprocess.CompletedProcess[str]:
    """Runs `headrace work` until it refuses to start."""
    command = [sys.executable, "-m", "headrace_worker", "--server", "127.0.0.1:1", "--claude", "none", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_x8_commands_run_as_the_user_and_leave_nothing(root: Path) -> None:
    with ControlPlane(root, "--claude", "none", "--run-as", USER, *COMMANDS) as plane, plane.connect() as client:
        assert Story(client.submit(headrace.command("id", "-un"))).finish().bytes_of(OUT) == b"nobody\n"
        for path in ("headrace.db", "local-worker.log", "local-worker/lock", "local-worker/mark"):
            peek = Story(client.submit(headrace.command("cat", str(plane.data / path)))).finish()
            assert "Permission denied" in peek.job.failure.detail, path
        left = Story(client.submit(headrace.command("sh", "-c", "setsid sleep 600 & echo $!"))).finish()
        assert left.state == "SUCCEEDED"
        assert not Path(f"/proc/{int(left.bytes_of(OUT))}").exists()
        assert list((plane.data / "local-worker" / "workspaces").iterdir()) == []
        assert [path for path in plane.data.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o044] == []


def test_l5_a_job_still_has_its_folder_after_a_restart_of_the_server(root: Path) -> None:
    with ControlPlane(root, "--claude", "none", "--run-as", USER, *COMMANDS) as plane:
        go = plane.folder / "go"
        script = f"echo begun; while [ ! -e {go} ]; do sleep 0.02; done; touch $PWD/made && ls $PWD"
        with plane.connect() as client:
            job = client.submit(headrace.command("sh", "-c", script))
            Story(job).until_kind("chunk")
        plane.kill()
        plane.start()
        go.touch()
        with plane.connect() as client:
            assert Story(client.job(job.id)).finish().bytes_of(OUT) == b"begun\nmade\n"


def test_s6_a_folder_that_is_closed_to_the_user_fails_the_job_and_says_who_lacks_what(root: Path) -> None:
    with ControlPlane(root, "--claude", "none", "--run-as", USER, *COMMANDS) as plane, plane.connect() as client:
        closed = plane.folder / "closed"
        closed.mkdir(mode=0o700)
        failure = Story(client.submit(headrace.command("id", folder=str(closed)))).finish().job.failure
        assert class_of(failure) == "INVALID"
        assert failure.message.endswith(f": the user nobody may not pass through {closed}")


def test_a_worker_says_why_it_can_not_run_programs_as_the_user(root: Path) -> None:
    closed = root / "closed"
    closed.mkdir(mode=0o700)
    for options, why in (
        (("--data", str(root / "d"), "--run-as", "no-such-user"), "--run-as: there is no user 'no-such-user'"),
        (("--data", str(closed / "d"), "--run-as", USER), f"--run-as: the user nobody may not pass through {closed}"),
        (("--data", str(root / "d"), "--run-as", USER, "--claude-config", str(closed)), "--claude-config: the user"),
    ):
        refused = worker(*options)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"headrace work: {why}"), refused.stderr


def test_a_worker_that_is_not_root_refuses_to_run_programs_as_another_user(root: Path) -> None:
    script = (
        "import os, sys\n"
        "from headrace_worker.user import UserUnusable, find_user\n"
        "os.setresgid(1, 1, 1); os.setresuid(1, 1, 1)\n"
        "try:\n    find_user('nobody')\nexcept UserUnusable as unusable:\n    print(unusable)\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.startswith("this process can't switch users: start it as root, or give it CAP_CHOWN, ")


def test_serve_refuses_a_user_that_is_not_there(root: Path) -> None:
    command = [sys.executable, "-m", "headrace_server", "--data", str(root / "d"), "--run-as", "no-such-user"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stderr) == (
        2,
        "headrace serve: --run-as: there is no user 'no-such-user' on this host\n",
    )
