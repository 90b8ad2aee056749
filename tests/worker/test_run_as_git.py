"""X8: git as the user that programs run as: a worktree is the user's, and what a repository runs is no more than it."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import event_pb2, outcome_pb2, task_pb2, worker_pb2
from headrace_worker import errand
from headrace_worker.errand import ErrandFailed, run_errand
from headrace_worker.executors.artifacts import deliver_changes
from headrace_worker.executors.contract import StopRequest, Succeeded
from headrace_worker.process import Program, start_keeper
from headrace_worker.workspace import PreparedWorkspace, WorkspaceRefused, Workspaces
from worker.other_user import NEEDS_ROOT, other_user, reachable_folder

pytestmark = NEEDS_ROOT
JOB = "0190a0b0-0000-7000-8000-000000000001"
LEASE = worker_pb2.Lease(job_id=JOB, attempt=1)
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
PERSON = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@a"}


class Delivered:
    """An attempt that keeps what it emits."""

    def __init__(self) -> None:
        self.assignment = worker_pb2.Assignment(lease=LEASE)
        self.outputs: list[event_pb2.Output] = []

    async def emit(self, output: event_pb2.Output) -> int:
        self.outputs.append(output)
        return len(self.outputs)

    def stop_requested(self) -> StopRequest | None:
        return None

    @property
    def patch(self) -> str:
        return b"".join(output.artifact_part.data for output in self.outputs).decode()


def git(folder: Path, *arguments: str) -> str:
    """Runs git as the other user."""
    user = other_user()
    ran = subprocess.run(
        ["git", "-C", folder, *arguments],
        env={**ENVIRONMENT, **PERSON},
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return ran.stdout.decode().strip()


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
def repository(folder: Path) -> Path:
    """A repository of the other user, inside the allowed root."""
    made = folder / "allowed" / "repository"
    made.mkdir(parents=True)
    os.chown(made, other_user().uid, other_user().gid)
    git(made, "init", "--quiet", "--initial-branch=main")
    (made / "kept").write_text("first\n")
    git(made, "add", ".")
    git(made, "commit", "--quiet", "-m", "first")
    return made


@pytest.fixture
def workspaces(folder: Path) -> Workspaces:
    return Workspaces(folder / "data", [folder / "allowed"], ENVIRONMENT, other_user())


def worktree(repository: Path, branch: str = "") -> task_pb2.Workspace:
    return task_pb2.Workspace(git_worktree=task_pb2.GitWorktree(repository=str(repository), branch=branch))


def deliver(prepared: PreparedWorkspace, branch: str = "") -> tuple[Any, Delivered]:
    attempt = Delivered()
    done = Succeeded(outcome_pb2.Result())
    return asyncio.run(deliver_changes(attempt, prepared, branch, done)), attempt  # type: ignore[arg-type]  # a double


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


def test_x8_a_worktree_with_its_branch_and_its_patch_is_the_users(workspaces: Workspaces, repository: Path) -> None:
    prepared = workspaces.prepare(LEASE, worktree(repository, "made"), resumed=False)
    (prepared.folder / "new").write_text("x\n")
    outcome, attempt = deliver(prepared, "made")
    assert isinstance(outcome, Succeeded)
    assert "+x" in attempt.patch
    (prepared.folder / "new").unlink()
    assert owners(prepared.folder) == owners(repository / ".git") == {other_user().uid}
    assert git(repository, "show", "made:new") == "x"
    workspaces.remove(prepared, keep_folder=False)
    assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert not prepared.folder.exists()


def test_r6_a_resumed_attempt_finds_its_worktree(workspaces: Workspaces, repository: Path) -> None:
    first = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    (first.folder / "left").write_text("x")
    workspaces.remove(first, keep_folder=True)
    again = workspaces.prepare(LEASE, worktree(repository), resumed=True)
    assert (again.folder / "left").read_text() == "x"
    assert "left" in deliver(again)[1].patch


def test_x8_what_a_repository_has_git_run_is_no_more_than_the_user_and_ends_with_git(
    workspaces: Workspaces, repository: Path, folder: Path, processes: Any
) -> None:
    told = folder / "data" / "tmp" / "told"
    told.mkdir()
    os.chown(told, other_user().uid, other_user().gid)
    script = f"id -u >> {told}/who; (setsid sleep 600 >/dev/null 2>&1 & echo $! >> {told}/left); cat"
    git(repository, "config", "filter.x.clean", script)
    git(repository, "config", "filter.x.smudge", script)
    git(repository, "config", "core.fsmonitor", f"id -u >> {told}/monitor")
    (repository / ".gitattributes").write_text("* filter=x\n")
    os.chown(repository / ".gitattributes", other_user().uid, other_user().gid)
    git(repository, "-c", "filter.x.clean=cat", "-c", "core.fsmonitor=false", "add", ".gitattributes")
    git(repository, "-c", "filter.x.clean=cat", "-c", "core.fsmonitor=false", "commit", "--quiet", "-m", "attributes")
    prepared = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    (prepared.folder / "kept").write_text("second\n")
    assert "+second" in deliver(prepared)[1].patch
    assert set((told / "who").read_text().split()) == {str(other_user().uid)}
    assert not [pid for pid in map(int, (told / "left").read_text().split()) if processes.is_alive(pid)]
    assert not (told / "monitor").exists()


def test_x8_where_git_says_that_its_folder_lies_the_worker_writes_nothing(
    workspaces: Workspaces, repository: Path, folder: Path
) -> None:
    prepared = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    victim = folder / "victim"
    victim.write_text("kept")
    victim.chmod(0o600)
    base = next((repository / ".git" / "worktrees").glob("*/headrace-base"))
    base.unlink()
    base.symlink_to(victim)
    assert prepared.worktree is not None
    with pytest.raises(PermissionError):
        prepared.worktree.note_base()
    with pytest.raises(PermissionError):
        prepared.worktree.base()
    assert victim.read_text() == "kept"


def test_x8_a_link_at_the_place_of_the_patch_is_not_followed(
    workspaces: Workspaces, repository: Path, folder: Path
) -> None:
    prepared = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    victim = folder / "victim"
    victim.write_text("kept")
    for name in ("changes.patch", "headrace-index"):
        (prepared.temporary / name).symlink_to(victim)
    (prepared.folder / "new").write_text("x")
    assert "+x" in deliver(prepared)[1].patch
    assert victim.read_text() == "kept"


def test_s6_a_repository_that_the_user_may_not_write_is_refused_with_gits_words(
    workspaces: Workspaces, repository: Path, folder: Path
) -> None:
    for path in (repository / ".git", *(repository / ".git").rglob("*")):
        os.chown(path, 0, 0)
    with pytest.raises(WorkspaceRefused, match=r"no worktree of .*ermission denied"):
        workspaces.prepare(LEASE, worktree(repository), resumed=False)
    assert list((folder / "data" / "workspaces").iterdir()) == []


def test_an_errand_that_takes_too_long_is_ended_with_all_that_it_started(folder: Path, processes: Any) -> None:
    left = folder / "data" / "tmp" / "left"
    left.mkdir()
    os.chown(left, other_user().uid, other_user().gid)
    script = "trap '' TERM; setsid sleep 600 & echo $! > pid; wait; sleep 600"
    program = Program(("/bin/sh", "-c", script), str(left), {"PATH": "/usr/bin:/bin"}, other_user())
    with pytest.raises(ErrandFailed, match=r"was ended; it may take 0.5 s"):
        run_errand(program, 0.5)
    assert not processes.is_alive(int(processes.wait_file(left / "pid")))


def test_an_errand_whose_keeper_does_not_end_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errand, "ORPHAN_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(errand, "EXTRA_SECONDS", 0.1)
    keepers = []

    def started(*arguments: Any) -> Any:
        keeper, control = start_keeper(*arguments)
        keepers.append(keeper)
        return keeper, control

    monkeypatch.setattr(errand, "start_keeper", started)
    program = Program(("/bin/sh", "-c", "kill -STOP $PPID"), str(folder), {"PATH": "/usr/bin:/bin"})
    try:
        with pytest.raises(ErrandFailed, match=r"left processes that do not end, under the keeper \d+"):
            run_errand(program, 0.5)
    finally:
        for keeper in keepers:
            keeper.kill()
            keeper.wait(10)


def test_an_errand_that_can_not_start_says_why(folder: Path) -> None:
    with pytest.raises(ErrandFailed, match=r"can't be run: .*No such file"):
        run_errand(Program(("/no/such/program",), str(folder), {}, other_user()), 5)
