"""ClaudeTasks end to end: the shipped simulator under a keeper, and fake CLIs for what no simulator would do."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from google.protobuf import json_format, struct_pb2

from headrace.v1 import event_pb2, outcome_pb2, task_pb2
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, Succeeded
from headrace_worker.process import TreesLease
from headrace_worker.workspace import Workspaces

SECONDS = ConversationSeconds(receipt=1.0, interrupt=2.0, close=1.0, terminate=0.5, drain=0.5, settle=0.2, closing=1.0)
SIMULATOR = (sys.executable, "-m", "headrace_worker.simulator")
Run = Callable[..., tuple[Outcome, Any]]

FAKE_CLI = """
import json, os, signal, sys, time
def say(**frame): sys.stdout.write(json.dumps(frame) + "\\n"); sys.stdout.flush()
def hear():
    line = sys.stdin.readline()
    if not line: sys.exit(0)
    return json.loads(line)
def started():
    asked = hear()
    say(type="control_response", response={"subtype": "success", "request_id": asked["request_id"], "response": {}})
    return hear()
def init(): say(type="system", subtype="init", session_id="s-1", model="m-1")
def result(text="fine", **more):
    say(**{"type": "result", "subtype": "success", "is_error": False, "result": text, "session_id": "s-1", **more})
