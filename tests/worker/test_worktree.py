"""Worktrees: what a job gets of a repository, what it changed, and that nothing of the repository itself is run."""

import asyncio
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import event_pb2, outcome_pb2, task_pb2, worker_pb2
from headrace_worker import worktree as worktrees
from headrace_worker.executors.artifacts import deliver_changes
from headrace_worker.executors.contract import Failed, StopRequest, Succeeded
from headrace_worker.workspace import PreparedWorkspace, WorkspaceRefused, Workspaces
from headrace_worker.worktree import BASE_FILE

JOB = "0190a0b0-0000-7000-8000-000000000001"
LEASE = worker_pb2.Lease(job_id=JOB, attempt=1)
ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
DONE = Succeeded(outcome_pb2.Result())


def git(folder: Path, *arguments: str) -> str:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@a", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@a"}
    ran = subprocess.run(
        ["git", "-C", folder, *arguments], env={**ENVIRONMENT, **who}, check=True, capture_output=True, timeout=60
    )
    return ran.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with two commits, inside the allowed root."""
    folder = tmp_path / "allowed" / "repository"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "kept").write_text("first\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    git(folder, "tag", "v1")
    (folder / "kept").write_text("second\n")
    git(folder, "commit", "--quiet", "--all", "-m", "second")
    return folder


@pytest.fixture
def workspaces(tmp_path: Path) -> Workspaces:
    return Workspaces(tmp_path / "data", [tmp_path / "allowed"], ENVIRONMENT)


def worktree(repository: Path, ref: str = "", branch: str = "") -> task_pb2.Workspace:
    return task_pb2.Workspace(git_worktree=task_pb2.GitWorktree(repository=str(repository), ref=ref, branch=branch))


class Delivered:
    """An attempt that keeps what it emits."""

    def __init__(self, *, killed: bool = False) -> None:
        self.assignment = worker_pb2.Assignment(lease=LEASE)
        self.outputs: list[event_pb2.Output] = []
        self._killed = killed

    async def emit(self, output: event_pb2.Output) -> int:
        self.outputs.append(output)
        return len(self.outputs)

    def stop_requested(self) -> StopRequest | None:
        return StopRequest(kill=True, grace_seconds=0, reason="") if self._killed else None

    @property
    def patch(self) -> bytes:
        return b"".join(output.artifact_part.data for output in self.outputs)


def deliver(prepared: PreparedWorkspace, branch: str = "", outcome: Succeeded | Failed = DONE) -> Delivered:
    attempt = Delivered()
    assert asyncio.run(deliver_changes(attempt, prepared, branch, outcome)) is outcome  # type: ignore[arg-type]  # a double
    return attempt


def test_x8_a_job_gets_a_commit_of_its_own_choice_in_a_folder_of_its_own(
    workspaces: Workspaces, repository: Path
) -> None:
    now = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    assert (now.folder / "kept").read_text() == "second\n"
    then = workspaces.prepare(worker_pb2.Lease(job_id="other"), worktree(repository, "v1"), resumed=False)
    assert (then.folder / "kept").read_text() == "first\n"
    assert (repository / "kept").read_text() == "second\n"


def test_the_patch_has_commits_changes_and_new_files_and_applies(
    workspaces: Workspaces, repository: Path, tmp_path: Path
) -> None:
    prepared = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    (prepared.folder / "committed").write_text("c\n")
    git(prepared.folder, "add", ".")
    git(prepared.folder, "commit", "--quiet", "-m", "on the way")
    (prepared.folder / "kept").write_text("third\n")
    (prepared.folder / "new").write_bytes(bytes(range(256)))
    attempt = deliver(prepared)
    told = attempt.outputs[-1].artifact
    assert (told.name, told.size_bytes, told.cut) == ("changes.patch", len(attempt.patch), False)
    (tmp_path / "patch").write_bytes(attempt.patch)
    git(repository, "apply", str(tmp_path / "patch"))
    assert (repository / "new").read_bytes() == bytes(range(256))
    assert ((repository / "kept").read_text(), (repository / "committed").read_text()) == ("third\n", "c\n")


def test_what_failed_delivers_its_changes_too_and_makes_no_branch(workspaces: Workspaces, repository: Path) -> None:
    prepared = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    (prepared.folder / "new").write_text("x")
    assert b"+x" in deliver(prepared, "result", Failed(outcome_pb2.Failure())).patch
    assert git(repository, "branch", "--list", "result") == ""


@pytest.mark.parametrize("kind", ["a pipe", "a device", "no commit", "no text"])
def test_x8_what_a_program_put_in_place_of_the_note_of_its_commit_costs_its_own_job_only(
    workspaces: Workspaces, repository: Path, kind: str
) -> None:
    prepared = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    note = prepared.folder / git(prepared.folder, "rev-parse", "--git-dir") / BASE_FILE
    note.unlink()
    if kind == "a pipe":
        os.mkfifo(note)
    elif kind == "a device":
        note.symlink_to("/dev/zero")
    else:
        note.write_bytes(b"--output=/x" if kind == "no commit" else b"\xff" * 40)
    attempt: Any = Delivered()
    outcome = asyncio.run(deliver_changes(attempt, prepared, "", DONE))
    assert isinstance(outcome, Failed)
    assert outcome.failure.failure_class == outcome_pb2.FAILURE_CLASS_RESOURCE
    assert attempt.outputs == []


def test_x8_what_a_filter_leaves_running_holds_nobody_up(
    workspaces: Workspaces, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps the pipes of git open, in a session of its own."""
    prepared = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    os.mkfifo(tmp_path / "hold")
    git(repository, "config", "filter.leaving.clean", f"setsid cat {tmp_path}/hold & cat")
    (prepared.folder / ".gitattributes").write_text("* filter=leaving\n")
    (prepared.folder / "new").write_text("x")
    monkeypatch.setattr(worktrees, "GIT_SECONDS", 3.0)
    attempt: Any = Delivered()
    try:
        outcome = asyncio.run(deliver_changes(attempt, prepared, "", DONE))
    finally:
        with suppress(OSError):
            os.close(os.open(tmp_path / "hold", os.O_WRONLY | os.O_NONBLOCK))
    assert isinstance(outcome, Failed)
    assert "longer than 3 s" in outcome.failure.message


