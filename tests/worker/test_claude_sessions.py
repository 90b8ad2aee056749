"""Sessions on one worker: which process a turn gets, what is said in it, and what is left for the next. Simulated."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from headrace.v1 import task_pb2
from headrace_worker.executors.claude.session_turn import GO_ON
from headrace_worker.executors.contract import Cancelled, Outcome, Succeeded
from worker.session_running import SESSION, RunTest, SessionWorker, class_of, kinds, scripted, text_of

OTHER = "0190aaaa-0000-7000-8000-000000000002"


def conversation_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result.claude.claude_session_id


def test_x1_a_second_turn_goes_on_in_the_process_of_the_first(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        first = await worker.turn(scripted({"text": "one"}))
        (held,) = worker.sessions.held()
        second = await worker.turn(scripted({"text": "two"}))
        assert (text_of(first), text_of(second)) == ("one", "two")
        assert conversation_of(first) == conversation_of(second)
        assert worker.process_ids() == [held.process.process_id]
        assert (held.session_id, held.binding_epoch, held.process.busy) == (SESSION, 1, False)
        assert held.process.folder == str(worker.folder / "data" / "workspaces" / SESSION)

    run(main)


def test_the_process_is_busy_while_a_turn_runs(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted({"fault": "hang", "interruptible": True}))
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: "init" in kinds(a))
        assert [held.process.busy for held in worker.sessions.held()] == [True]
        attempt.stop()
        await running
        assert [held.process.busy for held in worker.sessions.held()] == [False]

    run(main)


def test_each_turn_is_told_its_own_frames_and_billed_its_own_use(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        usages = []
        for number in range(3):
            usage = {"input_tokens": 100 + number, "output_tokens": 10}
            attempt = worker.attempt(scripted({"text": f"answer {number}", "usage": usage}))
            outcome = await worker.run(attempt)
            assert (kinds(attempt)[0], kinds(attempt)[-1]) == ("init", "turn_result")
            assert kinds(attempt).count("turn_result") == 1
            assert "".join(delta.text for delta in attempt.deltas) == f"answer {number}"
            usages.append((outcome.usage.input_tokens, outcome.usage.output_tokens, outcome.usage.turns))
        assert usages == [(100, 10, 1), (101, 10, 1), (102, 10, 1)]

    run(main)


def test_x4_the_next_turn_resumes_when_the_idle_process_was_killed(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        usage = {"input_tokens": 100, "output_tokens": 10}
        first = await worker.turn(scripted({"text": "one", "usage": usage}))
        (pid,) = worker.process_ids()
        os.kill(pid, signal.SIGKILL)
        await worker.until(lambda: worker.process_ids() == [])
        second = await worker.turn(scripted({"text": "two", "usage": usage}))
        assert text_of(second) == "two"
        assert conversation_of(second) == conversation_of(first)
        assert worker.process_ids() != [pid]
        assert len(worker.messages()) == 2
        assert second.usage.cost_usd_micros == first.usage.cost_usd_micros == 600

    run(main)


def test_r6_a_repeated_turn_does_not_say_a_message_twice(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        prompt = scripted({"text": "half"}, {"fault": "exit", "signal": "SIGKILL"})
        assert class_of(await worker.turn(prompt, job_id="job")) == "CRASH"
        assert worker.process_ids() == []
        second = await worker.turn(prompt, job_id="job", attempt=2)
        assert isinstance(second, Succeeded), second
        assert worker.messages() == [prompt, GO_ON]

    run(main)


def test_r6_a_message_of_a_start_that_the_server_never_heard_of_is_not_said_twice(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        prompt = scripted({"text": "half"}, {"fault": "exit", "signal": "SIGKILL"})
        assert class_of(await worker.turn(prompt, job_id="job")) == "CRASH"
        again = worker.attempt(prompt, job_id="job")
        again.assignment.lease.epoch = 2
        assert isinstance(await worker.run(again), Succeeded)
        assert worker.messages() == [prompt, GO_ON]

    run(main)


def test_r6_a_message_that_never_arrived_is_said(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted({"text": "never"}), job_id="job")
        attempt.stop(kill=True)
        assert isinstance(await worker.run(attempt), Cancelled)
        prompt = scripted({"text": "at last"})
        assert text_of(await worker.turn(prompt, job_id="job", attempt=2)) == "at last"
        assert worker.messages() == [prompt]

    run(main)


def test_r6_a_failed_call_is_repeated_in_the_same_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        prompt = scripted({"fault": "api_error", "status": 529, "retries": 0})
        assert class_of(await worker.turn(prompt, job_id="job")) == "OVERLOADED"
        (pid,) = worker.process_ids()
        assert isinstance(await worker.turn(prompt, job_id="job", attempt=2), Succeeded)
        assert worker.process_ids() == [pid]
        assert worker.messages() == [prompt, GO_ON]

    run(main)


def test_a_first_turn_whose_transcript_was_never_written_begins_again_under_its_id(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        known = "11111111-2222-4333-8444-555555555555"
        worker.claude_session_ids[SESSION] = known
        outcome = await worker.turn(scripted({"text": "new"}), attempt=2, number=1)
        assert conversation_of(outcome) == known

    run(main)


def test_a_conversation_that_is_not_here_is_an_unknown_outcome(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        worker.claude_session_ids[SESSION] = "11111111-2222-4333-8444-555555555555"
        outcome = await worker.turn(scripted({"text": "new"}), number=2)
        assert class_of(outcome) == "UNKNOWN_OUTCOME"
        assert worker.process_ids() == []

    run(main)


def test_r6_a_first_turn_that_may_have_changed_the_world_begins_no_other_conversation(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        known = "11111111-2222-4333-8444-555555555555"
        outcome = await worker.turn(scripted({"text": "again"}), attempt=2, number=1, resume=known)
        assert class_of(outcome) == "UNKNOWN_OUTCOME"
        assert worker.process_ids() == []

    run(main)


def test_x4_a_fork_goes_on_from_a_copy(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}))
        origin = worker.claude_session_ids[SESSION]
        forked = await worker.turn(scripted({"text": "two"}), OTHER, fork=(SESSION, origin))
        assert text_of(forked) == "two"
        assert conversation_of(forked) != origin
        assert (len(worker.messages()), len(worker.messages(OTHER))) == (1, 2)
        again = await worker.turn(scripted({"text": "three"}), OTHER)
        assert conversation_of(again) == conversation_of(forked)
        assert len(worker.process_ids()) == 2

    run(main)


def test_a_repeated_first_turn_of_a_fork_does_not_fork_again(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}))
        fork = (SESSION, worker.claude_session_ids[SESSION])
        prompt = scripted({"fault": "exit", "signal": "SIGKILL"})
        assert class_of(await worker.turn(prompt, OTHER, fork=fork, job_id="job")) == "CRASH"
        worker.claude_session_ids.pop(OTHER, None)
        second = await worker.turn(prompt, OTHER, fork=fork, job_id="job", attempt=2, number=1)
        assert isinstance(second, Succeeded)
        assert worker.messages(OTHER)[1:] == [prompt, GO_ON]

    run(main)


def test_x4_an_interrupt_ends_the_turn_and_not_the_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted({"fault": "hang", "interruptible": True}))
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: "init" in kinds(a))
        (pid,) = worker.process_ids()
        attempt.stop()
        assert isinstance(await running, Cancelled)
        assert attempt.rungs() == ["INTERRUPT"]
        assert attempt.frames()[-1].turn_result.terminal_reason.startswith("aborted_")
        assert text_of(await worker.turn(scripted({"text": "next"}))) == "next"
        assert worker.process_ids() == [pid]

    run(main)


def test_x4_the_ladder_goes_on_for_a_process_that_does_not_obey(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted({"fault": "ignore", "what": "sigterm"}, {"fault": "hang"}))
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: "init" in kinds(a))
        attempt.stop(grace_seconds=0.6)
        assert isinstance(await running, Cancelled)
        assert attempt.rungs() == ["INTERRUPT", "CLOSE_INPUT", "TERMINATE", "KILL", "TREE_GONE"]
        assert worker.process_ids() == []
        assert text_of(await worker.turn(scripted({"text": "next"}))) == "next"

    run(main)


def test_a_kill_ends_the_process_with_its_turn(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted({"fault": "hang", "interruptible": True}))
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: "init" in kinds(a))
        attempt.stop(kill=True)
        assert isinstance(await running, Cancelled)
        assert attempt.rungs() == ["KILL", "TREE_GONE"]
        assert worker.process_ids() == []

    run(main)


def test_a_turn_waits_for_the_one_before_and_gives_up_when_stopped(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        first = worker.attempt(scripted({"fault": "hang", "interruptible": True}))
        running = asyncio.create_task(worker.run(first))
        await first.wait_output(lambda a: "init" in kinds(a))
        second, third = worker.attempt(scripted({"text": "second"})), worker.attempt(scripted({"text": "third"}))
        waiting = [asyncio.create_task(worker.run(attempt)) for attempt in (second, third)]
        second.stop()
        assert isinstance(await waiting[0], Cancelled)
        first.stop()
        await running
        assert text_of(await waiting[1]) == "third"
        assert second.outputs == []

    run(main)


def test_model_and_permission_mode_are_changed_in_the_running_process(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}), model="claude-opus-5-5")
        pids = worker.process_ids()
        mode = task_pb2.PERMISSION_MODE_ACCEPT_EDITS
        attempt = worker.attempt(scripted({"text": "two"}), model="claude-haiku-4-5", permission_mode=mode)
        assert text_of(await worker.run(attempt)) == "two"
        init = next(frame.init for frame in attempt.frames() if frame.HasField("init"))
        assert (init.model, init.permission_mode) == ("claude-haiku-4-5", "acceptEdits")
        assert worker.process_ids() == pids

    run(main)


@pytest.mark.parametrize(
    "changed",
    [
        {"append_system_prompt": "Be brief."},
        {"allowed_tools": ["Bash"]},
        {"limits": task_pb2.ClaudeLimits(max_turns=3)},
        {"deltas": False},
        {"fallback_model": "claude-haiku-4-5"},
    ],
)
def test_a_process_that_was_started_otherwise_is_replaced(run: RunTest, changed: dict[str, Any]) -> None:
    async def main(worker: SessionWorker) -> None:
        first = await worker.turn(scripted({"text": "one"}))
        (pid,) = worker.process_ids()
        second = await worker.turn(scripted({"text": "two"}), **changed)
        assert conversation_of(first) == conversation_of(second)
        assert len(worker.process_ids()) == 1
        assert worker.process_ids() != [pid]

    run(main)


def test_x6_a_turn_with_a_budget_has_a_process_whose_spending_begins_with_it(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        budget = task_pb2.ClaudeLimits(max_cost_usd_micros=900)
        step = {"text": "x", "usage": {"input_tokens": 100, "output_tokens": 10}}
        for _ in range(3):
            assert text_of(await worker.turn(scripted(step), limits=budget)) == "x"

    run(main)


def test_an_older_binding_s_process_ends_before_the_turn_begins(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}))
        (pid,) = worker.process_ids()
        await worker.turn(scripted({"text": "two"}), epoch=2)
        (held,) = worker.sessions.held()
        assert (held.binding_epoch, held.process.process_id == pid) == (2, False)

    run(main)


def schema(**properties: Any) -> struct_pb2.Struct:
    described = {"type": "object", "properties": properties, "required": list(properties)}
    return json_format.ParseDict(described, struct_pb2.Struct())


def test_a_structured_output_is_repaired_once(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(
            scripted({"fault": "no_structured_output"}), output_schema=schema(n={"type": "integer"})
        )
        outcome = await worker.run(attempt)
        assert isinstance(outcome, Succeeded), outcome
        assert outcome.result.claude.structured_output.fields["n"].HasField("number_value")
        assert kinds(attempt).count("turn_result") == 2
        assert "no structured output" in worker.messages()[-1]
        assert outcome.usage.turns > 2

    run(main)


def test_x8_each_turn_tells_what_is_changed_in_the_session_s_worktree(run: RunTest, tmp_path: Path) -> None:
    repository = tmp_path / "allowed" / "repository"
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=n", "-c", "user.email=e")
        subprocess.run(["git", *identity, "-C", str(repository), *arguments], check=True, env=environment)

    def patches(attempt: Any) -> str:
        return "".join(output.artifact_part.data.decode() for output in attempt.outputs)

    async def main(worker: SessionWorker) -> None:
        workspace = task_pb2.Workspace(git_worktree=task_pb2.GitWorktree(repository=str(repository)))
        told = []
        for name in ("one", "two"):
            write = {"name": "Write", "input": {"file_path": name, "content": f"{name} made"}}
            task: dict[str, Any] = {"workspace": workspace, "allowed_tools": ["Write"]}
            attempt = worker.attempt(scripted({"tools": [write]}, {"text": "done"}), **task)
            assert text_of(await worker.run(attempt)) == "done"
            told.append([f"{name} made" in patches(attempt) for name in ("one", "two")])
        assert told == [[True, False], [True, True]]
        assert len(worker.process_ids()) == 1

    repository.mkdir(parents=True)
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "first")
    run(main)


def test_a_conversation_that_was_killed_before_its_first_answer_begins_again(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(scripted({"fault": "hang"}))
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: "init" in kinds(a))
        attempt.stop(kill=True)
        await running
        for path in (worker.folder / "data" / "sessions" / SESSION / "config" / "projects").glob("*/*"):
            path.unlink()
        assert text_of(await worker.turn(scripted({"text": "second"}), number=2)) == "second"
        for path in (worker.folder / "data" / "sessions" / SESSION / "config" / "projects").glob("*/*"):
            path.unlink()
        worker.sessions.kill_idle()
        assert class_of(await worker.turn(scripted({"text": "third"}), number=3)) == "UNKNOWN_OUTCOME"

    run(main)


def test_x4_a_fork_that_was_killed_before_its_first_answer_forks_again(run: RunTest) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(scripted({"text": "one"}))
        fork = (SESSION, worker.claude_session_ids[SESSION])
        killed = await worker.turn(scripted({"fault": "exit", "signal": "SIGKILL"}), OTHER, fork=fork)
        assert class_of(killed) == "CRASH"
        projects = worker.folder / "data" / "sessions" / OTHER / "config" / "projects"
        for path in projects.glob(f"*/{worker.claude_session_ids[OTHER]}.jsonl"):
            path.unlink()
        assert text_of(await worker.turn(scripted({"text": "two"}), OTHER, number=2)) == "two"
        assert len(worker.messages(OTHER)) == 2

    run(main)
