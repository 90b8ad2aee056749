"""ClaudeTasks end to end: the shipped simulator under a keeper, and fake CLIs for what no simulator would do."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from headrace.v1 import event_pb2, task_pb2
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.contract import Failed, Outcome, Succeeded
from headrace_worker.trees import Trees
from headrace_worker.workspace import Workspaces
from worker.claude_outcomes import failure_of, result_of
from worker.session_running import kinds, scripted

Run = Callable[..., tuple[Outcome, Any]]


def test_a_turn_from_prompt_to_result(run_claude: Run) -> None:
    outcome, attempt = run_claude(scripted({"text": "the answer"}))
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


def test_no_deltas_when_nobody_wants_them(run_claude: Run) -> None:
    _, attempt = run_claude(scripted({"text": "the answer"}), deltas=False)
    assert attempt.deltas == []


def test_x3_permission_is_denied_at_once_and_the_turn_goes_on(run_claude: Run) -> None:
    tool = {"name": "Write", "input": {"file_path": "out.txt", "content": "x"}}
    outcome, attempt = run_claude(scripted({"tools": [tool]}, {"text": "without it, then"}))
    result = result_of(outcome)
    assert (result.text, result.permission_denials) == ("without it, then", 1)
    assert [f.control.tool_name for f in attempt.frames() if f.HasField("control")] == ["Write"]
    answer = next(f.user.blocks[0].tool_result for f in attempt.frames() if f.HasField("user"))
    assert (answer.is_error, "nobody is there to ask" in answer.text) == (True, True)


def test_r6_allowed_tool_runs_and_makes_the_attempt_dirty(run_claude: Run) -> None:
    tool = {"name": "Bash", "input": {"command": "echo hi"}}
    _, attempt = run_claude(scripted({"tools": [tool]}, {"text": "done"}), allowed_tools=["Bash"])
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
def test_failure_classes(run_claude: Run, fault: dict[str, Any], expected: str) -> None:
    begin = time.monotonic()
    assert failure_of(run_claude(scripted(fault))[0])[0] == expected
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
def test_faults_that_change_nothing_about_the_answer(run_claude: Run, steps: list[dict[str, Any]]) -> None:
    outcome, attempt = run_claude(scripted(*steps, {"text": "a\u2028b"}))
    assert result_of(outcome).text == "a\u2028b"
    assert attempt.rungs() == []


def test_e6_giant_frame_is_stored_and_the_answer_found(run_claude: Run) -> None:
    _, attempt = run_claude(scripted({"fault": "giant_line", "bytes": 3_000_000}, {"text": "small"}))
    stored = [frame.stored for frame in attempt.frames() if frame.HasField("stored")]
    assert len(attempt.bytes_of(event_pb2.OUTPUT_STREAM_FRAME)) == sum(frame.size_bytes for frame in stored)
    assert stored[0].size_bytes > 3_000_000


def test_structured_output_is_checked_again(run_claude: Run) -> None:
    schema = struct_pb2.Struct()
    json_format.ParseDict({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, schema)
    good, _ = run_claude(scripted({"structured": {"n": 3}}), output_schema=schema)
    assert json_format.MessageToDict(result_of(good).structured_output) == {"n": 3.0}
    fields = "structured_output={'n': 'three'}"
    bad, _ = run_claude(script=f"started(); init(); result({fields}); hear()", output_schema=schema)
    assert failure_of(bad) == ("SCHEMA", "structured_output")
    missing, _ = run_claude(script="started(); init(); result(); hear()", output_schema=schema)
    assert failure_of(missing) == ("SCHEMA", "structured_output")


def test_a_schema_that_is_none_starts_nothing(run_claude: Run) -> None:
    schema = struct_pb2.Struct()
    json_format.ParseDict({"type": "unheard-of"}, schema)
    outcome, attempt = run_claude(output_schema=schema, script="raise SystemExit(9)")
    assert (failure_of(outcome)[0], attempt.outputs) == ("INVALID", [])


@pytest.mark.parametrize(("limit", "expected"), [("max_turns", "TURN_LIMIT"), ("max_cost_usd_micros", "BUDGET")])
def test_limits_end_the_attempt_and_leave_what_to_go_on_with(run_claude: Run, limit: str, expected: str) -> None:
    step = {"text": "so far", "tools": [{"name": "Glob", "input": {"pattern": "*"}}]}
    outcome, _ = run_claude(scripted(step, step, {"text": "end"}), limits=task_pb2.ClaudeLimits(**{limit: 1}))
    assert failure_of(outcome)[0] == expected
    assert isinstance(outcome, Failed)
    assert outcome.failure.partial_result.claude.claude_session_id
    assert outcome.failure.partial_result.claude.text == "so far"


def test_r6_a_failed_attempt_is_resumed_in_its_folder(run_claude: Run, tmp_path: Path) -> None:
    failed, _ = run_claude(scripted({"text": "first words"}, {"fault": "exit", "signal": "SIGKILL"}))
    assert isinstance(failed, Failed)
    session_id = failed.failure.partial_result.claude.claude_session_id
    folder = tmp_path / "data" / "workspaces" / "job-1"
    assert folder.is_dir()
    (folder / "made-before").write_text("x")
    tool = {"name": "Glob", "input": {"pattern": "*"}}
    outcome, attempt = run_claude(scripted({"tools": [tool]}, {"text": "went on"}), resume=session_id)
    assert (result_of(outcome).text, result_of(outcome).claude_session_id) == ("went on", session_id)
    found = next(f.user.blocks[0].tool_result.text for f in attempt.frames() if f.HasField("user"))
    assert "made-before" in found
    assert not folder.exists()


def test_r6_a_resumed_conversation_is_told_that_it_was_cut_off(run_claude: Run) -> None:
    script = "prompt = started()['message']['content']; init(); result(prompt); hear()"
    told = result_of(run_claude("do it", script, resume="s-1")[0]).text
    assert told.startswith("This conversation was cut off before you had finished")
    assert told.endswith("The request was:\n\ndo it")
    assert result_of(run_claude("do it", script)[0]).text == "do it"


def test_r6_an_unknown_conversation_is_an_unknown_outcome(run_claude: Run) -> None:
    outcome, _ = run_claude(resume="09eefe67-6db0-483d-bc48-b2dc30e1a6f8")
    assert failure_of(outcome)[0] == "UNKNOWN_OUTCOME"


def test_unknown_requests_of_the_cli_get_an_error_and_withdrawn_ones_nothing(run_claude: Run) -> None:
    script = """
