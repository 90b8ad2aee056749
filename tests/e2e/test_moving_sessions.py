"""Sessions of which snapshots are taken: their worker is gone with its disk, and they go on at another one (R6)."""

import asyncio
import json
import shutil
import signal
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane
from e2e.remote_worker import SHORT_LEASE, RemoteWorker
from headrace import errors
from headrace.v1 import event_pb2, outcome_pb2, session_pb2

StartControlPlane = Callable[..., ControlPlane]
StartWorker = Callable[..., RemoteWorker]
Scenario = Callable[[headrace.Session, RemoteWorker], Coroutine[Any, Any, None]]
Snapshotted = Callable[[Scenario], None]
USAGE = {"input_tokens": 100, "output_tokens": 10}
SIMULATED = ("--claude", "simulated")
DEADLINE_SECONDS = 60


def said(number: int, *steps: dict[str, Any]) -> str:
    """A message, and what the model does about it."""
    return f"turn {number} SIMULATE<<{json.dumps([*steps, {'text': f'answer {number}', 'usage': USAGE}])}>>"


def write(path: str, content: str) -> dict[str, Any]:
    tool = {"name": "Write", "input": {"file_path": path, "content": content}}
    return {"text": "writing", "tools": [tool], "usage": USAGE}


def messages(worker: RemoteWorker, session_id: str) -> list[str]:
    """What the user has said, as it stands in the transcript on a worker's disk."""
    (path,) = (worker.data / "sessions" / session_id / "config" / "projects").glob("*/*.jsonl")
    entries = [json.loads(line) for line in path.read_bytes().splitlines()]
    found = [entry["message"]["content"] for entry in entries if entry.get("type") == "user"]
    return [text.partition(" SIMULATE")[0] for text in found if isinstance(text, str) and text.startswith("turn ")]


async def events_of(job: headrace.Job) -> list[event_pb2.Event]:
    return [item async for item in job.events() if isinstance(item, event_pb2.Event)]


async def turn(session: headrace.Session, number: int, *steps: dict[str, Any]) -> headrace.Job:
    """A turn that has to succeed."""
    job = await session.send(said(number, *steps))
    ended = await job.result()
    assert ended.text == f"answer {number}"
    return job


@pytest.fixture
def plane(start_plane: StartControlPlane) -> ControlPlane:
    return start_plane("--no-worker", **SHORT_LEASE)


@pytest.fixture
def snapshotted(plane: ControlPlane, start_worker: StartWorker) -> Snapshotted:
    """Runs a scenario with a session of which snapshots are taken, and the worker `a`, alone at first."""

    async def main(scenario: Scenario) -> None:
        async with headrace.connect(plane.address) as client:
            session = await client.sessions.create(snapshots="workspace", permission_mode="acceptEdits")
            await scenario(session, start_worker(plane, "a", *SIMULATED))

    return lambda scenario: asyncio.run(asyncio.wait_for(main(scenario), DEADLINE_SECONDS))


@pytest.mark.timeout(120)
def test_r6_a_session_goes_on_at_another_worker_when_its_own_is_gone(
    snapshotted: Snapshotted, plane: ControlPlane, start_worker: StartWorker
) -> None:
    async def scenario(session: headrace.Session, first: RemoteWorker) -> None:
        await turn(session, 1, write("made.txt", "by turn 1"))
        await turn(session, 2)
        known = (await session.get()).latest_snapshot
        assert (known.turn, known.worker_id) == (2, "a")
        first.vanish()
        second = start_worker(plane, "b", *SIMULATED)
        job = await turn(session, 3, write("more.txt", "by turn 3"))
        holds_after_move(second, session.id, await session.get(), await events_of(job))
        await turn(session, 4)
        assert messages(second, session.id) == ["turn 1", "turn 2", "turn 3", "turn 4"]
        await session.close()

    snapshotted(scenario)


def holds_after_move(
    worker: RemoteWorker, session_id: str, now: session_pb2.Session, events: list[event_pb2.Event]
) -> None:
    """The conversation and its folder are there, each message once and billed once, and the log says what happened."""
    assert messages(worker, session_id) == ["turn 1", "turn 2", "turn 3"]
    folder = worker.data / "workspaces" / session_id
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "made.txt": "by turn 1",
        "more.txt": "by turn 3",
    }
    assert (now.binding.worker_id, now.binding.epoch, now.turn_count) == ("b", 2, 3)
    assert (now.latest_snapshot.turn, now.latest_snapshot.worker_id) == (3, "b")
    assert (now.usage.turns, now.usage.input_tokens) == (5, 5 * USAGE["input_tokens"])
    (assigned,) = [event.attempt_assigned for event in events if event.HasField("attempt_assigned")]
    assert (assigned.session_move.from_worker_id, assigned.session_move.snapshot_turn) == ("a", 2)
    notes = [event.output.snapshot.action for event in events if event.output.HasField("snapshot")]
    assert notes == [event_pb2.SNAPSHOT_ACTION_RESTORED, event_pb2.SNAPSHOT_ACTION_TAKEN]


