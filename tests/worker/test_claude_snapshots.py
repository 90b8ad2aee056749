"""Snapshots of sessions on the simulated CLI: taken after each turn, and gone on from by another worker (R6, X1)."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import event_pb2, outcome_pb2, session_pb2, task_pb2
from headrace_worker.artifact_reader import ArtifactUnreachable
from headrace_worker.executors.claude import archive as archives
from headrace_worker.executors.claude.archive import Source, pack
from headrace_worker.executors.contract import Cancelled, Failed, Outcome
from headrace_worker.redaction import BLOT, Redaction
from model_server.server import ScriptedModelServer
from worker.session_running import SESSION, SIMULATOR, SessionWorker, scripted, text_of, use
from worker.snapshot_fleet import Fleet, notes

TRANSCRIPT = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT
WRITE = {"name": "Write", "input": {"file_path": "made.txt", "content": "made"}}
CREDENTIALS = {"ANTHROPIC_API_KEY": "made-up-secret", "HEADRACE_SIMULATOR_PACE": "0"}
MAKES = scripted({"text": "writing", "tools": [WRITE]}, {"text": "made it"})


def failed(outcome: Outcome) -> outcome_pb2.Failure:
    assert isinstance(outcome, Failed), outcome
    return outcome.failure


RunFleet = Callable[[Callable[[Fleet, SessionWorker], Any]], None]


@pytest.fixture
def run_fleet(
    tmp_path: Path, attempt_of: Callable[..., Any], base_environment: dict[str, str], processes: Any
) -> RunFleet:
    """Runs a test with a fleet and its first worker, and ends all that it has started."""

    def run(main: Callable[[Fleet, SessionWorker], Any]) -> None:
        fleet = Fleet(tmp_path, attempt_of, base_environment, SIMULATOR, CREDENTIALS)
        fleet.run(main)
        assert processes.left() == []
        assert [path for worker in fleet.workers for path in (worker.folder / "data" / "tmp").glob("*")] == []

    return run


def test_r6_a_session_goes_on_at_another_worker(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, MAKES, 1)
        await fleet.turn(first, "second", 1)
        second = fleet.start("b")
        assert text_of(await fleet.turn(second, scripted({"text": "third it is"}), 2)) == "third it is"
        assert fleet.kept.fetched == 1
        assert [text.split()[0] for text in second.messages()] == ["please", "second", "please"]
        assert (second.folder / "data" / "workspaces" / SESSION / "made.txt").read_text() == "made"
        await fleet.turn(second, "fourth", 2)
        assert fleet.kept.fetched == 1, "what it has itself it does not fetch"

    run_fleet(main)


def test_x1_a_worker_that_has_an_older_conversation_goes_on_from_the_snapshot(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        await fleet.turn(fleet.start("b"), "two", 2)
        again = fleet.start("a")
        await fleet.turn(again, "three", 3)
        assert again.messages() == ["one", "two", "three"]
        assert fleet.kept.fetched == 2

    run_fleet(main)


def test_x1_a_process_of_an_older_binding_is_gone_before_the_snapshot_is_put_back(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        (process_id,) = first.process_ids()
        await fleet.turn(fleet.start("b"), "two", 2)
        await fleet.turn(first, "three", 3)
        assert first.messages() == ["one", "two", "three"]
        assert process_id not in first.process_ids()

    run_fleet(main)


def test_r6_a_worker_that_has_it_as_new_goes_on_with_its_own(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        again = fleet.start("a")
        await fleet.turn(again, "two", 2)
        assert (again.messages(), fleet.kept.fetched) == (["one", "two"], 0)

    run_fleet(main)


def test_r6_a_worker_that_can_not_say_how_new_its_own_is_takes_the_snapshot(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        (first.folder / "data" / "sessions" / SESSION / "binding").write_text("")
        await fleet.turn(fleet.start("a"), "two", 2)
        assert fleet.kept.fetched == 1

    run_fleet(main)


def test_r6_without_the_workspace_its_folder_begins_anew(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, MAKES, 1, TRANSCRIPT)
        second = fleet.start("b")
        await fleet.turn(second, "two", 2, TRANSCRIPT)
        assert len(second.messages()) == 2
        assert list((second.folder / "data" / "workspaces" / SESSION).iterdir()) == []

    run_fleet(main)


def test_without_a_policy_nothing_is_taken(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        attempt = fleet.attempt(first, "one", 1, session_pb2.SNAPSHOT_POLICY_NONE)
        await first.run(attempt)
        assert [one for one in attempt.outputs if one.HasField("artifact") or one.HasField("snapshot")] == []

    run_fleet(main)


def test_r6_a_message_that_is_in_the_snapshot_is_not_said_again(run_fleet: RunFleet) -> None:
    """The turn had ended and its snapshot was there, and then its worker was gone before it could say so."""

    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1, job_id="job-x")
        second = fleet.start("b")
        await fleet.turn(second, "one", 2, job_id="job-x", attempt=2, number=1)
        said = second.messages()
        assert (said[0], len(said)) == ("one", 2)
        assert "cut off" in said[1]

    run_fleet(main)


def test_a_turn_that_fails_has_a_snapshot_too(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        outcome = await fleet.turn(first, scripted({"fault": "exit", "code": 3}), 1)
        assert failed(outcome).failure_class == outcome_pb2.FAILURE_CLASS_CRASH
        second = fleet.start("b")
        assert text_of(await fleet.turn(second, scripted({"text": "on"}), 2)) == "on"

    run_fleet(main)


def test_a_snapshot_that_is_too_large_is_none_and_the_turn_succeeds(
    run_fleet: RunFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SNAPSHOT_BYTES_MAX", 100)

    async def main(fleet: Fleet, first: SessionWorker) -> None:
        attempt = fleet.attempt(first, scripted({"text": "fine"}), 1)
        assert text_of(await first.run(attempt)) == "fine"
        (note,) = notes(attempt)
        assert note.action == event_pb2.SNAPSHOT_ACTION_FAILED
        assert "more than 100 bytes" in note.message

    run_fleet(main)


def refused(fleet: Fleet, worker: SessionWorker, outcome: Outcome, words: str) -> None:
    """The attempt failed for good and says why, and nothing has run."""
    found = failed(outcome)
    assert (found.failure_class, found.sign) == (outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME, "snapshot")
    assert words in found.message
    assert worker.process_ids() == []


def test_r6_a_snapshot_with_another_digest_is_refused(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        fleet.kept.content = fleet.kept.content[:-1] + b"x"
        second = fleet.start("b")
        refused(fleet, second, await fleet.turn(second, "two", 2), "digest")

    run_fleet(main)


def test_r6_a_turn_whose_work_is_lost_is_not_begun_again(run_fleet: RunFleet) -> None:
    """It had changed the world, and its worker came back without its disk: the session goes on from before that."""

    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        again = fleet.start("b")
        conversation = first.claude_session_ids[SESSION]
        found = failed(await fleet.turn(again, "two", 2, attempt=2, number=2, resume=conversation))
        assert (found.failure_class, found.sign) == (outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME, "resume")
        await fleet.turn(again, "three", 2, number=3)
        assert again.messages() == ["one", "three"]

    run_fleet(main)


def test_r6_a_snapshot_of_another_conversation_is_refused(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        note = b'{"version": 1, "conversation": "another", "base": ""}'
        pack(first.folder / "x", note, [Source("workspace", first.folder / "allowed", first.folder)])
        fleet.kept.hold((first.folder / "x").read_bytes())
        second = fleet.start("b")
        refused(fleet, second, await fleet.turn(second, "two", 2), "another conversation")

    run_fleet(main)


def test_r6_a_hostile_archive_is_refused_and_writes_nothing(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        evil = first.folder / "allowed" / "evil"
        evil.write_text("x")
        pack(first.folder / "x", b"{}", [Source("workspace/../../../evil", evil, first.folder)])
        fleet.kept.hold((first.folder / "x").read_bytes())
        second = fleet.start("b")
        refused(fleet, second, await fleet.turn(second, "two", 2), "refused")
        assert list(second.folder.rglob("*evil*")) == []
        assert not (second.folder / "data" / "sessions").exists()

    run_fleet(main)


def test_a_snapshot_that_can_not_be_read_just_now_is_tried_again(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        second = fleet.start("b")
        fleet.kept.fault = ArtifactUnreachable("nobody there")
        found = failed(await fleet.turn(second, "two", 2))
        assert (found.failure_class, found.sign) == (outcome_pb2.FAILURE_CLASS_NETWORK, "snapshot")
        fleet.kept.fault = None
        await fleet.turn(second, "two", 2)
        assert second.messages() == ["one", "two"]

    run_fleet(main)


def test_c1_an_attempt_that_has_to_end_does_not_wait_for_its_snapshot(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        fleet.kept.hangs = True
        second = fleet.start("b")
        attempt = fleet.attempt(second, "two", 2)
        running = asyncio.create_task(second.run(attempt))
        await second.until(lambda: fleet.kept.fetched == 1)
        attempt.stop()
        assert isinstance(await running, Cancelled)

    run_fleet(main)


def test_x4_a_fork_begins_from_the_snapshot_of_its_source(run_fleet: RunFleet) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        await fleet.turn(first, "one", 1)
        source = (SESSION, first.claude_session_ids[SESSION])
        second, fork = fleet.start("b"), "0190aaaa-0000-7000-8000-00000000000f"
        attempt = second.attempt("two", fork, fork=source, epoch=1, job_id="job-fork")
        assert fleet.kept.snapshot is not None
        attempt.assignment.session.snapshot.CopyFrom(fleet.kept.snapshot)
        text_of(await second.run(attempt))
        assert second.messages(fork) == ["one", "two"]
        assert not (second.folder / "data" / "sessions" / SESSION).exists()

    run_fleet(main)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One that every worker can reach, with a commit."""
    folder = tmp_path / "a" / "allowed" / "repository"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "kept.txt").write_text("as it was")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qm", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", "-C", str(folder), *arguments], text=True, timeout=30)


