"""Many sessions at once, with faults drawn by a seed: each turn ends as it should, and nothing is left of any of them.

The whole of it, 64 sessions for ten minutes, is marked slow.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import event_pb2, job_pb2, outcome_pb2
from headrace.v1 import session_service_pb2 as pb
from survival.memory import resident

StartControlPlane = Callable[..., ControlPlane]
SUCCEEDED, FAILED, CANCELLED = job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED
TURN_SECONDS = 120
GROWTH_BYTES_MAX = 96 * 1024 * 1024
FAST = headrace.retry_policy(max_attempts=2, initial_backoff=0.1, max_backoff=0.2)


@dataclass(frozen=True)
class Kind:
    """A turn, and how it has to end."""

    steps: tuple[dict[str, Any], ...]
    state: job_pb2.JobState
    failure_class: outcome_pb2.FailureClass = outcome_pb2.FAILURE_CLASS_UNSPECIFIED
    interrupted: bool = False

    @property
    def prompt(self) -> str:
        return f"SIMULATE<<{json.dumps(self.steps)}>>"


def bash(command: str) -> dict[str, Any]:
    return {"text": "I do it", "tools": [{"name": "Bash", "input": {"command": command}}]}


FINE = {"text": "fine"}
KINDS = (
    Kind((FINE,), SUCCEEDED),
    Kind((bash("echo hi"), FINE), SUCCEEDED),
    Kind((bash("touch made"), FINE), SUCCEEDED),
    Kind(({"fault": "giant_line", "bytes": 3_000_000}, FINE), SUCCEEDED),
    Kind(({"fault": "delta_flood", "count": 2000, "bytes": 50}, FINE), SUCCEEDED),
    Kind(({"fault": "framing", "crlf": True, "piece_bytes": 7}, FINE), SUCCEEDED),
    Kind(({"fault": "stderr", "line": "noise ", "bytes": 500_000}, FINE), SUCCEEDED),
    Kind(({"fault": "grandchild", "seconds": 600, "setsid": True, "clear_environment": True}, FINE), SUCCEEDED),
    Kind(({"fault": "api_error", "status": 400, "retries": 0},), FAILED, outcome_pb2.FAILURE_CLASS_INVALID),
    # The second attempt goes on where the first one was cut off.
    Kind(({"fault": "exit", "signal": "SIGKILL"}, FINE), SUCCEEDED),
    Kind(({"fault": "exit", "code": 3}, FINE), SUCCEEDED),
    Kind((bash("sleep 300"), FINE), CANCELLED, interrupted=True),
    Kind(({"fault": "ignore", "what": "interrupt"}, bash("sleep 300"), FINE), CANCELLED, interrupted=True),
)


class Talker:
    """One session, talked to at random until it is told to stop."""

    def __init__(self, client: headrace.AsyncClient, random: Random) -> None:
        self._client = client
        self._random = random
        self.turns = 0

    async def run(self, is_over: Callable[[int], bool]) -> None:
        session = await self._client.sessions.create(
            ask=True, idle_timeout=self._random.choice((0, 1, 60)), retry_policy=FAST,
            timeouts=headrace.timeouts(cancel_grace=2),
        )  # fmt: skip
        async with session.converse() as talk:
            while not is_over(self.turns):
                await asyncio.wait_for(self._turn(talk, self._random.choice(KINDS)), TURN_SECONDS)
                self.turns += 1
        await session.close("the test is over")

    async def _turn(self, talk: headrace.Conversation, kind: Kind) -> None:
        turn = await talk.send(kind.prompt)
        interrupted = False
        async for item in talk:
            match item:
                case pb.ConverseInputs():
                    for one in item.open:
                        await talk.answer(one.request.request_id, allow=self._random.random() < 0.5)
                case event_pb2.Event():
                    called = any(block.HasField("tool_use") for block in item.output.claude.assistant.blocks)
                    if called and kind.interrupted and not interrupted:
                        interrupted = True
                        await talk.interrupt("by the test")
                    if item.job_id == turn.id and item.WhichOneof("kind") in ("succeeded", "failed", "cancelled"):
                        break
        job = await turn.get()
        found = (job.state, job.failure.failure_class if job.state == FAILED else 0)
        assert found == (kind.state, kind.failure_class), f"{kind.steps}: {job}"


def talk_at_once(plane: ControlPlane, sessions: int, is_over: Callable[[int], bool]) -> int:
    """Has so many sessions talked to at once; how many turns there were."""

    async def scenario() -> int:
        async with headrace.connect(plane.address) as client:
            talkers = [Talker(client, Random(seed)) for seed in range(sessions)]
            await asyncio.gather(*(talker.run(is_over) for talker in talkers))
            return sum(talker.turns for talker in talkers)

    return asyncio.run(scenario())


def check_nothing_is_left(plane: ControlPlane) -> None:
    """No process of a session, and no temporary file. What is kept of a conversation goes some time after its end."""

    def remains() -> list[str]:
        files = [str(path) for path in (plane.data / "local-worker" / "tmp").glob("*")]
        return files + [line for line in plane.processes().values() if "simulator" in line or "sleep" in line]

    wait_for(lambda: not remains(), "nothing is left", must=False)
    assert remains() == []


def serve(start_plane: StartControlPlane, slots: int) -> ControlPlane:
    plane = start_plane(
        "--claude", "simulated", "--workers", str(slots),
        HEADRACE_RENEWAL_SECONDS="0.5", HEADRACE_WORKER_SESSIONS_MAX=str(slots),
    )  # fmt: skip
    wait_for(lambda: plane.worker_pid, "the worker has connected")
    return plane


def test_sessions_at_once_end_as_they_should_and_leave_nothing(start_plane: StartControlPlane) -> None:
    plane = serve(start_plane, slots=4)
    assert talk_at_once(plane, sessions=6, is_over=lambda turns: turns == 4) == 24
    check_nothing_is_left(plane)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sixty_four_sessions_for_ten_minutes_keep_memory_flat(start_plane: StartControlPlane) -> None:
    plane = serve(start_plane, slots=64)
    talk_at_once(plane, sessions=64, is_over=lambda turns: turns == 1)
    before = resident(plane.pid), resident(plane.worker_pid)
    until = time.monotonic() + 600
    turns = talk_at_once(plane, sessions=64, is_over=lambda turns: time.monotonic() > until)
    check_nothing_is_left(plane)
    grown = resident(plane.pid) - before[0], resident(plane.worker_pid) - before[1]
    print(f"{turns} turns; the control plane has grown by {grown[0]} bytes, the worker by {grown[1]}")
    assert max(grown) < GROWTH_BYTES_MAX