HANG = {"text": "waits and waits", "hang_after_deltas": 1, "interruptible": True, "usage": USAGE}


async def until_written(job: headrace.Job) -> None:
    """Waits until a tool of the turn has changed the world, and the model goes on."""
    async for item in job.events():
        if isinstance(item, event_pb2.Event) and item.output.claude.HasField("user"):
            return


@pytest.mark.timeout(120)
def test_r6_a_turn_that_a_draining_worker_hands_back_is_resumed_elsewhere(
    snapshotted: Snapshotted, plane: ControlPlane, start_worker: StartWorker
) -> None:
    """A rolling restart of workers: what has changed the world goes on where its folder goes."""

    async def scenario(session: headrace.Session, first: RemoteWorker) -> None:
        job = await session.send(said(1, write("made.txt", "by turn 1"), HANG))
        await until_written(job)
        async with headrace.connect(plane.address) as client:
            await client.workers.drain("a", grace=0, exit=True)
        await asyncio.to_thread(first.wait)
        shutil.rmtree(first.data)
        second = start_worker(plane, "b", *SIMULATED)
        assert (await job.result()).text == "answer 1"
        assert (second.data / "workspaces" / session.id / "made.txt").read_text() == "by turn 1"
        assert messages(second, session.id) == ["turn 1"]
        ended = await job.get()
        assert (ended.attempt_count, ended.failure_count, ended.loss_count) == (2, 0, 0)
        await turn(session, 2)
        await session.close()

    snapshotted(scenario)


@pytest.mark.timeout(120)
def test_r6_a_snapshot_that_was_damaged_is_refused_and_nothing_runs(
    snapshotted: Snapshotted, plane: ControlPlane, start_worker: StartWorker
) -> None:
    async def scenario(session: headrace.Session, first: RemoteWorker) -> None:
        await turn(session, 1)
        first.vanish()
        await asyncio.to_thread(damage, plane)
        second = start_worker(plane, "b", *SIMULATED)
        job = await session.send(said(2))
        with pytest.raises(errors.JobFailed):
            await job.result()
        failure = (await job.get()).failure
        assert (failure.failure_class, failure.sign) == (outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME, "snapshot")
        assert "digest" in failure.message
        now = await session.get()
        assert (now.state, now.close_reason) == (session_pb2.SESSION_STATE_LOST, failure.message)
        assert not (second.data / "sessions").exists()

    snapshotted(scenario)


def damage(plane: ControlPlane) -> None:
    """Changes a byte of what the control plane keeps, while it does not run."""
    plane.kill()
    with closing(sqlite3.connect(plane.data / "headrace.db")) as database, database:
        (data,) = database.execute("SELECT data FROM artifact_parts").fetchone()
        database.execute("UPDATE artifact_parts SET data = ?", (data[:-1] + bytes([data[-1] ^ 1]),))
    plane.start()


def simulators(plane: ControlPlane) -> set[int]:
    """Processes of the CLI that live."""
    return {pid for pid, line in plane.processes().items() if "-m headrace_worker.simulator" in line}


@pytest.mark.timeout(120)
def test_x1_a_worker_that_was_frozen_past_its_lease_has_no_process_of_what_has_moved(
    snapshotted: Snapshotted, plane: ControlPlane, start_worker: StartWorker
) -> None:
    async def scenario(session: headrace.Session, first: RemoteWorker) -> None:
        await turn(session, 1)
        older = simulators(plane)
        assert len(older) == 1
        first.signal(signal.SIGSTOP)
        second = start_worker(plane, "b", *SIMULATED)
        await turn(session, 2)
        newer = simulators(plane)
        assert len(newer) == 1
        assert not newer & older
        first.signal(signal.SIGCONT)
        await turn(session, 3)
        assert simulators(plane) == newer, "it goes on where it is, also when its first worker is back"
        assert messages(second, session.id) == ["turn 1", "turn 2", "turn 3"]
        assert (await session.get()).binding.worker_id == "b"

    snapshotted(scenario)
