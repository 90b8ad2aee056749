"""Sessions that are talked to at once through a real control plane, turn after turn.

Owns what a kind of turn is, what is held of each turn and of each session, and what may be left when all is over. Which
turns there are is the test's, and so is who is killed meanwhile.
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from random import Random
from typing import Any

import headrace
from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import event_pb2, job_pb2, outcome_pb2, session_pb2
from headrace.v1 import session_service_pb2 as pb
from worker.conforming import Spoken

TURN_SECONDS = 120
SUCCEEDED, FAILED, CANCELLED = job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED
AGAIN = headrace.retry_policy(max_attempts=4, initial_backoff=0.1, max_backoff=0.2)
SIMULATED, REAL = Spoken(True, (), {}), Spoken(False, (), {})


class Victim(Enum):
    """Who is killed while the model speaks."""

    NOBODY = auto()
    CLI = auto()
    WORKER = auto()


@dataclass(frozen=True)
class Kind:
    """A turn, and how it has to end."""

    steps: tuple[dict[str, Any], ...]
    state: job_pb2.JobState = SUCCEEDED
    failure_class: outcome_pb2.FailureClass = outcome_pb2.FAILURE_CLASS_UNSPECIFIED
    interrupted: bool = False
    """By us, once the model calls a tool."""
    killed: Victim = Victim.NOBODY


def bash(command: str) -> dict[str, Any]:
    """The model calls a tool, for which it has to ask."""
    return {"text": "I do it", "tools": [{"name": "Bash", "input": {"command": command, "description": "do it"}}]}


class Talker:
    """One session that is talked to, kind after kind; what is asked is answered at random."""

    def __init__(self, plane: ControlPlane, client: headrace.AsyncClient, spoken: Spoken, random: Random) -> None:
        self._plane = plane
        self._client = client
        self._spoken = spoken
        self._random = random
        self.turns: list[job_pb2.Job] = []
        """As they ended."""
        self._said: list[str] = []

    async def run(self, kinds: Iterator[Kind]) -> None:
        """Talks, and closes the session."""
        self.session = await self._client.sessions.create(
            ask=True, idle_timeout=self._random.choice((0, 1, 60)), retry_policy=AGAIN,
            timeouts=headrace.timeouts(cancel_grace=2),
        )  # fmt: skip
        async with self.session.converse(deltas=not self._spoken.simulated) as talk:
            for kind in kinds:
                await self._turn(talk, kind)
        await self._holds_once()
        await self.session.close("the test is over")

    async def _holds_once(self) -> None:
        """Every message stands in the conversation once and in order, and every turn is billed once."""
        now = await self.session.get()
        said = await asyncio.to_thread(messages_in, self._plane, now)
        assert said == self._said
        assert now.turn_count == len(self.turns)
        assert now.usage.cost_usd_micros == sum(turn.usage.cost_usd_micros for turn in self.turns)

    async def _turn(self, talk: headrace.Conversation, kind: Kind) -> None:
        text = f"message {len(self._said)} {self._spoken.prompt(*kind.steps)}"
        turn = await talk.send(text)
        self._said.append(text)
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._hear(talk, turn, kind)
        except TimeoutError:
            job = await turn.get()
            raise AssertionError(f"{kind.steps}: the turn has not been heard to its end: {job}") from None
        job = await turn.get()
        self.turns.append(job)
        found = (job.state, job.failure.failure_class if job.state == FAILED else 0)
        assert found == (kind.state, kind.failure_class), f"{kind.steps}: {job}"
        if kind.killed is not Victim.NOBODY:
            assert job.loss_count or (job.failure_count and kind.killed is Victim.CLI), job

    async def _hear(self, talk: headrace.Conversation, turn: headrace.Job, kind: Kind) -> None:
        """Hears the turn to its end, and does to it what its kind says."""
        to_interrupt, to_kill = kind.interrupted, kind.killed is not Victim.NOBODY
        async for item in talk:
            match item:
                case pb.ConverseInputs():
                    for one in item.open:
                        await self._answer(talk, one.request.request_id)
                case event_pb2.Delta() if to_kill and item.text:
                    to_kill = not await asyncio.to_thread(self._kill, kind.killed)
                case event_pb2.Event():
                    called = any(block.HasField("tool_use") for block in item.output.claude.assistant.blocks)
                    if called and to_interrupt:
                        to_interrupt = False
                        await talk.interrupt("by the test")
                    if item.job_id == turn.id and item.WhichOneof("kind") in ("succeeded", "failed", "cancelled"):
                        return

    def _kill(self, victim: Victim) -> bool:
        if victim is Victim.CLI:
            return kill_cli(self._plane, self.session.id)
        os.kill(self._plane.worker_pid, signal.SIGKILL)
        return True

    async def _answer(self, talk: headrace.Conversation, request_id: str) -> None:
        try:
            await talk.answer(request_id, allow=self._random.random() < 0.5)
        except (headrace.errors.InputResolved, headrace.errors.NotFound):
            return  # who asked is gone; the next attempt asks anew


def kill_cli(plane: ControlPlane, session_id: str) -> bool:
    """kill -9 of a session's CLI, if there is one."""
    needle = f"/sessions/{session_id}/config".encode()
    for pid, line in plane.processes().items():
        try:
            if "stream-json" in line and needle in Path(f"/proc/{pid}/environ").read_bytes():
                os.kill(pid, signal.SIGKILL)
                return True
        except OSError:
            continue
    return False


def talk_at_once(
    plane: ControlPlane,
    sessions: int,
    kinds: Callable[[int, Random], Iterator[Kind]],
    spoken: Spoken = SIMULATED,
) -> list[Talker]:
    """Has so many sessions talked to at once; `kinds` makes the turns of each."""

    async def scenario() -> list[Talker]:
        async with headrace.connect(plane.address) as client:
            talkers = [Talker(plane, client, spoken, Random(seed)) for seed in range(sessions)]
            async with asyncio.TaskGroup() as tasks:
                for seed, talker in enumerate(talkers):
                    tasks.create_task(talker.run(kinds(seed, Random(seed))))
            return talkers

    return asyncio.run(scenario())


def messages_in(plane: ControlPlane, session: session_pb2.Session) -> list[str]:
    """What the user has said, by the CLI's own transcript."""
    folder = plane.data / "local-worker" / "sessions" / session.id / "config" / "projects"
    (path,) = folder.glob(f"*/{session.claude_session_id}.jsonl")
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    contents = [entry["message"]["content"] for entry in entries if entry.get("type") == "user"]
    texts = [content if isinstance(content, str) else content[0].get("text", "") for content in contents]
    return [text for text in texts if text.startswith("message ")]


def check_nothing_is_left(plane: ControlPlane, *programs: str) -> None:
    """No process of a session, and no temporary file. What is kept of a conversation goes some time after its end."""

    def remains() -> list[str]:
        files = [str(path) for path in (plane.data / "local-worker" / "tmp").glob("*")]
        lines = plane.processes().values()
        return files + [line for line in lines if any(program in line for program in programs)]

    wait_for(lambda: not remains(), "nothing is left", must=False)
    assert remains() == []
