"""The same conversations with the simulated CLI and with the real one, which talks to a scripted model server.

What the driver makes of both has to be the same: state, class, sign of the class, and the frames that are told.
"""

import asyncio
import json
import os
from pathlib import Path

import pytest
from google.protobuf import json_format, struct_pb2

from headrace.v1 import input_pb2, task_pb2
from headrace_worker.executors.claude.session_turn import GO_ON
from headrace_worker.executors.contract import Cancelled, Succeeded
from worker.conforming import Conform, Spoken, sign_of, told, until, until_speaking
from worker.session_running import SESSION, SessionWorker, class_of, kinds, text_of

OTHER = "0190aaaa-0000-7000-8000-000000000002"

pytestmark = pytest.mark.timeout(120)


def test_text(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(spoken.prompt({"text": "the answer"}))
        outcome = await worker.run(attempt)
        assert text_of(outcome) == "the answer"
        assert told(attempt) == ["init", "assistant", "turn_result"]
        assert "".join(delta.text for delta in attempt.deltas) == "the answer"
        assert (outcome.usage.turns, outcome.usage.cost_usd_micros > 0) == (1, True)

    conform(main)


def test_an_allowed_tool(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        target = worker.folder / "data" / "workspaces" / SESSION / "made"
        write = {"name": "Write", "input": {"file_path": str(target), "content": "x"}}
        prompt = spoken.prompt({"text": "Writing.", "tools": [write]}, {"text": "done"})
        attempt = worker.attempt(prompt, allowed_tools=["Write"])
        outcome = await worker.run(attempt)
        assert (text_of(outcome), target.read_text()) == ("done", "x")
        assert told(attempt) == ["init", "assistant", "assistant", "user", "assistant", "turn_result"]
        assert [output.dirty for output in attempt.outputs if output.HasField("claude")][-1]
        assert (outcome.usage.turns, outcome.usage.tool_calls) == (2, 1)

    conform(main)


@pytest.mark.parametrize("allow", [True, False])
def test_x3_a_permission_is_asked_for_and_given_late_or_not(spoken: Spoken, conform: Conform, allow: bool) -> None:
    async def main(worker: SessionWorker) -> None:
        target = worker.folder / "data" / "workspaces" / SESSION / "made"
        write = {"name": "Write", "input": {"file_path": str(target), "content": "x"}}
        attempt = worker.attempt(
            spoken.prompt({"tools": [write]}, {"text": "done"}),
            permission_prompts=task_pb2.PERMISSION_PROMPTS_ASK,
        )
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: a.asked)
        ((request_id, request),) = attempt.asked.items()
        assert (request.tool_name, json.loads(request.input_json)["content"]) == ("Write", "x")
        answer = input_pb2.InputAnswer(request_id=request_id, allow=allow, message="" if allow else "not today")
        attempt.answers[request_id].set_result(answer)
        outcome = await running
        assert text_of(outcome) == "done"
        assert target.exists() == allow
        assert told(attempt) == ["init", "assistant", "control", "user", "assistant", "turn_result"]
        assert isinstance(outcome, Succeeded)
        assert outcome.result.claude.permission_denials == (0 if allow else 1)

    conform(main)


def test_x3_an_interrupt_takes_a_question_back(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        write = {"name": "Write", "input": {"file_path": "made", "content": "x"}}
        attempt = worker.attempt(spoken.prompt({"tools": [write]}), permission_prompts=task_pb2.PERMISSION_PROMPTS_ASK)
        running = asyncio.create_task(worker.run(attempt))
        await attempt.wait_output(lambda a: a.asked)
        attempt.stop()
        assert isinstance(await running, Cancelled)
        assert attempt.withdrawn == list(attempt.asked)
        assert (attempt.rungs(), len(worker.process_ids())) == (["INTERRUPT"], 1)

    conform(main)


def test_several_turns_in_one_process(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        costs, pids = [], set()
        for number in range(3):
            attempt = worker.attempt(
                spoken.prompt({"text": f"answer {number}", "usage": {"input_tokens": 100, "output_tokens": 10}})
            )
            outcome = await worker.run(attempt)
            assert text_of(outcome) == f"answer {number}"
            assert told(attempt) == ["init", "assistant", "turn_result"]
            costs.append(outcome.usage.cost_usd_micros)
            pids.update(worker.process_ids())
        assert (len(set(costs)), len(pids)) == (1, 1)
        assert len(worker.messages()) == 3

    conform(main)


def test_a_model_and_a_permission_mode_are_changed_between_turns(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(spoken.prompt({"text": "one"}), model="claude-opus-5-5")
        pids = worker.process_ids()
        attempt = worker.attempt(
            spoken.prompt({"text": "two"}),
            model="claude-haiku-4-5",
            permission_mode=task_pb2.PERMISSION_MODE_ACCEPT_EDITS,
        )
        assert text_of(await worker.run(attempt)) == "two"
        init = next(frame.init for frame in attempt.frames() if frame.HasField("init"))
        assert (init.model, init.permission_mode) == ("claude-haiku-4-5", "acceptEdits")
        assert worker.process_ids() == pids

    conform(main)


def test_x4_interrupt_in_a_text(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(spoken.prompt({"text": "some words that never end at all", "hang": True}))
        running = asyncio.create_task(worker.run(attempt))
        await until_speaking(attempt)
        pids = worker.process_ids()
        attempt.stop()
        assert isinstance(await running, Cancelled)
        assert told(attempt) == ["init", "assistant", "user", "turn_result"]
        assert attempt.frames()[-1].turn_result.terminal_reason == "aborted_streaming"
        assert text_of(await worker.turn(spoken.prompt({"text": "next"}))) == "next"
        assert (attempt.rungs(), worker.process_ids()) == (["INTERRUPT"], pids)

    conform(main)


def test_x4_interrupt_in_a_tool(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        command = "sleep 60" if spoken.simulated else "python3 -c 'import time; time.sleep(60)'"
        bash = {"name": "Bash", "input": {"command": command, "description": "wait"}}
        attempt = worker.attempt(spoken.prompt({"tools": [bash]}), allowed_tools=["Bash"])
        running = asyncio.create_task(worker.run(attempt))
        await until(attempt, "assistant")
        await tool_runs(worker)
        pids = worker.process_ids()
        attempt.stop()
        assert isinstance(await running, Cancelled)
        assert told(attempt) == ["init", "assistant", "user", "user", "turn_result"]
        assert attempt.frames()[-1].turn_result.terminal_reason == "aborted_tools"
        assert text_of(await worker.turn(spoken.prompt({"text": "next"}), allowed_tools=["Bash"])) == "next"
        assert (attempt.rungs(), worker.process_ids()) == (["INTERRUPT"], pids)

    conform(main)


async def tool_runs(worker: SessionWorker) -> None:
    """Waits until the CLI has a child that sleeps."""
    (pid,) = worker.process_ids()

    def has_child() -> bool:
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if int(stat[1]) == pid and b"sleep" in words:
                return True
        return False

    await worker.until(has_child)


def test_x4_resume_in_another_process(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        usage = {"input_tokens": 100, "output_tokens": 10}
        first = await worker.turn(spoken.prompt({"text": "one", "usage": usage}), idle_seconds=0)
        assert worker.process_ids() == []
        attempt = worker.attempt(spoken.prompt({"text": "two", "usage": usage}))
        second = await worker.run(attempt)
        assert (text_of(first), text_of(second)) == ("one", "two")
        assert told(attempt) == ["init", "assistant", "turn_result"]
        assert isinstance(first, Succeeded)
        assert isinstance(second, Succeeded)
        assert first.result.claude.claude_session_id == second.result.claude.claude_session_id
        assert first.usage.cost_usd_micros == second.usage.cost_usd_micros
        assert len(worker.messages()) == 2

    conform(main)


def test_x4_fork(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        await worker.turn(spoken.prompt({"text": "one"}))
        fork = (SESSION, worker.claude_session_ids[SESSION])
        assert text_of(await worker.turn(spoken.prompt({"text": "two"}), OTHER, fork=fork)) == "two"
        assert (len(worker.messages()), len(worker.messages(OTHER))) == (1, 2)
        assert worker.claude_session_ids[OTHER] != worker.claude_session_ids[SESSION]

    conform(main)


def test_r6_a_repeated_message_is_not_said_twice(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        prompt = spoken.failing(529)
        attempt = worker.attempt(prompt, job_id="job")
        assert class_of(await worker.run(attempt)) == "OVERLOADED"
        second = worker.attempt(prompt, job_id="job", attempt=2)
        await worker.run(second)
        assert worker.messages() == [prompt, GO_ON]

    conform(main)


def test_turn_limit(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        glob = {"tools": [{"name": "Glob", "input": {"pattern": "*"}}]}
        limits = task_pb2.ClaudeLimits(max_turns=1)
        attempt = worker.attempt(spoken.prompt(glob, glob, {"text": "x"}), limits=limits)
        outcome = await worker.run(attempt)
        assert (class_of(outcome), sign_of(outcome)) == ("TURN_LIMIT", "result.subtype=error_max_turns")
        assert told(attempt) == ["init", "assistant", "user", "turn_result"]
        assert text_of(await worker.turn(spoken.prompt({"text": "next"}), limits=limits)) == "next"

    conform(main)


def test_x6_budget(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        usage = {"input_tokens": 100, "output_tokens": 10}
        limits = task_pb2.ClaudeLimits(max_cost_usd_micros=500)
        glob = {"tools": [{"name": "Glob", "input": {"pattern": "*"}}], "usage": usage}
        outcome = await worker.turn(spoken.prompt(glob, {"text": "x", "usage": usage}), limits=limits)
        assert (class_of(outcome), sign_of(outcome)) == ("BUDGET", "result.subtype=error_max_budget_usd")
        cheap = {"text": "next", "usage": {"input_tokens": 10, "output_tokens": 1}}
        assert text_of(await worker.turn(spoken.prompt(cheap), limits=limits)) == "next"

    conform(main)


def test_structured_output_and_its_repair(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        described = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        schema = json_format.ParseDict(described, struct_pb2.Struct())
        answer = {"tools": [{"name": "StructuredOutput", "input": {"n": 4}}]}
        if spoken.simulated:
            prompt = spoken.prompt({"fault": "no_structured_output"})
        else:
            prompt = spoken.prompt({"text": "prose"}, {"text": "prose"}, answer, {"text": "done"})
        attempt = worker.attempt(prompt, output_schema=schema)
        outcome = await worker.run(attempt)
        assert isinstance(outcome, Succeeded), outcome
        assert "n" in outcome.result.claude.structured_output
        assert kinds(attempt).count("turn_result") == 2

    conform(main)


def test_a_turn_that_the_cli_begins_by_itself(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        command = "sleep 0.3" if spoken.simulated else "sleep 1; echo over"
        bash = {"name": "Bash", "input": {"command": command, "description": "nap", "run_in_background": True}}
        attempt = worker.attempt(spoken.prompt({"tools": [bash]}, {"text": "started"}), allowed_tools=["Bash"])
        assert text_of(await worker.run(attempt)) == "started"
        await worker.until(lambda: bool(worker.announced))
        own = worker.attempt("", background_number=1, allowed_tools=["Bash"])
        assert isinstance(await worker.run(own), Succeeded)
        assert told(own) == ["init", "assistant", "turn_result"]
        assert "task_notification" in str(own.outputs)
        assert len(worker.messages()) == 1

    conform(main)


def test_an_unknown_conversation(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        worker.claude_session_ids[SESSION] = "11111111-2222-4333-8444-555555555555"
        assert class_of(await worker.turn(spoken.prompt({"text": "x"}), number=2)) == "UNKNOWN_OUTCOME"

    conform(main)
