"""Snapshots after turns that the CLI began by itself: one for each, unless a message has begun meanwhile (R6, X1)."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace_worker.executors.claude.snapshots import Snapshots
from worker.session_running import SIMULATOR, SessionWorker, scripted, text_of
from worker.snapshot_fleet import WHOLE, Fleet, notes

OWN = {"fault": "unsolicited_turn", "steps": [{"text": "by itself"}]}


@pytest.fixture
def run_fleet(
    tmp_path: Path, attempt_of: Callable[..., Any], base_environment: dict[str, str]
) -> Callable[[Callable[[Fleet, SessionWorker], Any]], None]:
    """Runs a test with a worker of which snapshots are kept."""

    def run(main: Callable[[Fleet, SessionWorker], Any]) -> None:
        Fleet(tmp_path, attempt_of, base_environment, SIMULATOR, {"HEADRACE_SIMULATOR_PACE": "0"}).run(main)

    return run


async def own_turn(fleet: Fleet, worker: SessionWorker) -> Any:
    """An attempt at a turn that the CLI has begun by itself after a message."""
    await fleet.turn(worker, scripted(OWN, {"text": "one"}), 1)
    async with asyncio.timeout(30):
        await worker.news.wait()
    return fleet.attempt(worker, "", 1, WHOLE, background_number=1)


def test_r6_a_turn_of_its_own_leaves_a_snapshot(run_fleet: Any) -> None:
    async def main(fleet: Fleet, worker: SessionWorker) -> None:
        own = await own_turn(fleet, worker)
        assert text_of(await worker.run(own)) == "by itself"
        assert len(notes(own)) == 1

    run_fleet(main)


def test_x1_a_turn_of_its_own_leaves_none_once_a_message_has_begun(
    run_fleet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, goes_on = threading.Event(), threading.Event()
    pack = Snapshots._pack

    def slowly(*arguments: Any) -> int:
        left_out = pack(*arguments)
        packed.set()
        assert goes_on.wait(30)
        return left_out

    async def main(fleet: Fleet, worker: SessionWorker) -> None:
        own = await own_turn(fleet, worker)
        with monkeypatch.context() as slow:
            slow.setattr(Snapshots, "_pack", slowly)
            running = asyncio.create_task(worker.run(own))
            assert await asyncio.to_thread(packed.wait, 30)
        message = fleet.attempt(worker, scripted({"text": "two", "hang_after_deltas": 1, "interruptible": True}), 1)
        saying = asyncio.create_task(worker.run(message))
        await worker.until(lambda: worker.sessions.is_busy(message.assignment.session.session_id))
        goes_on.set()
        assert text_of(await running) == "by itself"
        assert notes(own) == []
        message.stop(kill=True)
        await saying

    run_fleet(main)
