"""A conversation whose control plane and worker are killed again and again: every message is said once, every turn is
read once and whole, and what it cost is counted once (X1, R6, E1, L7)."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane
from headrace.v1 import event_pb2, job_pb2
from headrace.v1 import session_service_pb2 as pb

StartControlPlane = Callable[..., ControlPlane]
DEADLINE_SECONDS = 110
TURNS = 20
TOUCH = {"name": "Bash", "input": {"command": "touch made"}}
LOOK = {"name": "Glob", "input": {"pattern": "*"}}
MOMENTS = ("submitted", "attempt_assigned", "attempt_started", "output", "input_requested", "succeeded")


def text_of(turn: int) -> str:
    """Every third turn changes something, for which it has to ask."""
    steps: list[dict[str, Any]] = [{"text": f"begins {turn}", "tools": [TOUCH if turn % 3 == 0 else LOOK]}]
    steps.append({"text": f"says {turn} " * 20, "delta_characters": 20, "delta_milliseconds": 2})
    return f"message {turn}. SIMULATE<<{json.dumps(steps)}>>"


class Chaos:
    """Kills the control plane or its worker at moments of the conversation, which a seed chooses.

    Never in the last turn, so that the worker that clears away what a killed one left is there before the end.
    """

    def __init__(self, plane: ControlPlane, seed: int) -> None:
        self._plane = plane
        chance = Random(seed)
        self._plan = {
            turn: (chance.choice(MOMENTS), chance.choice(("server", "worker")))
            for turn in sorted(chance.sample(range(1, TURNS), TURNS // 2))
        }
        self.kills: list[tuple[int, str, str]] = []

    async def saw(self, turn: int, kind: str | None) -> None:
        moment, victim = self._plan.get(turn, ("", ""))
        if kind != moment:
            return
        del self._plan[turn]
        self.kills.append((turn, moment, victim))
        if victim == "server":
            await asyncio.to_thread(self._plane.kill)
            await asyncio.to_thread(self._plane.start)
        else:
            os.kill(await asyncio.to_thread(lambda: self._plane.worker_pid), signal.SIGKILL)


def holds_logs(events: list[event_pb2.Event], jobs: list[job_pb2.Job]) -> None:
    """Whole logs of the turns, one after the other."""
    expected = [(job.id, sequence) for job in jobs for sequence in range(1, job.last_sequence + 1)]
    assert [(event.job_id, event.sequence) for event in events] == expected


def messages_in(transcripts: list[Path]) -> list[str]:
    """What the user said, as the CLI's own transcripts of the conversation have it."""
    lines = [json.loads(line) for path in transcripts for line in path.read_text().splitlines()]
    said = [line["message"]["content"] for line in lines if line.get("type") == "user"]
    texts = [content if isinstance(content, str) else content[0].get("text", "") for content in said]
    return [text.partition(".")[0] for text in texts if text.startswith("message ")]


async def drive(client: headrace.AsyncClient, session: headrace.Session, chaos: Chaos) -> list[event_pb2.Event]:
    """Says every message once the turn before has ended, and allows what is asked; every event that was read."""
    events: list[event_pb2.Event] = []
    async with session.converse() as talk:
        turn = 1
        await talk.send(text_of(turn))
        async for item in talk:
            if isinstance(item, pb.ConverseInputs):
                for one in item.open:
                    await allow(talk, one.request.request_id)
            if not isinstance(item, event_pb2.Event):
                continue
            events.append(item)
            kind = item.WhichOneof("kind")
            await chaos.saw(turn, kind)
            assert kind not in ("failed", "cancelled", "expired"), item
            if kind == "succeeded":
                if turn == TURNS:
                    return events
                turn += 1
                await talk.send(text_of(turn))
    raise AssertionError("the conversation ended by itself")


async def allow(talk: headrace.Conversation, request_id: str) -> None:
    try:
        await talk.answer(request_id, allow=True)
    except (headrace.errors.InputResolved, headrace.errors.NotFound):
        return  # the attempt that asked is gone; the next one asks anew


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "lease_seconds"), [(1, 15), (2, 15), (7, 5)])
def test_x1_a_conversation_of_twenty_turns_survives_kills_of_everything(
    start_plane: StartControlPlane, seed: int, lease_seconds: int
) -> None:
    """With the shorter lease the worker has ended what it ran before a killed control plane is there again."""
    lease = {"HEADRACE_LEASE_SECONDS": str(lease_seconds), "HEADRACE_RENEWAL_SECONDS": "0.5"}
    plane = start_plane("--claude", "simulated", **lease)
    chaos = Chaos(plane, seed)

    async def scenario() -> None:
        async with headrace.connect(plane.address) as client, headrace.connect(plane.address) as other:
            session = await client.sessions.create(ask=True)
            watched: list[event_pb2.Event] = []
            watching = asyncio.create_task(watch(other, session.id, watched))
            events = await drive(client, session, chaos)
            jobs = [job async for job in session.turns()][::-1]
            assert len(jobs) == TURNS
            assert {job.state for job in jobs} == {job_pb2.JOB_STATE_SUCCEEDED}
            holds_logs(events, jobs)
            now = await session.get()
            assert now.turn_count == TURNS
            assert now.usage.cost_usd_micros == sum(job.usage.cost_usd_micros for job in jobs)
            transcripts = list((plane.data / "local-worker").rglob(f"{now.claude_session_id}.jsonl"))
            assert sorted(messages_in(transcripts)) == sorted(f"message {turn}" for turn in range(1, TURNS + 1))
            await session.close()
            await watching
            holds_logs(watched, jobs)

    asyncio.run(asyncio.wait_for(scenario(), DEADLINE_SECONDS))
    assert len(chaos.kills) >= TURNS // 4, "some moments come in no turn, e.g. a request in one that asks nothing"


async def watch(client: headrace.AsyncClient, session_id: str, events: list[event_pb2.Event]) -> None:
    """Reads all of a session to its end."""
    async with client.session(session_id).converse() as talk:
        async for item in talk:
            if isinstance(item, event_pb2.Event):
                events.append(item)
