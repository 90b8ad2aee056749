"""X8: Claude as a user of its own: whom its tools are, whose its folders are, and how sessions go on there."""

import asyncio
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.v1 import event_pb2, outcome_pb2, session_pb2, task_pb2
from headrace_worker import simulator
from headrace_worker.executors.claude import transcript
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.claude.sessions import Sessions
from headrace_worker.executors.claude.snapshots import Snapshots
from headrace_worker.executors.contract import Failed, Outcome, Succeeded
from headrace_worker.trees import Trees
from headrace_worker.workspace import Workspaces
from worker.conftest import QUICK
from worker.other_user import NEEDS_ROOT, anybodys_python, other_user, reachable_folder
from worker.session_running import SESSION, scripted

pytestmark = NEEDS_ROOT
OTHER = "0190aaaa-0000-7000-8000-000000000002"
TOUCH = {"name": "Bash", "input": {"command": "touch made"}}


class Worker:
    """As much of a worker as runs Claude as the other user."""

    def __init__(self, folder: Path, program: tuple[str, ...], credentials: dict[str, str], *, simulated: bool) -> None:
        self.data = folder / "data"
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder / "home")}
        self.workspaces = Workspaces(self.data, [], environment, other_user())
        command = ClaudeCommand(program, simulated, self.data, environment, credentials=credentials)
        self.sessions = Sessions(4, self.workspaces, QUICK, command.session_folder)
        self.snapshot = b""
        """What `ReadArtifact` would answer."""
        self.executor = ClaudeExecutor(
            command,
            self.workspaces,
            Trees(),
            lambda: 1_800_000_000.0,
            QUICK,
            sessions=self.sessions,
            snapshots=Snapshots(command, self.workspaces, self),  # type: ignore[arg-type]  # a double
        )

    async def fetch(self, request: Any, target: Path, size_max: int, sha256: str) -> None:
        """Stands in for `ArtifactReader`."""
        assert hashlib.sha256(self.snapshot).hexdigest() == sha256
        target.write_bytes(self.snapshot)

    async def close(self) -> None:
        await self.sessions.end_all()


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as folder:
        home = folder / "home"
        home.mkdir()
        os.chown(home, other_user().uid, other_user().gid)
        yield folder


@pytest.fixture
def simulated(folder: Path) -> Worker:
    """A worker on the simulated CLI, by an interpreter and from a place that anybody can read."""
    shutil.copytree(
        Path(simulator.__file__).parents[1] / "simulator", folder / "code" / "headrace_worker" / "simulator"
    )
    start = f"import sys; sys.path.insert(0, {str(folder / 'code')!r}); import runpy; "
    start += "runpy.run_module('headrace_worker.simulator', run_name='__main__', alter_sys=True)"
    program = (anybodys_python(), "-c", start)
    credentials = {"ANTHROPIC_API_KEY": "made-up", "HEADRACE_SIMULATOR_PACE": "0"}
    return Worker(folder, program, credentials, simulated=True)


def use(worker: Worker, main: Callable[[], Any]) -> None:
    async def run() -> None:
        try:
            async with asyncio.timeout(60):
                await main()
        finally:
            await worker.close()
        assert list((worker.data / "tmp").iterdir()) == []

    uvloop.run(run())


def text_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result.claude.text


def tool_results(attempt: Any) -> list[str]:
    return [f.user.blocks[0].tool_result.text for f in attempt.frames() if f.HasField("user")]


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in folder.rglob("*")}


def turn(attempt_of: Callable[..., Any], prompt: str, number: int, session_id: str = SESSION, **task: Any) -> Any:
    attempt = attempt_of(job_id=f"job-{session_id[-1]}-{number}", claude=task_pb2.ClaudeTask(prompt=prompt, **task))
    said = attempt.assignment.session
    said.session_id, said.binding_epoch, said.turn = session_id, 1, number
    said.idle_timeout.seconds = 60
    return attempt


def test_x8_a_job_runs_as_the_user_in_folders_of_its_own(simulated: Worker, attempt_of: Callable[..., Any]) -> None:
    async def main() -> None:
        steps = ({"tools": [TOUCH]}, {"text": "so far"}, {"fault": "exit", "code": 9})
        attempt = attempt_of(claude=task_pb2.ClaudeTask(prompt=scripted(*steps), allowed_tools=["Bash"]))
        outcome = await simulated.executor.run(attempt)
        assert isinstance(outcome, Failed), outcome
        made = simulated.data / "workspaces" / "job-1" / "made"
        assert (made.stat().st_uid, stat.S_IMODE(made.stat().st_mode)) == (other_user().uid, 0o600)
        kept = simulated.data / "claude" / "job-1"
        assert (kept.stat().st_uid, stat.S_IMODE(kept.stat().st_mode)) == (0, 0o711)
        assert owners(kept) == {other_user().uid}

    use(simulated, main)


def test_x8_a_session_goes_on_in_files_of_the_user_and_its_fork_too(
    simulated: Worker, attempt_of: Callable[..., Any]
) -> None:
    async def main() -> None:
        first = await simulated.executor.run(
            turn(attempt_of, scripted({"tools": [TOUCH]}, {"text": "one"}), 1, allowed_tools=["Bash"])
        )
        assert text_of(first) == "one"
        assert (simulated.data / "workspaces" / SESSION / "made").stat().st_uid == other_user().uid
        assert isinstance(first, Succeeded)
        conversation = first.result.claude.claude_session_id
        (held,) = simulated.sessions.held()
        simulated.sessions.kill_idle()
        again = turn(attempt_of, scripted({"text": "two"}), 2)
        again.assignment.session.claude_session_id = conversation
        second = await simulated.executor.run(again)
        assert text_of(second) == "two"
        assert simulated.sessions.held()[0].process.process_id != held.process.process_id
        fork = turn(attempt_of, scripted({"text": "three"}), 1, OTHER)
        fork.assignment.session.fork_session_id = SESSION
        fork.assignment.session.fork_claude_session_id = conversation
        assert text_of(await simulated.executor.run(fork)) == "three"
        for session_id in (SESSION, OTHER):
            kept = simulated.data / "sessions" / session_id
            assert kept.stat().st_uid == 0
            assert owners(kept / "config") == {other_user().uid}

    use(simulated, main)


