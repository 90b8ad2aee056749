"""A job in a git worktree, from the command line to the patch, and what is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import headrace
from e2e.control_plane import ControlPlane
from e2e.grpcurl import Grpcurl
from headrace import blocking, errors

StartControlPlane = Callable[..., ControlPlane]
LARGE = 3 * 1024 * 1024


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@a", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture
def repository(shared_plane: ControlPlane, request: pytest.FixtureRequest) -> Path:
    folder: Path = shared_plane.folder / request.node.name[:40]
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "kept").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def headrace_command(plane: ControlPlane, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**plane.environment, "HEADRACE_SERVER": plane.address}
    command = [sys.executable, "-m", "headrace.cli", *words]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, env=environment)


def test_x8_the_changes_of_a_job_are_its_artifact_and_a_branch(
    shared_plane: ControlPlane, repository: Path, tmp_path: Path
) -> None:
    script = f"echo two >> kept; head -c {LARGE} /dev/zero | tr '\\0' x > large; git rev-parse --show-toplevel"
    words = ("--repository", str(repository), "--branch", "result", "--output", "json")
    ran = headrace_command(shared_plane, "job", "submit", "command", *words, "--", "sh", "-c", script)
    assert ran.returncode == 0, ran.stderr
    with shared_plane.connect() as client:
        job = client.job(json.loads(ran.stdout)["job"]["id"])
        job.result()
        found = job.get()
    (artifact,) = found.artifacts
    assert (artifact.name, artifact.media_type, artifact.cut) == ("changes.patch", "text/x-patch", False)
    assert artifact.size_bytes > LARGE
    saved = headrace_command(
        shared_plane, "job", "artifact", job.id, "changes.patch", "--save", str(tmp_path / "patch")
    )
    assert saved.returncode == 0, saved.stderr
    assert b"changes.patch" in headrace_command(shared_plane, "job", "artifact", job.id).stdout
    assert git(repository, "show", "result:kept") == "one\ntwo"
    git(repository, "apply", str(tmp_path / "patch"))
    assert (repository / "kept").read_text() == "one\ntwo\n"
    assert git(repository, "worktree", "list").count("\n") == 0, "the worktree is gone"


def test_an_artifact_is_read_by_grpcurl(shared_plane: ControlPlane, repository: Path, client: blocking.Client) -> None:
    job = client.submit(headrace.command("sh", "-c", "echo x > new", repository=str(repository)))
    job.result()
    answers = Grpcurl(shared_plane.address).call(
        "headrace.v1.JobService/ReadArtifact", {"job_id": job.id, "name": "changes.patch", "offset": 3}
    )
    assert len(answers) == 1
    assert json.dumps(answers[0]).count("sha256") == 1
    missing = {"job_id": job.id, "name": "other"}
    refused = Grpcurl(shared_plane.address).refused("headrace.v1.JobService/ReadArtifact", missing)
    assert (refused["code"], refused["details"]["ErrorInfo"]["reason"]) == (5, "NOT_FOUND")
    past = {"job_id": job.id, "name": "changes.patch", "offset": 10**9}
    refused = Grpcurl(shared_plane.address).refused("headrace.v1.JobService/ReadArtifact", past)
    assert refused["details"]["BadRequest"]["field_violations"][0]["field"] == "offset"


def test_s6_a_branch_that_is_there_fails_the_job_before_it_begins(repository: Path, client: blocking.Client) -> None:
    job = client.submit(headrace.command("sh", "-c", "true", repository=str(repository), branch="main"))
    with pytest.raises(errors.JobFailed, match="there is a branch 'main' already"):
        job.result()