"""


@pytest.fixture
def run(
    tmp_path: Path,
    workspaces: Workspaces,
    lease: TreesLease,
    base_environment: dict[str, str],
    attempt_of: Callable[..., Any],
) -> Run:
    """Runs a task to its end: on the simulator, or on a fake CLI whose body is `script`."""

    def run_task(
        prompt: str = "hello",
        script: str = "",
        meanwhile: Callable[[Any], Any] | None = None,
        resume: str = "",
        seconds: ConversationSeconds = SECONDS,
        **task: Any,
    ) -> tuple[Outcome, Any]:
        program = (sys.executable, "-c", FAKE_CLI + script) if script else SIMULATOR
        command = ClaudeCommand(
            program,
            simulated=not script,
            data_folder=tmp_path / "data",
            environment=base_environment,
            credentials={"ANTHROPIC_API_KEY": "made-up", "HEADRACE_SIMULATOR_PACE": "0"},
        )
        executor = ClaudeExecutor(command, workspaces, lease, lambda: 1_800_000_000.0, seconds)

        async def main() -> tuple[Outcome, Any]:
            attempt = attempt_of(resume=resume, claude=task_pb2.ClaudeTask(prompt=prompt, **task))
            async with asyncio.timeout(40):
                running = asyncio.create_task(executor.run(attempt))
                if meanwhile is not None:
                    await meanwhile(attempt)
                outcome = await running
            temporary = tmp_path / "data" / "tmp"
            assert not temporary.exists() or os.listdir(temporary) == []
            return outcome, attempt

        return uvloop.run(main())

    return run_task


def scripted(*steps: dict[str, Any]) -> str:
    return f"please SIMULATE<<{json.dumps(steps)}>>"


def result_of(outcome: Outcome) -> outcome_pb2.ClaudeResult:
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result.claude


def failure_of(outcome: Outcome) -> tuple[str, str]:
    assert isinstance(outcome, Failed), outcome
    name = outcome_pb2.FailureClass.Name(outcome.failure.failure_class).removeprefix("FAILURE_CLASS_")
    return name, outcome.failure.sign


def kinds(attempt: Any) -> list[str | None]:
    return [frame.WhichOneof("kind") for frame in attempt.frames()]


async def until_kind(attempt: Any, kind: str) -> None:
    await attempt.wait_output(lambda a: kind in kinds(a))


def test_a_turn_from_prompt_to_result(run: Run) -> None:
    outcome, attempt = run(scripted({"text": "the answer"}))
    result = result_of(outcome)
    assert (result.text, result.simulated, result.permission_denials) == ("the answer", True, 0)
    assert isinstance(outcome, Succeeded)
    assert outcome.usage.turns == 1
    assert outcome.usage.cost_usd_micros > 0
    assert (kinds(attempt)[0], kinds(attempt)[-1]) == ("init", "turn_result")
    assert all(frame.simulated for frame in attempt.frames())
    assert attempt.frames()[0].init.claude_session_id == result.claude_session_id
    assert "".join(delta.text for delta in attempt.deltas) == "the answer"
    assert attempt.rungs() == []
    assert not any(output.dirty for output in attempt.outputs)


def test_no_deltas_when_nobody_wants_them(run: Run) -> None:
    _, attempt = run(scripted({"text": "the answer"}), deltas=False)
    assert attempt.deltas == []


def test_x3_permission_is_denied_at_once_and_the_turn_goes_on(run: Run) -> None:
    tool = {"name": "Write", "input": {"file_path": "out.txt", "content": "x"}}
    outcome, attempt = run(scripted({"tools": [tool]}, {"text": "without it, then"}))
    result = result_of(outcome)
    assert (result.text, result.permission_denials) == ("without it, then", 1)
    assert [f.control.tool_name for f in attempt.frames() if f.HasField("control")] == ["Write"]
    answer = next(f.user.blocks[0].tool_result for f in attempt.frames() if f.HasField("user"))
    assert (answer.is_error, "nobody is there to ask" in answer.text) == (True, True)


def test_r6_allowed_tool_runs_and_makes_the_attempt_dirty(run: Run) -> None:
    tool = {"name": "Bash", "input": {"command": "echo hi"}}
    _, attempt = run(scripted({"tools": [tool]}, {"text": "done"}), allowed_tools=["Bash"])
    first_dirty = next(output for output in attempt.outputs if output.dirty)
    assert first_dirty.claude.assistant.blocks[0].tool_use.name == "Bash"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"fault": "api_error", "status": 401, "retry_milliseconds": 60_000}, "AUTH"),
        ({"fault": "api_error", "status": 529, "retries": 0}, "OVERLOADED"),
        ({"fault": "api_error", "status": 429, "retries": 0}, "RATE_LIMITED"),
        ({"fault": "api_error", "kind": "quota", "resets_in_seconds": 3600}, "QUOTA"),
        ({"fault": "api_error", "kind": "billing"}, "BILLING"),
        ({"fault": "api_error", "kind": "network", "retries": 0}, "NETWORK"),
        ({"fault": "api_error", "kind": "no_key"}, "AUTH"),
        ({"fault": "api_error", "kind": "prompt_too_long"}, "CONTEXT"),
        ({"fault": "api_error", "status": 413, "retries": 0}, "CONTEXT"),
        ({"fault": "api_error", "status": 404, "retries": 0}, "INVALID"),
        ({"fault": "exit", "signal": "SIGSEGV"}, "CRASH"),
        ({"fault": "exit", "code": 137}, "CRASH"),
        ({"fault": "exit", "code": 0}, "CRASH"),
    ],
)
def test_failure_classes(run: Run, fault: dict[str, Any], expected: str) -> None:
    begin = time.monotonic()
    assert failure_of(run(scripted(fault))[0])[0] == expected
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize(
    "steps",
    [
        [{"fault": "framing", "crlf": True, "piece_bytes": 1}],
        [{"fault": "blank_lines", "count": 3}, {"fault": "raw", "line": "not json"}],
        [{"fault": "frame"}, {"fault": "frame", "frame": {"type": "hologram"}}],
        [{"fault": "stderr", "bytes": 2_000_000, "line": "noise"}],
        [{"fault": "api_retry", "status": 529, "retries": 1, "retry_milliseconds": 1}],
        [{"fault": "rate_limit"}],
        [{"fault": "grandchild", "seconds": 600, "holds": "stdout", "setsid": True, "clear_environment": True}],
    ],
)
def test_faults_that_change_nothing_about_the_answer(run: Run, steps: list[dict[str, Any]]) -> None:
    outcome, attempt = run(scripted(*steps, {"text": "a\u2028b"}))
    assert result_of(outcome).text == "a\u2028b"
    assert attempt.rungs() == []


def test_e6_giant_frame_is_stored_and_the_answer_found(run: Run) -> None:
    _, attempt = run(scripted({"fault": "giant_line", "bytes": 3_000_000}, {"text": "small"}))
    stored = [frame.stored for frame in attempt.frames() if frame.HasField("stored")]
    assert len(attempt.bytes_of(event_pb2.OUTPUT_STREAM_FRAME)) == sum(frame.size_bytes for frame in stored)
    assert stored[0].size_bytes > 3_000_000


def test_structured_output_is_checked_again(run: Run) -> None:
    schema = struct_pb2.Struct()
    json_format.ParseDict({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, schema)
    good, _ = run(scripted({"structured": {"n": 3}}), output_schema=schema)
    assert json_format.MessageToDict(result_of(good).structured_output) == {"n": 3.0}
    fields = "structured_output={'n': 'three'}"
    bad, _ = run(script=f"started(); init(); result({fields}); hear()", output_schema=schema)
    assert failure_of(bad) == ("SCHEMA", "structured_output")
    missing, _ = run(script="started(); init(); result(); hear()", output_schema=schema)
    assert failure_of(missing) == ("SCHEMA", "structured_output")


def test_a_schema_that_is_none_starts_nothing(run: Run) -> None:
    schema = struct_pb2.Struct()
    json_format.ParseDict({"type": "unheard-of"}, schema)
    outcome, attempt = run(output_schema=schema, script="raise SystemExit(9)")
    assert (failure_of(outcome)[0], attempt.outputs) == ("INVALID", [])


@pytest.mark.parametrize(("limit", "expected"), [("max_turns", "TURN_LIMIT"), ("max_cost_usd_micros", "BUDGET")])
def test_limits_end_the_attempt_and_leave_what_to_go_on_with(run: Run, limit: str, expected: str) -> None:
    step = {"text": "so far", "tools": [{"name": "Glob", "input": {"pattern": "*"}}]}
    outcome, _ = run(scripted(step, step, {"text": "end"}), limits=task_pb2.ClaudeLimits(**{limit: 1}))
    assert failure_of(outcome)[0] == expected
    assert isinstance(outcome, Failed)
    assert outcome.failure.partial_result.claude.claude_session_id
    assert outcome.failure.partial_result.claude.text == "so far"


def test_r6_a_failed_attempt_is_resumed_in_its_folder(run: Run, tmp_path: Path) -> None:
    failed, _ = run(scripted({"text": "first words"}, {"fault": "exit", "signal": "SIGKILL"}))
    assert isinstance(failed, Failed)
    session_id = failed.failure.partial_result.claude.claude_session_id
    folder = tmp_path / "data" / "workspaces" / "job-1"
    assert folder.is_dir()
    (folder / "made-before").write_text("x")
    tool = {"name": "Glob", "input": {"pattern": "*"}}
    outcome, attempt = run(scripted({"tools": [tool]}, {"text": "went on"}), resume=session_id)
    assert (result_of(outcome).text, result_of(outcome).claude_session_id) == ("went on", session_id)
    found = next(f.user.blocks[0].tool_result.text for f in attempt.frames() if f.HasField("user"))
    assert "made-before" in found
    assert not folder.exists()


def test_r6_an_unknown_conversation_is_an_unknown_outcome(run: Run) -> None:
    outcome, _ = run(resume="09eefe67-6db0-483d-bc48-b2dc30e1a6f8")
    assert failure_of(outcome)[0] == "UNKNOWN_OUTCOME"


def test_c1_interrupt_ends_the_turn(run: Run) -> None:
    async def cancel(attempt: Any) -> None:
        await until_kind(attempt, "init")
        attempt.stop()

    outcome, attempt = run(scripted({"fault": "hang", "interruptible": True}), meanwhile=cancel)
    assert isinstance(outcome, Cancelled)
    assert attempt.rungs() == ["INTERRUPT", "CLOSE_INPUT", "TREE_GONE"]
    assert attempt.steps[-1].survivors == 0
    assert attempt.frames()[-1].turn_result.terminal_reason.startswith("aborted_")


def test_c1_every_rung_for_a_cli_that_is_deaf(run: Run) -> None:
    async def cancel(attempt: Any) -> None:
        await until_kind(attempt, "init")
        attempt.stop(grace_seconds=1.0)

    deaf = [{"fault": "ignore", "what": what} for what in ("sigterm", "sigint", "eof", "interrupt")]
    outcome, attempt = run(scripted(*deaf, {"fault": "hang", "at": "stream"}), meanwhile=cancel)
    assert isinstance(outcome, Cancelled)
    assert attempt.rungs() == ["INTERRUPT", "CLOSE_INPUT", "TERMINATE", "KILL", "TREE_GONE"]


def test_a_kill_goes_straight_to_the_last_rung(run: Run) -> None:
    async def kill(attempt: Any) -> None:
        await until_kind(attempt, "init")
        attempt.room.clear()
        attempt.stop(kill=True)

    outcome, attempt = run(scripted({"fault": "hang", "at": "stream"}), meanwhile=kill)
    assert isinstance(outcome, Cancelled)
    assert attempt.rungs() == ["KILL", "TREE_GONE"]


def test_a_kill_during_the_ladder_cuts_it_short(run: Run) -> None:
    async def cancel_then_kill(attempt: Any) -> None:
        await until_kind(attempt, "init")
        attempt.stop(grace_seconds=300)
        await attempt.stepped.wait()
        attempt.stop(kill=True)

    outcome, attempt = run(scripted({"fault": "hang", "at": "stream"}), meanwhile=cancel_then_kill)
    assert isinstance(outcome, Cancelled)
    assert attempt.rungs() == ["INTERRUPT", "KILL", "TREE_GONE"]


def test_c2_a_result_that_came_before_the_stop_stands(run: Run) -> None:
    async def stop(attempt: Any) -> None:
        await until_kind(attempt, "turn_result")
        attempt.stop(grace_seconds=0.3)

    script = "signal.signal(15, signal.SIG_IGN)\nstarted(); init(); result('in time')\nwhile True: time.sleep(600)"
    outcome, _ = run(script=script, meanwhile=stop)
    assert result_of(outcome).text == "in time"


def test_a_cli_that_does_not_exit_is_ended_and_its_result_kept(run: Run) -> None:
    outcome, attempt = run(scripted({"text": "done"}, {"fault": "hang", "at": "result"}))
    assert result_of(outcome).text == "done"
    assert attempt.rungs() == []


@pytest.mark.parametrize(
    ("phase", "steps"),
    [
        ("first_token", [{"fault": "hang"}]),
        ("streaming", [{"text": "x" * 200, "hang_after_deltas": 2}]),
        ("tool", [{"tools": [{"name": "Bash", "input": {"command": "sleep 600"}}]}]),
    ],
)
def test_stall_in_each_phase_ends_with_evidence(run: Run, phase: str, steps: list[dict[str, Any]]) -> None:
    long = {"start": 30.0, "first_token": 30.0, "streaming": 30.0, "tool": 30.0, "after_tool": 30.0}
    seconds = ConversationSeconds(
        **{**long, phase: 0.5}, receipt=0.3, interrupt=0.5, close=0.3, terminate=0.3, drain=0.3
    )
    outcome, attempt = run(scripted(*steps), seconds=seconds, allowed_tools=["Bash"])
    assert failure_of(outcome) == ("STALL", f"watchdog={phase}")
    assert attempt.rungs() == []


def test_stall_at_the_start(run: Run) -> None:
    seconds = ConversationSeconds(start=0.5, close=0.3, terminate=0.3, drain=0.3)
    outcome, _ = run(script="time.sleep(600)", seconds=seconds)
    assert failure_of(outcome) == ("STALL", "watchdog=start")


def test_signs_of_life_keep_a_long_tool_going(run: Run) -> None:
    script = """
