"""What the worker's tests share: an attempt without an agent, process facts, and programs to run."""

import asyncio
import json
import os
import selectors
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.v1 import event_pb2, input_pb2, job_pb2, task_pb2, worker_pb2
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.contract import Outcome, SettingsChange, StopRequest
from headrace_worker.trees import Trees
from headrace_worker.workspace import Workspaces
from worker.conforming import conform, spoken
from worker.session_running import run

__all__ = ["conform", "run", "spoken"]
"""Fixtures that are defined beside what they make."""

DEADLINE_SECONDS = 20.0


class RecordedAttempt:
    """An attempt that keeps everything it is given. `full` holds back `emit`, as a full outbox does."""

    def __init__(self, assignment: worker_pb2.Assignment) -> None:
        self.assignment = assignment
        self.outputs: list[event_pb2.Output] = []
        self.deltas: list[event_pb2.Delta] = []
        self.steps: list[event_pb2.CancelStepped] = []
        self.stepped = asyncio.Event()
        self.asked: dict[str, input_pb2.InputRequest] = {}
        self.answers: dict[str, asyncio.Future[input_pb2.InputAnswer]] = {}
        self.withdrawn: list[str] = []
        self.settings: asyncio.Queue[SettingsChange] = asyncio.Queue()
        self.spoken = asyncio.Event()
        """There is a delta."""
        self.room = asyncio.Event()
        self.room.set()
        self._changed = asyncio.Condition()
        self._stop: StopRequest | None = None
        self._stopped = asyncio.Event()
        self._killed = asyncio.Event()

    async def emit(self, output: event_pb2.Output) -> int:
        await self.room.wait()
        kept = event_pb2.Output()
        kept.CopyFrom(output)
        kept.producer_sequence = len(self.outputs) + 1
        self.outputs.append(kept)
        async with self._changed:
            self._changed.notify_all()
        return kept.producer_sequence

    def emit_delta(self, delta: event_pb2.Delta) -> None:
        self.deltas.append(delta)
        self.spoken.set()

    def report_step(self, step: event_pb2.CancelStepped) -> None:
        self.steps.append(step)
        self.stepped.set()

    async def ask(self, request: input_pb2.InputRequest) -> input_pb2.InputAnswer:
        """Asked things wait until the test has put an answer into `answers`."""
        answer: asyncio.Future[input_pb2.InputAnswer] = asyncio.get_running_loop().create_future()
        self.asked[request.request_id] = request
        self.answers[request.request_id] = answer
        async with self._changed:
            self._changed.notify_all()
        try:
            return await answer
        except asyncio.CancelledError:
            self.withdrawn.append(request.request_id)
            raise

    async def next_settings(self) -> SettingsChange:
        return await self.settings.get()

    def stop_requested(self) -> StopRequest | None:
        return self._stop

    async def wait_stop(self) -> StopRequest:
        await self._stopped.wait()
        assert self._stop is not None
        return self._stop

    async def wait_kill(self) -> StopRequest:
        await self._killed.wait()
        assert self._stop is not None
        return self._stop

    def stop(self, *, kill: bool = False, grace_seconds: float = 5.0) -> None:
        """The agent's part: asks for the attempt's end."""
        self._stop = StopRequest(kill=kill, grace_seconds=grace_seconds, reason="test")
        self._stopped.set()
        if kill:
            self._killed.set()

    async def wait_output(self, matches: Callable[["RecordedAttempt"], bool]) -> None:
        """Waits until what was emitted satisfies the condition."""
        async with asyncio.timeout(DEADLINE_SECONDS), self._changed:
            await self._changed.wait_for(lambda: matches(self))

    def bytes_of(self, stream: event_pb2.OutputStream) -> bytes:
        """All bytes of one stream, in order."""
        return b"".join(output.chunk.data for output in self.outputs if output.chunk.stream == stream)

    def frames(self) -> list[event_pb2.ClaudeFrame]:
        """The CLI's frames, in order."""
        return [output.claude for output in self.outputs if output.WhichOneof("kind") == "claude"]

    def rungs(self) -> list[str]:
        """The names of the rungs that were reported."""
        return [event_pb2.CancelStep.Name(step.step).removeprefix("CANCEL_STEP_") for step in self.steps]


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_dead(pid: int, seconds: float = DEADLINE_SECONDS) -> None:
    """Waits for the end of a process that is not ours to wait for."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with open(descriptor, "rb", buffering=0), selectors.DefaultSelector() as ended:
        ended.register(descriptor, selectors.EVENT_READ)
        assert ended.select(seconds), f"process {pid} is still alive"


def wait_file(path: Path, seconds: float = DEADLINE_SECONDS) -> str:
    """Waits for a file that has a whole line, and returns it."""
    deadline = time.monotonic() + seconds
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.01)
    return path.read_text().strip()


async def until_file(path: Path) -> str:
    """`wait_file`, while the loop goes on."""
    return await asyncio.to_thread(wait_file, path)


def children_of(pid: int) -> list[int]:
    """The living children of a process."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and is_alive(int(name)):
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(stat.rpartition(")")[2].split()[1]) == pid:
                found.append(int(name))
    return found


