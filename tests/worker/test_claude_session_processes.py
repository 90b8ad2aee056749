"""The processes of sessions between turns: how long they are kept, and what they begin by themselves. Simulated."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import worker_service_pb2
from headrace_worker.executors.claude import session_turn as session_turn_module
from headrace_worker.executors.claude import sessions as sessions_module
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.contract import Attempt, Cancelled, Outcome, Succeeded
from headrace_worker.folders import remove_folder
from headrace_worker.trees import MemoryLimits
from worker.session_running import SESSION, RunTest, SessionWorker, class_of, kinds, scripted, text_of

OTHER = "0190aaaa-0000-7000-8000-000000000002"
THIRD = "0190aaaa-0000-7000-8000-000000000003"
MEBIBYTE = 1024 * 1024


def test_an_idle_process_ends_after_its_time(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}), idle_seconds=0.2)
        assert len(worker.process_ids()) == 1
        await worker.until(lambda: worker.process_ids() == [])
        assert text_of(await worker.turn(scripted({"text": "two"}))) == "two"
        assert len(worker.messages()) == 2

    run(main)


def test_a_session_without_idle_time_keeps_no_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        for text in ("one", "two"):
            assert text_of(await worker.turn(scripted({"text": text}), idle_seconds=0)) == text
            assert worker.process_ids() == []

    run(main)


def test_past_the_limit_the_least_recently_used_process_ends(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        for session_id in (SESSION, OTHER, SESSION, THIRD):
            await worker.turn(scripted({"text": "x"}), session_id)
        assert {held.session_id for held in worker.sessions.held()} == {SESSION, THIRD}

    run(main, processes_max=2)


def test_processes_at_work_are_not_ended_for_others(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        busy = worker.attempt(scripted({"fault": "hang", "interruptible": True}))
        running = asyncio.create_task(worker.run(busy))
        await busy.wait_output(lambda a: "init" in kinds(a))
        assert text_of(await worker.turn(scripted({"text": "x"}), OTHER)) == "x"
        busy.stop()
        assert isinstance(await running, Cancelled)

    run(main, processes_max=1)


def test_a_session_that_the_server_names_loses_its_process_and_then_its_folders(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}))
        worker.sessions.end_named([SESSION, OTHER])
        await worker.until(lambda: worker.process_ids() == [])
        folder = worker.folder / "data" / "sessions" / SESSION
        assert (folder / "ended").exists()

    run(main)


def test_conversations_without_a_process_are_named_in_turns(run: RunTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "KEPT_SESSIONS_COUNT_MAX", 1)

    async def main(worker: SessionWorker) -> None:
        for session_id in (SESSION, OTHER):
            await worker.turn(scripted({"text": "x"}), session_id, idle_seconds=0)
        await worker.turn(scripted({"text": "x"}), THIRD)
        assert [worker.sessions.kept() for _ in range(3)] == [[SESSION], [OTHER], [SESSION]]

    run(main)


def test_what_is_kept_of_a_session_goes_with_it(run: RunTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "SESSION_ENDED_KEPT_SECONDS", 0.1)

    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "x"}), idle_seconds=0)
        data = worker.folder / "data"
        left = list(data.rglob(f"*{SESSION}*"))
        assert (data / "sessions" / SESSION) in left
        await worker.until(lambda: worker.sessions.kept() == [SESSION])
        worker.sessions.end_named([SESSION])
        assert worker.sessions.kept() == []
        await worker.until(lambda: not any(path.exists() for path in left))

    run(main)


def test_x1_a_turn_that_comes_while_what_was_kept_is_removed_waits_until_it_is_gone(
    run: RunTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "SESSION_ENDED_KEPT_SECONDS", 0.1)
    removing, go_on = threading.Event(), threading.Event()
    acquired = session_turn_module._acquired
    found_locked: list[bool] = []

    def remove_slowly(folder: Path) -> None:
        removing.set()
        assert go_on.wait(60)
        remove_folder(folder)

    async def acquired_and_noted(lock: asyncio.Lock, attempt: Attempt) -> bool:
        found_locked.append(lock.locked())
        return await acquired(lock, attempt)

    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}), idle_seconds=0)
        monkeypatch.setattr(sessions_module, "remove_folder", remove_slowly)
        monkeypatch.setattr(session_turn_module, "_acquired", acquired_and_noted)
        worker.sessions.end_named([SESSION])
        await worker.until(removing.is_set)
        coming = asyncio.create_task(worker.turn(scripted({"text": "two"}), epoch=2))
        await worker.until(lambda: bool(found_locked))
        go_on.set()
        outcome = await coming
        assert found_locked == [True]
        assert class_of(outcome) == "UNKNOWN_OUTCOME"

    run(main)


def test_a_turn_that_comes_after_all_finds_its_conversation(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}))
        worker.sessions.end_named([SESSION])
        assert text_of(await worker.turn(scripted({"text": "two"}), epoch=2)) == "two"
        assert len(worker.messages()) == 2
        assert not (worker.folder / "data" / "sessions" / SESSION / "ended").exists()

    run(main)


def test_q7_a_draining_worker_keeps_no_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        busy = worker.attempt(scripted({"fault": "hang", "interruptible": True}), OTHER)
        await worker.turn(scripted({"text": "one"}))
        running = asyncio.create_task(worker.run(busy))
        await busy.wait_output(lambda a: "init" in kinds(a))
        worker.sessions.drain()
        await worker.until(lambda: [held.session_id for held in worker.sessions.held()] == [OTHER])
        busy.stop()
        await running
        await worker.until(lambda: worker.process_ids() == [])
        worker.sessions.resume()
        await worker.turn(scripted({"text": "two"}))
        assert len(worker.process_ids()) == 1

    run(main)


def test_l4_idle_processes_end_with_the_lease(run: RunTest, processes: Any) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}))
        (pid,) = worker.process_ids()
        worker.sessions.kill_idle()
        assert worker.process_ids() == []
        await asyncio.to_thread(processes.wait_dead, pid)

    run(main)


def test_a_process_past_its_soft_limit_is_not_kept(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"fault": "memory", "bytes": 96 * MEBIBYTE, "milliseconds": 20}, {"text": "big"}))
        await worker.until(lambda: worker.process_ids() == [])
        assert text_of(await worker.turn(scripted({"text": "small"}))) == "small"
        assert len(worker.process_ids()) == 1

    run(main, memory=MemoryLimits(soft_bytes=80 * MEBIBYTE))


async def announced(worker: SessionWorker, count: int = 1) -> list[worker_service_pb2.BackgroundTurn]:
    await worker.until(lambda: len(worker.announced) >= count)
    return list(worker.announced)


def own_turn(milliseconds: int = 0, **step: Any) -> dict[str, Any]:
    return {"fault": "unsolicited_turn", "milliseconds": milliseconds, "steps": [step]}


def test_a_turn_that_the_cli_begins_by_itself_is_kept_for_its_job(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        user = worker.attempt(scripted(own_turn(text="by itself"), {"text": "asked"}))
        assert text_of(await worker.run(user)) == "asked"
        (turn,) = await announced(worker)
        assert (turn.session_id, turn.binding_epoch, turn.number) == (SESSION, 1, 1)
        assert worker.sessions.unacknowledged() == [turn]
        worker.sessions.acknowledge(worker_service_pb2.BackgroundTurnAck(turn=turn, job_id="own"))
        assert worker.sessions.unacknowledged() == []
        own = worker.attempt("", job_id="own", background_number=1)
        outcome = await worker.run(own)
        assert (text_of(outcome), outcome.usage.turns) == ("by itself", 1)
        assert (kinds(own)[0], kinds(own)[-1]) == ("system", "turn_result")
        assert "by itself" not in str(user.outputs)
        assert worker.messages() == [user.assignment.spec.claude.prompt]
        assert len(worker.process_ids()) == 1

    run(main)


def test_a_turn_of_its_own_that_still_runs_is_heard_to_its_end(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted(own_turn(text="slow words " * 20, delta_milliseconds=20), {"text": "asked"}))
        await announced(worker)
        own = worker.attempt("", background_number=1)
        assert text_of(await worker.run(own)) == "slow words " * 20
        assert len(worker.process_ids()) == 1

    run(main)


def test_a_message_waits_for_the_end_of_a_turn_that_nobody_asked_for(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted(own_turn(text="slow words " * 10, delta_milliseconds=30), {"text": "asked"}))
        await announced(worker)
        second = worker.attempt(scripted({"text": "second"}))
        assert text_of(await worker.run(second)) == "second"
        assert "slow words" not in str(second.outputs)
        own = worker.attempt("", background_number=1)
        assert text_of(await worker.run(own)) == "slow words " * 10
        assert len(worker.process_ids()) == 1

    run(main)


def test_an_interrupt_of_a_turn_of_its_own_leaves_the_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        hang = {"fault": "hang", "interruptible": True}
        await worker.turn(scripted({"fault": "unsolicited_turn", "steps": [hang]}, {"text": "asked"}))
        await announced(worker)
        own = worker.attempt("", background_number=1)
        running = asyncio.create_task(worker.run(own))
        await own.wait_output(lambda a: "init" in kinds(a))
        own.stop()
        assert isinstance(await running, Cancelled)
        assert len(worker.process_ids()) == 1

    run(main)


def test_a_turn_of_its_own_outlives_its_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted(own_turn(text="by itself"), {"text": "asked"}))
        (turn,) = await announced(worker)
        await worker.until(lambda: not worker.sessions.held()[0].process.busy)
        worker.sessions.drain()
        await worker.until(lambda: worker.process_ids() == [])
        outcome = await worker.turn("", background_number=turn.number)
        assert text_of(outcome) == "by itself"

    run(main)


def test_a_turn_of_its_own_that_dies_with_its_process_is_a_crash(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        killed = {"fault": "exit", "signal": "SIGKILL"}
        await worker.turn(scripted({"fault": "unsolicited_turn", "steps": [killed]}, {"text": "asked"}))
        await announced(worker)
        assert class_of(await worker.turn("", background_number=1)) == "CRASH"

    run(main)


def test_a_turn_of_its_own_that_no_job_wants_is_dropped_with_its_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted(own_turn(text="by itself"), {"text": "asked"}))
        (turn,) = await announced(worker)
        await worker.until(lambda: not worker.sessions.held()[0].process.busy)
        worker.sessions.acknowledge(worker_service_pb2.BackgroundTurnAck(turn=turn))
        await worker.until(lambda: worker.process_ids() == [])
        assert class_of(await worker.turn("", background_number=1)) == "UNKNOWN_OUTCOME"
        assert list((worker.folder / "data" / "spool").glob("*")) == []

    run(main)


def test_a_turn_of_its_own_that_nobody_takes_and_that_stalls_is_ended(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"fault": "unsolicited_turn", "steps": [{"fault": "hang"}]}, {"text": "asked"}))
        await announced(worker)
        await worker.until(lambda: worker.process_ids() == [])
        assert class_of(await worker.turn("", background_number=1)) == "CRASH"
        assert text_of(await worker.turn(scripted({"text": "next"}))) == "next"

    run(main, seconds=ConversationSeconds(first_token=0.5, close=0.5, terminate=0.5))


def test_a_background_command_makes_a_turn_of_its_own(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        bash = {"name": "Bash", "input": {"command": "sleep 0.3", "run_in_background": True, "description": "nap"}}
        outcome = await worker.turn(scripted({"tools": [bash]}, {"text": "started"}), allowed_tools=["Bash"])
        assert text_of(outcome) == "started"
        assert isinstance(outcome, Succeeded)
        await announced(worker)
        own: Outcome = await worker.turn("", background_number=1, allowed_tools=["Bash"])
        assert "has ended" in text_of(own)

    run(main)