started(); init()
say(type="assistant", message={"id": "m", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]})
for _ in range(8):
    time.sleep(0.2); say(type="tool_progress", tool_use_id="t", tool_name="Bash", elapsed_time_seconds=1)
result("finished"); hear()
"""
    seconds = ConversationSeconds(tool=0.8, closing=1.0, terminate=0.3, drain=0.3)
    assert result_of(run(script=script, seconds=seconds)[0]).text == "finished"


def test_a_background_task_is_waited_for_and_its_turn_heard(run: Run) -> None:
    script = """
started(); init()
say(type="system", subtype="background_tasks_changed", tasks=[{"task_id": "b"}])
result("started")
time.sleep(0.3)
say(type="system", subtype="background_tasks_changed", tasks=[])
init(); result("saw it end"); hear()
"""
    outcome, attempt = run(script=script)
    assert result_of(outcome).text == "saw it end"
    assert kinds(attempt).count("turn_result") == 2


def test_unknown_requests_of_the_cli_get_an_error_and_withdrawn_ones_nothing(run: Run) -> None:
    script = """
started(); init()
say(type="control_request", request_id="r1", request={"subtype": "hook_callback"})
answer = hear()["response"]
assert (answer["subtype"], answer["request_id"]) == ("error", "r1"), answer
say(type="control_cancel_request", request_id="r1")
say(type="control_response", response={"subtype": "success", "request_id": "never-asked"})
result(); hear()
"""
    outcome, attempt = run(script=script)
    assert result_of(outcome).text == "fine"
    assert [f.control.subtype for f in attempt.frames() if f.HasField("control")] == [
        "hook_callback",
        "control_cancel_request",
    ]


def test_permission_is_answered_while_the_outbox_is_full(run: Run, tmp_path: Path, processes: Any) -> None:
    answered = tmp_path / "answered"
    script = f"""
