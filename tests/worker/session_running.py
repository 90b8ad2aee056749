"""A worker's sessions for tests: turns by hand-made assignments, on the simulator or any other CLI."""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.v1 import outcome_pb2, task_pb2
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.claude.sessions import Sessions
from headrace_worker.executors.contract import Failed, Outcome, Succeeded
from headrace_worker.trees import MemoryLimits, Trees
from headrace_worker.workspace import Workspaces

DEADLINE_SECONDS = 20.0
SESSION = "0190aaaa-0000-7000-8000-000000000001"


def scripted(*steps: dict[str, Any]) -> str:
    """A prompt that tells the simulator what to do."""
    return f"please SIMULATE<<{json.dumps(steps)}>>"


def text_of(outcome: Outcome) -> str:
    """The answer of a turn that succeeded."""
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result.claude.text


def class_of(outcome: Outcome) -> str:
    """The class of a turn's failure."""
    assert isinstance(outcome, Failed), outcome
    return outcome_pb2.FailureClass.Name(outcome.failure.failure_class).removeprefix("FAILURE_CLASS_")


def kinds(attempt: Any) -> list[str]:
    """What kinds of frames an attempt delivered."""
    return [frame.WhichOneof("kind") or "" for frame in attempt.frames()]


class SessionWorker:
    """One start of a worker, as far as sessions go. Its `turn` is what the agent does for an assignment."""

    def __init__(
        self,
        folder: Path,
        attempt_of: Callable[..., Any],
        program: tuple[str, ...],
        credentials: Mapping[str, str],
        environment: Mapping[str, str],
        *,
        simulated: bool,
        seconds: ConversationSeconds,
        processes_max: int = 8,
        memory: MemoryLimits | None = None,
        sample_seconds: float = 0.05,
    ) -> None:
        self.folder = folder
        self.announced: list[Any] = []
        self.news = asyncio.Event()
        self.trees = Trees(sample_seconds=sample_seconds)
        self.workspaces = Workspaces(folder / "data", [folder / "allowed"], environment)
        command = ClaudeCommand(program, simulated, folder / "data", environment, credentials=credentials)
        self.sessions = Sessions(processes_max, self.workspaces, seconds, command.session_folder)
        self.sessions.on_own_turn = self._announce
        self.executor = ClaudeExecutor(command, self.workspaces, self.trees, time.time, seconds, memory, self.sessions)
        self._attempt_of = attempt_of
        self._jobs = 0
        self.claude_session_ids: dict[str, str] = {}
        """What a control plane would know of each session."""

    def attempt(
        self,
        prompt: str,
        session_id: str = SESSION,
        *,
        job_id: str = "",
        attempt: int = 1,
        epoch: int = 1,
        number: int = 0,
        idle_seconds: float = 60.0,
        fork: tuple[str, str] | None = None,
        background_number: int = 0,
        resume: str = "",
        **task: Any,
    ) -> Any:
        """An attempt at a turn."""
        self._jobs += 1
        made = self._attempt_of(
            resume=resume,
            job_id=job_id or f"job-{self._jobs}",
            claude=task_pb2.ClaudeTask(prompt=prompt, **task),
        )
        made.assignment.lease.attempt = attempt
        turn = made.assignment.session
        turn.session_id, turn.binding_epoch, turn.background_number = session_id, epoch, background_number
        turn.claude_session_id = self.claude_session_ids.get(session_id, "")
        turn.turn = number or (2 if turn.claude_session_id else 1)
        turn.idle_timeout.FromNanoseconds(int(idle_seconds * 1e9))
        if fork is not None:
            turn.fork_session_id, turn.fork_claude_session_id = fork
        return made

    async def run(self, attempt: Any) -> Outcome:
        """Runs an attempt to its end."""
        outcome = await self.executor.run(attempt)
        result = outcome.result if isinstance(outcome, Succeeded) else None
        known = result.claude.claude_session_id if result is not None else _begun(attempt)
        if known:
            self.claude_session_ids[attempt.assignment.session.session_id] = known
        return outcome

    async def turn(self, prompt: str, session_id: str = SESSION, **turn: Any) -> Outcome:
        """Runs a turn to its end."""
        return await self.run(self.attempt(prompt, session_id, **turn))

    def process_ids(self) -> list[int]:
        """The processes that sessions hold."""
        return [held.process.process_id for held in self.sessions.held()]

    def transcript(self, session_id: str = SESSION) -> list[dict[str, Any]]:
        """The transcript of a session's conversation."""
        config = self.folder / "data" / "sessions" / session_id / "config" / "projects"
        (path,) = config.glob(f"*/{self.claude_session_ids[session_id]}.jsonl")
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    def messages(self, session_id: str = SESSION) -> list[str]:
        """What the user has said in a session: neither results of tools nor news of background tasks."""
        said = [entry["message"]["content"] for entry in self.transcript(session_id) if entry.get("type") == "user"]
        return [text for text in said if isinstance(text, str) and not text.startswith("<")]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until something holds that nobody tells of."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                if holds():
                    return
                await asyncio.sleep(0.005)

    def _announce(self, turn: Any) -> None:
        self.announced.append(turn)
        self.news.set()


def _begun(attempt: Any) -> str:
    return next((frame.init.claude_session_id for frame in attempt.frames() if frame.HasField("init")), "")


QUICK = ConversationSeconds(receipt=1.0, interrupt=2.0, close=1.0, terminate=0.5, drain=0.5, closing=1.0)
"""Rungs that a test can wait for."""
SIMULATOR = (sys.executable, "-m", "headrace_worker.simulator")
Use = Callable[[SessionWorker], Awaitable[None]]
RunTest = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, attempt_of: Callable[..., Any], base_environment: dict[str, str], processes: Any) -> RunTest:
    """Runs a test with a worker whose CLI is simulated, and looks that no process is left."""
    credentials = {"ANTHROPIC_API_KEY": "made-up", "HEADRACE_SIMULATOR_PACE": "0"}
    (tmp_path / "allowed").mkdir()

    def run_test(main: Use, seconds: ConversationSeconds = QUICK, **settings: Any) -> None:
        def make() -> SessionWorker:
            return SessionWorker(
                tmp_path,
                attempt_of,
                SIMULATOR,
                credentials,
                base_environment,
                simulated=True,
                seconds=seconds,
                **settings,
            )

        use(make, main)
        assert processes.left() == []

    return run_test


def use(make: Callable[[], SessionWorker], main: Use, seconds: float = 60.0) -> None:
    """Runs a test with a worker, and ends its processes."""

    async def run() -> None:
        worker = make()
        try:
            async with asyncio.timeout(seconds):
                await main(worker)
        finally:
            await worker.sessions.end_all()
        temporary = worker.folder / "data" / "tmp"
        assert not temporary.exists() or list(temporary.iterdir()) == []

    uvloop.run(run())
