"""A conversation whose CLI, worker and control plane are killed at random moments: every message once, billed once."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane
from headrace.v1 import event_pb2, job_pb2, outcome_pb2

StartControlPlane = Callable[..., ControlPlane]
TURNS = 20
USAGE = {"input_tokens": 100, "output_tokens": 10}
GLOB = {"name": "Glob", "input": {"pattern": "*"}}
VICTIMS = ("nothing", "CLI", "worker", "control plane")
AT_ONCE = job_pb2.RetryPolicy(max_attempts=5, initial_backoff=headrace.tasks.duration(0.01))


def prompt(number: int) -> str:
    steps = [
        {"text": f"looking {number}", "tools": [GLOB], "usage": USAGE},
        {"text": "words " * 20, "tools": [GLOB], "delta_milliseconds": 5, "usage": USAGE},
        {"text": f"answer {number}", "usage": USAGE},
    ]
    return f"turn {number} SIMULATE<<{json.dumps(steps)}>>"


async def kill(plane: ControlPlane, victim: str) -> None:
    if victim == "CLI":
        for pid, line in plane.processes().items():
            if "headrace_worker.simulator" in line:
                os.kill(pid, signal.SIGKILL)
    elif victim == "worker":
        os.kill(plane.worker_pid, signal.SIGKILL)
    elif victim == "control plane":
        await asyncio.to_thread(plane.kill)
        await asyncio.to_thread(plane.start)


async def has_turn(talk: headrace.Conversation, number: int, moment: int, at_moment: Callable[[], Any]) -> None:
    """Says a message and hears its turn to the end; at one of its events, something happens."""
    job = await talk.send(prompt(number))
    seen = 0
    async for item in talk:
        if not isinstance(item, event_pb2.Event) or item.job_id != job.id:
            continue
        seen += 1
        if seen == moment:
            await at_moment()
        if item.WhichOneof("kind") in ("succeeded", "failed", "cancelled"):
            ended = await job.get()
            assert (ended.state, ended.result.claude.text) == (job_pb2.JOB_STATE_SUCCEEDED, f"answer {number}"), ended
            return


def transcript(plane: ControlPlane, session_id: str) -> list[dict[str, Any]]:
    folder = plane.data / "local-worker" / "sessions" / session_id / "config" / "projects"
    (path,) = folder.glob("*/*.jsonl")
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_l7_a_conversation_survives_whatever_is_killed(start_plane: StartControlPlane, seed: int) -> None:
    plane, random = start_plane("--claude", "simulated"), Random(seed)

    async def scenario() -> None:
        async with headrace.connect(plane.address) as client:
            session = await client.sessions.create(retry_policy=AT_ONCE)
            victims = [random.choice(VICTIMS) for _ in range(TURNS)]
            async with session.converse() as talk:
                for number, victim in enumerate(victims):
                    await has_turn(talk, number, random.randrange(1, 12), partial(kill, plane, victim))
            now = await session.get()
            assert now.turn_count == TURNS
            kills = sum(victim in ("CLI", "worker") for victim in victims)
            holds_once(transcript(plane, session.id), now.usage, kills)
            await session.close()

    asyncio.run(asyncio.wait_for(scenario(), 280))


def holds_once(entries: list[dict[str, Any]], usage: outcome_pb2.Usage, kills: int) -> None:
    """Every message stands in the conversation once, and no call of the model is billed twice.

    A kill may cut off one call that is billed, and is not in the conversation.
    """
    said = [entry["message"]["content"] for entry in entries if entry.get("type") == "user"]
    assert [text for text in said if isinstance(text, str) and text.startswith("turn ")] == list(
        map(prompt, range(TURNS))
    )
    answers = {entry["message"]["id"] for entry in entries if entry.get("type") == "assistant"}
    assert TURNS <= usage.turns <= len(answers) + kills
    assert usage.input_tokens <= USAGE["input_tokens"] * usage.turns