@pytest.fixture
def workspaces(tmp_path: Path) -> Workspaces:
    """Workspaces with one allowed root, `allowed`."""
    (tmp_path / "allowed").mkdir()
    return Workspaces(tmp_path / "data", [tmp_path / "allowed"])


@pytest.fixture
def lease() -> Trees:
    """A lease that does not end."""
    return Trees()


@pytest.fixture
def base_environment() -> dict[str, str]:
    """What a worker gives every program."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/"}


class Processes:
    """Facts about the host's processes, waited for with a deadline."""

    wait_dead = staticmethod(wait_dead)
    until_file = staticmethod(until_file)
    wait_file = staticmethod(wait_file)
    is_alive = staticmethod(is_alive)
    children_of = staticmethod(children_of)

    def __init__(self) -> None:
        self._others = set(children_of(os.getpid()))

    def left(self) -> list[int]:
        """Children of the tests' process that live and were not there before the test."""
        return [pid for pid in children_of(os.getpid()) if pid not in self._others]


@pytest.fixture
def processes() -> Processes:
    """Waits for and looks at processes."""
    return Processes()


@pytest.fixture
def attempt_of() -> Callable[..., RecordedAttempt]:
    """Makes a recorded attempt at a task; call it inside the event loop."""

    def make(resume: str = "", job_id: str = "job-1", **task: Any) -> RecordedAttempt:
        assignment = worker_pb2.Assignment(
            lease=worker_pb2.Lease(job_id=job_id, attempt=1, epoch=1),
            spec=job_pb2.JobSpec(**task),
            resume_claude_session_id=resume,
        )
        return RecordedAttempt(assignment)

    return make


RECORDINGS = Path(__file__).parent / "recordings"


def recorded_lines(name: str) -> list[bytes]:
    """The lines that the CLI wrote in a recording."""
    lines = (RECORDINGS / name).read_bytes().split(b"\n")[:-1]
    if not name.endswith(".tee.jsonl"):
        return lines
    entries = [json.loads(line) for line in lines]
    return [entry["line"].encode() for entry in entries if entry["dir"] == "out"]


@pytest.fixture
def recording() -> Callable[[str], list[bytes]]:
    """Reads recordings of the real CLI by their file names."""
    return recorded_lines


QUICK = ConversationSeconds(receipt=1.0, interrupt=2.0, close=1.0, terminate=0.5, drain=0.5, settle=0.2, closing=1.0)
"""Rungs that a test can wait for."""
SIMULATOR = (sys.executable, "-m", "headrace_worker.simulator")

FAKE_CLI = """
import json, os, signal, sys, time
def say(**frame): sys.stdout.write(json.dumps(frame) + "\\n"); sys.stdout.flush()
def hear():
    line = sys.stdin.readline()
    if not line: sys.exit(0)
    return json.loads(line)
def started():
    asked = hear()
    say(type="control_response", response={"subtype": "success", "request_id": asked["request_id"], "response": {}})
    return hear()
def init(): say(type="system", subtype="init", session_id="s-1", model="m-1")
def result(text="fine", **more):
    say(**{"type": "result", "subtype": "success", "is_error": False, "result": text, "session_id": "s-1", **more})
"""


@pytest.fixture
def run_claude(
    tmp_path: Path,
    workspaces: Workspaces,
    lease: Trees,
    base_environment: dict[str, str],
    attempt_of: Callable[..., RecordedAttempt],
) -> Callable[..., tuple[Outcome, RecordedAttempt]]:
    """Runs a task to its end: on the simulator, or on a fake CLI whose body is `script`."""

    def run_task(
        prompt: str = "hello",
        script: str = "",
        meanwhile: Callable[[Any], Any] | None = None,
        resume: str = "",
        seconds: ConversationSeconds = QUICK,
        **task: Any,
    ) -> tuple[Outcome, RecordedAttempt]:
        program = (sys.executable, "-c", FAKE_CLI + script) if script else SIMULATOR
        command = ClaudeCommand(
            program,
            simulated=not script,
            data_folder=tmp_path / "data",
            environment=base_environment,
            credentials={"ANTHROPIC_API_KEY": "made-up", "HEADRACE_SIMULATOR_PACE": "0"},
        )
        executor = ClaudeExecutor(command, workspaces, lease, lambda: 1_800_000_000.0, seconds)

        async def main() -> tuple[Outcome, RecordedAttempt]:
            attempt = attempt_of(resume=resume, claude=task_pb2.ClaudeTask(prompt=prompt, **task))
            async with asyncio.timeout(40):
                running = asyncio.create_task(executor.run(attempt))
                if meanwhile is not None:
                    await meanwhile(attempt)
                outcome = await running
            temporary = tmp_path / "data" / "tmp"
            assert not temporary.exists() or os.listdir(temporary) == []
            return outcome, attempt

        return uvloop.run(main())

    return run_task