def test_who_is_killed_delivers_nothing(workspaces: Workspaces, repository: Path) -> None:
    prepared = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    attempt = Delivered(killed=True)
    asyncio.run(deliver_changes(attempt, prepared, "", DONE))  # type: ignore[arg-type]  # a double
    assert attempt.outputs == []


def test_a_branch_has_everything_and_may_be_made_again_by_its_own_job_only(
    workspaces: Workspaces, repository: Path
) -> None:
    asked = worktree(repository, branch="headrace/result")
    for text in ("once", "again"):
        prepared = workspaces.prepare(LEASE, asked, resumed=False)
        (prepared.folder / "new").write_text(text)
        deliver(prepared, "headrace/result")
        assert git(repository, "show", "headrace/result:new") == text
    with pytest.raises(WorkspaceRefused, match="there is a branch"):
        workspaces.prepare(worker_pb2.Lease(job_id="other"), asked, resumed=False)


def test_r6_a_resumed_attempt_finds_its_changes_and_their_base(workspaces: Workspaces, repository: Path) -> None:
    first = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    (first.folder / "left").write_text("x")
    workspaces.remove(first, keep_folder=True)
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "meanwhile")
    again = workspaces.prepare(LEASE, worktree(repository), resumed=True)
    assert (again.folder / "left").read_text() == "x"
    assert b"left" in deliver(again).patch
    workspaces.remove(again, keep_folder=False)
    assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert not again.folder.exists()


def test_an_attempt_that_begins_anew_finds_nothing_of_the_one_before(workspaces: Workspaces, repository: Path) -> None:
    first = workspaces.prepare(LEASE, worktree(repository), resumed=False)
    (first.folder / "left").write_text("x")
    workspaces.remove(first, keep_folder=True)
    assert not (workspaces.prepare(LEASE, worktree(repository), resumed=False).folder / "left").exists()


def test_x8_the_hooks_of_a_repository_are_not_run(workspaces: Workspaces, repository: Path, tmp_path: Path) -> None:
    for name in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        hook = repository / ".git" / "hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran-{name}\n")
        hook.chmod(0o755)
    prepared = workspaces.prepare(LEASE, worktree(repository, branch="b"), resumed=False)
    (prepared.folder / "new").write_text("x")
    deliver(prepared, "b")
    workspaces.remove(prepared, keep_folder=False)
    assert list(tmp_path.glob("ran-*")) == []


@pytest.mark.parametrize(
    ("ref", "branch", "why"),
    [("missing", "", "rev-parse"), ("-x", "", "rev-parse"), ("", "-x", "hyphen"), ("", "a..b", "check-ref-format")],
)
def test_s6_what_git_can_not_give_is_refused_with_its_words(
    workspaces: Workspaces, repository: Path, ref: str, branch: str, why: str
) -> None:
    with pytest.raises(WorkspaceRefused, match=why):
        workspaces.prepare(LEASE, worktree(repository, ref, branch), resumed=False)


def test_s6_a_repository_outside_the_roots_or_none_at_all_is_refused(
    workspaces: Workspaces, tmp_path: Path, repository: Path
) -> None:
    with pytest.raises(WorkspaceRefused, match="inside a root"):
        workspaces.prepare(LEASE, worktree(tmp_path), resumed=False)
    (repository.parent / "plain").mkdir()
    with pytest.raises(WorkspaceRefused, match="not a git repository"):
        workspaces.prepare(LEASE, worktree(repository.parent / "plain"), resumed=False)