def test_r6_a_session_goes_on_from_its_snapshot_in_files_of_the_user(
    simulated: Worker, attempt_of: Callable[..., Any]
) -> None:
    async def main() -> None:
        first = turn(attempt_of, scripted({"tools": [TOUCH]}, {"text": "one"}), 1, allowed_tools=["Bash"])
        first.assignment.session.snapshots = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE
        outcome = await simulated.executor.run(first)
        assert isinstance(outcome, Succeeded)
        simulated.snapshot = b"".join(output.artifact_part.data for output in first.outputs)
        (note,) = [output.snapshot for output in first.outputs if output.HasField("snapshot")]
        assert note.action == event_pb2.SNAPSHOT_ACTION_TAKEN, note
        await simulated.sessions.end_all()
        simulated.sessions.resume()
        for name in ("sessions", "workspaces"):
            shutil.rmtree(simulated.data / name / SESSION)
        again = turn(attempt_of, scripted({"text": "two"}), 2)
        said = again.assignment.session
        said.claude_session_id = outcome.result.claude.claude_session_id
        said.snapshot.CopyFrom(note.snapshot)
        said.snapshot.job_id, said.snapshot.size_bytes = "job", len(simulated.snapshot)
        assert text_of(await simulated.executor.run(again)) == "two"
        workspace, config = simulated.data / "workspaces" / SESSION, simulated.data / "sessions" / SESSION / "config"
        assert {*owners(workspace), *owners(config), workspace.stat().st_uid} == {other_user().uid}
        assert (workspace / "made").exists()

    use(simulated, main)


def test_a_conversation_that_began_as_another_user_is_not_gone_on_with(
    simulated: Worker, attempt_of: Callable[..., Any]
) -> None:
    config = simulated.data / "sessions" / SESSION / "config"
    config.mkdir(parents=True)
    (config / "projects").mkdir()

    async def main() -> None:
        outcome = await simulated.executor.run(turn(attempt_of, "hello", 1))
        assert isinstance(outcome, Failed)
        assert outcome.failure.failure_class == outcome_pb2.FAILURE_CLASS_INVALID
        assert outcome.failure.message.startswith("the conversation began as another user")

    use(simulated, main)


def test_x8_a_transcript_that_is_a_link_gives_a_fork_nothing(folder: Path) -> None:
    secret, config = folder / "secret", folder / "data" / "sessions" / "a" / "config"
    secret.write_text('{"type": "user", "uuid": "m"}\n')
    secret.chmod(0o600)
    config.mkdir(parents=True)
    config.parent.chmod(0o711)
    (config / "projects" / "-x").mkdir(parents=True)
    (config / "projects" / "-x" / "c.jsonl").symlink_to(secret)
    for path in (config, *config.rglob("*")):
        os.chown(path, other_user().uid, other_user().gid, follow_symlinks=False)
    found = transcript.find(config, "c")
    assert found is not None
    with pytest.raises(PermissionError):
        transcript.holds(found, "m")
    with pytest.raises(PermissionError):
        transcript.copy(found, folder / "data" / "sessions" / "b" / "config")
    assert not [path for path in (folder / "data" / "sessions" / "b").rglob("*") if path.is_file()]


def test_the_real_cli_runs_as_the_user(
    real_cli: Path, model_server: Any, folder: Path, attempt_of: Callable[..., Any]
) -> None:
    """Where the installed CLI lies may be closed to others, so it is linked or copied to where it is not."""
    program = folder / "claude"
    try:
        os.link(real_cli, program)
    except OSError:
        shutil.copy(real_cli, program)
    credentials = {"ANTHROPIC_API_KEY": "made-up", "ANTHROPIC_BASE_URL": model_server.url}
    worker = Worker(folder, (str(program),), credentials, simulated=False)
    command = {"name": "Bash", "input": {"command": "touch made; id -un; umask; echo $HOME", "description": "who"}}

    async def main() -> None:
        prompt = f"SCRIPT<<{json.dumps([{'tools': [command]}, {'text': 'done'}])}>>"
        many = ["Bash", *(f"mcp__tool-{number:040d}" for number in range(400))]
        attempt = turn(attempt_of, prompt, 1, allowed_tools=many, append_system_prompt="x" * 20_000)
        assert text_of(await worker.executor.run(attempt)) == "done"
        assert tool_results(attempt) == [f"nobody\n0077\n{folder}/home"]
        kept = worker.data / "sessions" / SESSION
        assert {"settings.json", "system-prompt.txt"} < set(os.listdir(kept)), "what is long is read by the CLI"
        again = turn(attempt_of, 'SCRIPT<<[{"text": "two"}]>>', 2)
        assert text_of(await worker.executor.run(again)) == "two"
        assert (worker.data / "workspaces" / SESSION / "made").stat().st_uid == other_user().uid
        assert owners(kept / "config") == {other_user().uid}

    use(worker, main)