started(); init()
say(type="control_request", request_id="r1", request={"subtype": "hook_callback"})
answer = hear()["response"]
assert (answer["subtype"], answer["request_id"]) == ("error", "r1"), answer
say(type="control_cancel_request", request_id="r1")
say(type="control_response", response={"subtype": "success", "request_id": "never-asked"})
result(); hear()
"""
    outcome, attempt = run_claude(script=script)
    assert result_of(outcome).text == "fine"
    assert [f.control.subtype for f in attempt.frames() if f.HasField("control")] == [
        "hook_callback",
        "control_cancel_request",
    ]


def test_permission_is_answered_while_the_outbox_is_full(run_claude: Run, tmp_path: Path, processes: Any) -> None:
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

    outcome, attempt = run_claude(script=script, meanwhile=full)
    assert result_of(outcome).text == "fine"
    assert kinds(attempt) == ["init", *["user"] * 300, "control", "turn_result"]


def test_a_bad_flag_is_invalid(run_claude: Run) -> None:
    outcome, _ = run_claude(script="sys.stderr.write(\"error: unknown option '--x'\\n\"); sys.exit(1)")
    assert failure_of(outcome) == ("INVALID", "exit_code=1 without a frame")
    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "error: unknown option '--x'"


def test_refused_initialize_is_a_failure(run_claude: Run) -> None:
    script = (
        "asked = hear()\n"
        "say(type='control_response',"
        " response={'subtype': 'error', 'request_id': asked['request_id'], 'error': 'no'})\nhear()"
    )
    assert failure_of(run_claude(script=script)[0]) == ("ERROR", "initialize")


def test_a_missing_cli_is_invalid(
    tmp_path: Path, workspaces: Workspaces, lease: Trees, attempt_of: Callable[..., Any]
) -> None:
    async def main() -> Outcome:
        command = ClaudeCommand(("/no/claude",), simulated=False, data_folder=tmp_path / "data", environment={})
        executor = ClaudeExecutor(command, workspaces, lease, lambda: 0.0)
        return await executor.run(attempt_of(claude=task_pb2.ClaudeTask(prompt="x")))

    assert failure_of(asyncio.run(main())) == ("INVALID", "spawn")


def test_x8_two_jobs_share_no_folder(run_claude: Run, tmp_path: Path) -> None:
    script = (
        "started(); init(); result(os.environ['CLAUDE_CONFIG_DIR'] + ' ' + os.environ['TMPDIR'] + ' ' + os.getcwd()); "
        "hear()"
    )
    config, temporary, folder = result_of(run_claude(script=script)[0]).text.split()
    assert config == str(tmp_path / "data" / "claude" / "job-1" / "config")
    assert temporary.startswith(str(tmp_path / "data" / "tmp" / "1-"))
    assert folder == str(tmp_path / "data" / "workspaces" / "job-1")