def test_r6_a_worktree_is_made_as_it_was(run_fleet: RunFleet, repository: Path) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        worktree = task_pb2.Workspace(git_worktree=task_pb2.GitWorktree(repository=str(repository)))
        changes = {"name": "Write", "input": {"file_path": "kept.txt", "content": "changed"}}
        prompt = scripted({"text": "x", "tools": [changes]}, {"text": "y", "tools": [WRITE]}, {"text": "done"})
        await fleet.turn(first, prompt, 1, workspace=worktree)
        git(repository, "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-q", "--allow-empty", "-m", "2")
        second = fleet.start("b", repository.parent)
        await fleet.turn(second, "two", 2, workspace=worktree)
        folder = second.folder / "data" / "workspaces" / SESSION
        assert {path.name: path.read_text() for path in folder.iterdir() if path.name != ".git"} == {
            "kept.txt": "changed",
            "made.txt": "made",
        }
        assert git(folder, "log", "--format=%s").split() == ["first"], "it is at the commit that it began with"

    run_fleet(main)


SECRET = CREDENTIALS["ANTHROPIC_API_KEY"]


def edited(repository: Path, base_text: str, content: str) -> tuple[str, task_pb2.Workspace]:
    """A turn that writes a file which the repository has already."""
    (repository / "kept.txt").write_text(base_text)
    git(repository, "-c", "user.name=a", "-c", "user.email=a@localhost", "commit", "-qam", "2")
    worktree = task_pb2.Workspace(git_worktree=task_pb2.GitWorktree(repository=str(repository)))
    write = {"name": "Write", "input": {"file_path": "kept.txt", "content": content}}
    return scripted({"text": "x", "tools": [write]}, {"text": "done"}), worktree