started(); init()
for n in range(300): say(type="user", message={{"content": "x" * 60_000}})
say(type="control_request", request_id="r1", request={{"subtype": "can_use_tool", "tool_name": "Bash", "input": {{}}}})
open({str(answered)!r}, "w").write(hear()["response"]["response"]["behavior"] + "\\n")
result(); hear()
"""

    async def full(attempt: Any) -> None:
        attempt.room.clear()
        assert await processes.until_file(answered) == "deny"
        attempt.room.set()

    outcome, attempt = run(script=script, meanwhile=full)
    assert result_of(outcome).text == "fine"
    assert kinds(attempt) == ["init", *["user"] * 300, "control", "turn_result"]


def test_a_bad_flag_is_invalid(run: Run) -> None:
    outcome, _ = run(script="sys.stderr.write(\"error: unknown option '--x'\\n\"); sys.exit(1)")
    assert failure_of(outcome) == ("INVALID", "exit_code=1 without a frame")
    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "error: unknown option '--x'"


def test_refused_initialize_is_a_failure(run: Run) -> None:
    script = (
        "asked = hear()\n"
        "say(type='control_response',"
        " response={'subtype': 'error', 'request_id': asked['request_id'], 'error': 'no'})\nhear()"
    )
    assert failure_of(run(script=script)[0]) == ("ERROR", "initialize")


def test_a_cli_that_closes_its_streams_and_stays_is_not_waited_for_for_ever(run: Run) -> None:
    seconds = ConversationSeconds(start=0.5, close=0.3, terminate=0.3, drain=0.3)
    outcome, _ = run(script="os.close(0); os.close(1); os.close(2); time.sleep(600)", seconds=seconds)
    assert failure_of(outcome)[0] == "STALL"


def test_a_missing_cli_is_invalid(
    tmp_path: Path, workspaces: Workspaces, lease: TreesLease, attempt_of: Callable[..., Any]
) -> None:
    async def main() -> Outcome:
        command = ClaudeCommand(("/no/claude",), simulated=False, data_folder=tmp_path / "data", environment={})
        executor = ClaudeExecutor(command, workspaces, lease, lambda: 0.0)
        return await executor.run(attempt_of(claude=task_pb2.ClaudeTask(prompt="x")))

    assert failure_of(asyncio.run(main())) == ("INVALID", "spawn")


def test_x8_two_jobs_share_no_folder(run: Run, tmp_path: Path) -> None:
    script = (
        "started(); init(); result(os.environ['CLAUDE_CONFIG_DIR'] + ' ' + os.environ['TMPDIR'] + ' ' + os.getcwd()); "
        "hear()"
    )
    config, temporary, folder = result_of(run(script=script)[0]).text.split()
    assert config == str(tmp_path / "data" / "claude" / "job-1" / "config")
    assert temporary.startswith(str(tmp_path / "data" / "tmp" / "1-"))
    assert folder == str(tmp_path / "data" / "workspaces" / "job-1")
