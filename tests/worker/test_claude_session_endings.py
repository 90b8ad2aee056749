"""How the turn of a session ends when it does not end by itself, and that the next one goes on. Simulated."""

import asyncio
from typing import Any

import pytest

from headrace.v1 import task_pb2, worker_service_pb2
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.contract import Cancelled, Failed
from headrace_worker.trees import MemoryLimits
from worker.session_running import RunTest, SessionWorker, class_of, kinds, scripted, text_of

HANG = {"fault": "hang", "interruptible": True}
MEBIBYTE = 1024 * 1024
SHORT = {"receipt": 0.3, "interrupt": 0.5, "close": 0.3, "terminate": 0.3, "drain": 0.3}


async def goes_on(worker: SessionWorker) -> None:
    """The next turn has the same conversation, in a new process."""
    assert worker.process_ids() == []
    before = dict(worker.claude_session_ids)
    assert text_of(await worker.turn(scripted({"text": "next"}))) == "next"
    assert worker.claude_session_ids == before


@pytest.mark.parametrize(
    ("phase", "steps"),
    [
        ("first_token", [HANG]),
        ("streaming", [{"text": "x" * 200, "hang_after_deltas": 2}]),
        ("tool", [{"fault": "hang", "at": "tool", "child": True}]),
    ],
)
def test_r2_a_stall_ends_the_process_with_evidence(run: RunTest, phase: str, steps: list[dict[str, Any]]) -> None:
    async def main(worker: SessionWorker) -> None:
        outcome = await worker.turn(scripted(*steps))
        assert class_of(outcome) == "STALL"
        assert isinstance(outcome, Failed)
        assert f" s in the phase {phase}" in outcome.failure.message
        await goes_on(worker)

    phases = ("start", "first_token", "streaming", "tool", "after_tool")
    run(main, seconds=ConversationSeconds(**{**dict.fromkeys(phases, 30.0), phase: 0.5}, **SHORT))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"fault": "exit", "signal": "SIGSEGV"}, "CRASH"),
        ({"fault": "exit", "code": 137}, "CRASH"),
        ({"fault": "exit", "code": 0}, "CRASH"),
        ({"fault": "api_error", "status": 401, "retry_milliseconds": 60_000}, "AUTH"),
    ],
)
def test_r2_a_turn_that_ends_with_its_process(run: RunTest, fault: dict[str, Any], expected: str) -> None:
    async def main(worker: SessionWorker) -> None:
        assert class_of(await worker.turn(scripted({"text": "before"}, fault))) == expected
        await goes_on(worker)

    run(main)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"fault": "api_error", "kind": "quota", "resets_in_seconds": 3600}, "QUOTA"),
        ({"fault": "api_error", "kind": "billing"}, "BILLING"),
        ({"fault": "api_error", "kind": "prompt_too_long"}, "CONTEXT"),
    ],
)
def test_r2_a_turn_that_fails_leaves_its_process(run: RunTest, fault: dict[str, Any], expected: str) -> None:
    async def main(worker: SessionWorker) -> None:
        assert class_of(await worker.turn(scripted(fault))) == expected
        pids = worker.process_ids()
        assert text_of(await worker.turn(scripted({"text": "next"}))) == "next"
        assert worker.process_ids() == pids

    run(main)


def test_a_process_past_its_hard_limit_is_killed_in_its_turn(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        grows = {"fault": "memory", "bytes": 256 * MEBIBYTE, "milliseconds": 50}
        assert class_of(await worker.turn(scripted(grows, HANG))) == "RESOURCE"
        await goes_on(worker)

    run(main, memory=MemoryLimits(hard_bytes=96 * MEBIBYTE))


def test_a_stop_at_the_start_ends_the_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted({"text": "never"}))
        running = asyncio.create_task(worker.run(attempt))
        await worker.until(lambda: bool(worker.process_ids()))
        attempt.stop(grace_seconds=0.5)
        assert isinstance(await running, Cancelled)
        await worker.until(lambda: worker.process_ids() == [] or not kinds(attempt))
        assert text_of(await worker.turn(scripted({"text": "next"}))) == "next"

    run(main)


class Change:
    """A change of settings that notes what became of it."""

    def __init__(self, **settings: Any) -> None:
        self.settings = worker_service_pb2.SettingsCommand(**settings)
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def done(self) -> None:
        self.outcome.set_result("done")

    def refuse(self, why: str) -> None:
        self.outcome.set_result(why)


def test_settings_change_during_a_turn_and_hold_for_the_next(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted(HANG), model="claude-opus-5-5")
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: "init" in kinds(a))
        pids = worker.process_ids()
        change = Change(model="claude-haiku-4-5", permission_mode=task_pb2.PERMISSION_MODE_PLAN)
        attempt.settings.put_nowait(change)
        assert await change.outcome == "done"
        bypass = Change(permission_mode=task_pb2.PERMISSION_MODE_BYPASS_PERMISSIONS)
        attempt.settings.put_nowait(bypass)
        assert "bypassPermissions" in await bypass.outcome
        attempt.stop()
        await running
        second = worker.attempt(
            scripted({"text": "next"}), model="claude-haiku-4-5", permission_mode=task_pb2.PERMISSION_MODE_PLAN
        )
        assert text_of(await worker.run(second)) == "next"
        init = next(frame.init for frame in second.frames() if frame.HasField("init"))
        assert (init.model, init.permission_mode) == ("claude-haiku-4-5", "plan")
        assert worker.process_ids() == pids

    run(main)


def test_e4_a_turn_ends_when_its_output_is_taken_and_not_before(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted({"text": "one"}))
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: "init" in kinds(a))
        attempt.room.clear()
        (held,) = worker.sessions.held()
        assert (held.process.busy, running.done()) == (True, False)
        attempt.room.set()
        assert text_of(await running) == "one"
        assert kinds(attempt)[-1] == "turn_result"

    run(main)