@pytest.mark.parametrize(
    ("base_text", "content"),
    [(f"a\nkey={SECRET}\n", f"b\nkey={SECRET}\n"), (f"a\nkey={SECRET}\n", "a\n")],
    ids=["beside a change", "removed"],
)
def test_x8_a_worktree_that_can_not_be_told_without_a_secret_has_no_snapshot_and_its_turn_succeeds(
    run_fleet: RunFleet, repository: Path, base_text: str, content: str
) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        first = fleet.start("a", redaction=Redaction([SECRET]))
        prompt, worktree = edited(repository, base_text, content)
        attempt = fleet.attempt(first, prompt, 1, workspace=worktree)
        assert text_of(await first.run(attempt)) == "done"
        (note,) = notes(attempt)
        assert note.action == event_pb2.SNAPSHOT_ACTION_FAILED
        assert note.message == "a secret of this worker is in lines that the worktree has changed, or beside them"

    run_fleet(main)


def test_x8_r6_a_secret_that_a_worktree_has_added_is_blotted_out_at_the_other_worker(
    run_fleet: RunFleet, repository: Path
) -> None:
    async def main(fleet: Fleet, first: SessionWorker) -> None:
        first = fleet.start("a", redaction=Redaction([SECRET]))
        prompt, worktree = edited(repository, "a\n", f"a\nkey={SECRET}\n")
        await fleet.turn(first, prompt, 1, workspace=worktree)
        second = fleet.start("b", repository.parent)
        assert text_of(await fleet.turn(second, scripted({"text": "two"}), 2, workspace=worktree)) == "two"
        found = second.folder / "data" / "workspaces" / SESSION / "kept.txt"
        assert found.read_text() == f"a\nkey={BLOT.decode()}\n"

    run_fleet(main)


@pytest.mark.timeout(120)
def test_r6_the_real_cli_goes_on_from_a_snapshot(
    tmp_path: Path,
    attempt_of: Callable[..., Any],
    base_environment: dict[str, str],
    real_cli: Path,
    model_server: ScriptedModelServer,
) -> None:
    environment = {**base_environment, "HOME": str(tmp_path)}
    credentials = {"ANTHROPIC_API_KEY": "made-up", "ANTHROPIC_BASE_URL": model_server.url}
    fleet = Fleet(tmp_path, attempt_of, environment, (str(real_cli),), credentials)

    async def main(first: SessionWorker) -> None:
        write = {"name": "Write", "input": {"file_path": "made.txt", "content": "made"}}
        said = [{"text": "writing", "tools": [write]}, {"text": "made it"}]
        assert text_of(await fleet.turn(first, f"remember 4711 SCRIPT<<{json.dumps(said)}>>", 1)) == "made it"
        await first.sessions.end_all()
        shutil.rmtree(first.folder)
        second = fleet.start("b")
        try:
            answer = 'which number? SCRIPT<<[{"text": "4711"}]>>'
            assert text_of(await fleet.turn(second, answer, 2)) == "4711"
            assert [text.split()[0] for text in second.messages()] == ["remember", "which"]
            assert (second.folder / "data" / "workspaces" / SESSION / "made.txt").read_text() == "made"
            assert "remember 4711" in json.dumps(model_server.model_calls[-1].body)
        finally:
            await second.sessions.end_all()

    use(lambda: fleet.start("a"), main)
