"""The turns of the simulated CLI have the order and the shape that the real one's were recorded with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_server.process import ClaudeProcess, kind, kinds

Start = Callable[..., ClaudeProcess]
Json = dict[str, Any]
MESSAGE = "22222222-2222-4222-8222-222222222222"

RESULT_KEYS = {
    *("type", "subtype", "is_error", "duration_ms", "duration_api_ms", "num_turns", "session_id", "total_cost_usd"),
    *("usage", "modelUsage", "model_usage_since_last_result", "permission_denials", "terminal_reason", "uuid"),
    *("stop_reason", "result_index", "queued_turn_count"),
}


def script(*steps: Json) -> str:
    return f"SIMULATE<<{json.dumps(steps)}>>"


def tool(name: str, **arguments: Any) -> Json:
    return {"tools": [{"name": name, "input": arguments}]}


def turn(process: ClaudeProcess, *steps: Json) -> list[Json]:
    process.say(script(*steps))
    return process.until_result()


def test_a_text_turn_is_init_answer_result(simulator: Start) -> None:
    process = simulator()
    init, answer, result = turn(process, {"text": "hello"})
    assert kinds([init, answer, result]) == ["system/init", "assistant/text", "result/success"]
    assert init["claude_code_version"] == "simulated-1"
    assert {"cwd", "session_id", "tools", "model", "permissionMode", "mcp_servers", "uuid"} <= set(init)
    assert {"message", "parent_tool_use_id", "session_id", "uuid", "timestamp", "request_id"} <= set(answer)
    assert {"id", "role", "model", "content", "stop_reason", "usage"} <= set(answer["message"])
    assert set(result) >= RESULT_KEYS | {"result", "api_error_status"}
    assert (result["result"], result["is_error"], result["num_turns"]) == ("hello", False, 1)
    assert process.finish() == []


def test_partial_messages_wrap_each_block_and_its_assistant_frame(simulator: Start) -> None:
    process = simulator("--include-partial-messages")
    step = {"thinking": "hm", "text": "one two", "delta_characters": 4, **tool("Glob", pattern="**/*")}
    frames = turn(process, step, {"text": "end"})
    first = frames[1 : kinds(frames).index("message_stop") + 1]
    assert kinds(first) == [
        *("system/status", "message_start"),
        *("content_block_start", "content_block_delta", "content_block_delta"),
        *("assistant/thinking", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta"),
        *("assistant/text", "content_block_stop"),
        "content_block_start",
        *["content_block_delta"] * 6,
        *("assistant/tool_use", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    deltas = [frame["event"].get("delta", {}) for frame in first if frame["type"] == "stream_event"]
    assert "".join(delta.get("text", "") for delta in deltas) == "one two"
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == {"pattern": "**/*"}
    ids = {frame["message"]["id"] for frame in first if frame["type"] == "assistant"}
    assert ids == {frame["api_message_id"] for frame in first if frame["type"] == "stream_event"}


def test_initialize_is_answered_before_any_message(simulator: Start) -> None:
    process = simulator()
    process.request("initialize", hooks=None)
    (answer,) = process.until(lambda frame: True)
    assert (answer["type"], answer["response"]["request_id"]) == ("control_response", "initialize")
    assert answer["response"]["response"]["pid"] == process.pid


def test_an_unknown_control_request_is_answered_with_an_error(simulator: Start) -> None:
    process = simulator()
    process.request("make_coffee")
    (answer,) = process.until(lambda frame: True)
    assert answer["response"]["subtype"] == "error"
    assert answer["response"]["error"] == "Unsupported control request subtype: make_coffee"


def test_each_turn_of_a_process_has_its_own_init_and_the_cost_runs_on(simulator: Start) -> None:
    process = simulator()
    first, second = turn(process, {"text": "one"}), turn(process, {"text": "two"})
    assert kinds(second) == ["system/init", "assistant/text", "result/success"]
    spent = [frames[-1]["total_cost_usd"] for frames in (first, second)]
    difference = sum(usage["costUSD"] for usage in second[-1]["model_usage_since_last_result"].values())
    assert 0 < spent[0] < spent[1]
    assert spent[1] - spent[0] == pytest.approx(difference)
    assert [frames[-1]["result_index"] for frames in (first, second)] == [0, 1]


def test_a_message_during_a_turn_waits_and_its_result_names_it(simulator: Start) -> None:
    process = simulator()
    process.say(script({"fault": "delay", "milliseconds": 200}, {"text": "slow"}))
    process.until_kind("system/init")
    process.say(script({"text": "queued"}), MESSAGE)
    frames = [*process.until_result(), *process.until_result(), *process.finish()]
    assert [frame["result"] for frame in frames if frame["type"] == "result"] == ["slow", "queued"]
    states = [(frame["state"], frame["command_uuid"]) for frame in frames if frame["type"] == "command_lifecycle"]
    assert states == [("queued", MESSAGE), ("started", MESSAGE), ("completed", MESSAGE)]
    named = [frame.get("user_message_uuid") for frame in frames if frame["type"] == "result"]
    assert named == [None, MESSAGE]


def test_a_host_is_asked_and_may_change_the_input(simulator: Start, tmp_path: Path) -> None:
    process = simulator("--permission-prompt-tool", "stdio")
    process.say(script(tool("Write", file_path="a.txt", content="x"), {"text": "end"}))
    question = process.until_kind("control_request/can_use_tool")[-1]
    keys = {"subtype", "tool_name", "display_name", "input", "description", "permission_suggestions", "tool_use_id"}
    assert set(question["request"]) == keys
    process.answer(question, {"behavior": "allow", "updatedInput": {"file_path": "a.txt", "content": "changed"}})
    frames = process.until_result()
    assert kinds(frames) == ["user/tool_result", "assistant/text", "result/success"]
    assert (tmp_path / "work" / "a.txt").read_text() == "changed"


def test_a_denied_tool_is_reported_to_the_model_and_in_the_result(simulator: Start, tmp_path: Path) -> None:
    process = simulator("--permission-prompt-tool", "stdio")
    process.say(script(tool("Write", file_path="a.txt", content="x"), {"text": "end"}))
    question = process.until_kind("control_request/can_use_tool")[-1]
    process.answer(question, {"behavior": "deny", "message": "not this one"})
    frames = process.until_result()
    block = frames[0]["message"]["content"][0]
    assert (block["content"], block["is_error"]) == ("not this one", True)
    assert [denial["tool_name"] for denial in frames[-1]["permission_denials"]] == ["Write"]
    assert not (tmp_path / "work" / "a.txt").exists()


def test_a_denial_with_interrupt_ends_the_turn(simulator: Start) -> None:
    process = simulator("--permission-prompt-tool", "stdio")
    process.say(script(tool("Write", file_path="a.txt", content="x"), {"text": "never"}))
    question = process.until_kind("control_request/can_use_tool")[-1]
    process.answer(question, {"behavior": "deny", "message": "stop", "interrupt": True})
    frames = process.until_result()
    assert kinds(frames) == ["user/tool_result", "user/text", "result/error_during_execution"]
    assert (frames[-1]["terminal_reason"], frames[-1]["num_turns"]) == ("aborted_tools", 3)


def test_without_a_host_to_ask_the_tool_is_denied_and_the_turn_goes_on(simulator: Start) -> None:
    process = simulator()
    frames = turn(process, tool("Write", file_path="a.txt", content="x"), {"text": "end"})
    assert kinds(frames) == [
        *("system/init", "assistant/tool_use", "system/permission_denied"),
        *("user/tool_result", "assistant/text", "result/success"),
    ]
    assert len(frames[-1]["permission_denials"]) == 1


@pytest.mark.parametrize("flags", [("--allowedTools", "Write"), ("--permission-mode", "acceptEdits")])
def test_a_rule_or_a_mode_allows_without_a_question(simulator: Start, flags: tuple[str, ...], tmp_path: Path) -> None:
    process = simulator("--permission-prompt-tool", "stdio", *flags)
    frames = turn(process, tool("Write", file_path="a.txt", content="x"), {"text": "end"})
    assert "control_request/can_use_tool" not in kinds(frames)
    assert (tmp_path / "work" / "a.txt").read_text() == "x"


def test_a_question_of_the_model_comes_to_the_host_and_takes_its_answer_back(simulator: Start) -> None:
    process = simulator("--permission-prompt-tool", "stdio")
    asked = {"questions": [{"question": "Which?", "header": "H", "options": [{"label": "A"}, {"label": "B"}]}]}
    process.say(script(tool("AskUserQuestion", **asked), {"text": "end"}))
    question = process.until_kind("control_request/can_use_tool")[-1]
    assert question["request"]["requires_user_interaction"] is True
    process.answer(question, {"behavior": "allow", "updatedInput": {**asked, "answers": {"Which?": "A"}}})
    assert '"Which?"="A"' in process.until_result()[0]["message"]["content"][0]["content"]


def test_an_interrupt_of_a_question_takes_it_back_first(simulator: Start) -> None:
    process = simulator("--permission-prompt-tool", "stdio")
    process.say(script(tool("Write", file_path="a.txt", content="x")))
    question = process.until_kind("control_request/can_use_tool")[-1]
    process.request("interrupt")
    frames = process.until_result()
    assert kinds(frames) == [
        *("control_cancel_request", "control_response"),
        *("user/tool_result", "user/text", "result/error_during_execution"),
    ]
    assert frames[0]["request_id"] == question["request_id"]


def test_the_end_of_input_denies_an_open_question_and_the_turn_ends_well(simulator: Start) -> None:
    process = simulator("--permission-prompt-tool", "stdio")
    process.say(script(tool("Write", file_path="a.txt", content="x"), {"text": "end"}))
    process.until_kind("control_request/can_use_tool")
    frames = process.finish()
    assert "stream closed" in frames[0]["message"]["content"][0]["content"]
    assert frames[-1]["subtype"] == "success"


def test_an_interrupt_of_a_text_leaves_what_was_said(simulator: Start) -> None:
    process = simulator("--include-partial-messages")
    process.say(script({"text": "one two three", "delta_characters": 4, "delta_milliseconds": 300}))
    process.until_kind("content_block_delta")
    process.request("interrupt")
    frames = process.until_result()
    frames = frames[kinds(frames).index("control_response") :]
    assert kinds(frames) == [
        *("control_response", "assistant/text", "user/text", "content_block_stop", "message_delta", "message_stop"),
        "result/error_during_execution",
    ]
    assert frames[0]["response"]["response"] == {"still_queued": []}
    assert frames[1]["aborted"] is True
    assert "one two three".startswith(frames[1]["message"]["content"][0]["text"])
    assert frames[2]["message"]["content"][0]["text"] == "[Request interrupted by user]"
    assert frames[-1]["terminal_reason"] == "aborted_streaming"
    assert turn(process, {"text": "after"})[-1]["result"] == "after"


def test_an_interrupt_of_a_running_tool_ends_its_process(simulator: Start) -> None:
    process = simulator()
    process.say(script(tool("Bash", command="sleep 1000"), {"text": "never"}))
    process.until_kind("assistant/tool_use")
    process.request("interrupt")
    frames = process.until_result()
    assert kinds(frames) == ["control_response", "user/tool_result", "user/text", "result/error_during_execution"]
    assert frames[-1]["terminal_reason"] == "aborted_tools"
    assert frames[-1]["is_error"] is True
    assert process.finish() == []


def test_an_interrupt_between_turns_is_only_acknowledged(simulator: Start) -> None:
    process = simulator()
    turn(process, {"text": "one"})
    process.request("interrupt")
    assert kind(process.until(lambda frame: True)[0]) == "control_response"
    assert turn(process, {"text": "two"})[-1]["result"] == "two"


def test_too_many_turns_are_an_error(simulator: Start) -> None:
    process = simulator("--max-turns", "1")
    result = turn(process, tool("Bash", command="echo 1"), {"text": "never"})[-1]
    assert (result["subtype"], result["terminal_reason"]) == ("error_max_turns", "max_turns")
    assert (result["num_turns"], result["errors"]) == (2, ["Reached maximum number of turns (1)"])
    process.close_input()
    assert process.end() == 1


def test_a_spent_budget_stops_before_the_tool_runs(simulator: Start) -> None:
    process = simulator("--max-budget-usd", "0.01")
    step = {**tool("Bash", command="echo 1"), "usage": {"input_tokens": 500_000}}
    frames = turn(process, step, {"text": "never"})
    assert kinds(frames) == ["system/init", "assistant/tool_use", "result/error_max_budget_usd"]
    assert frames[-1]["terminal_reason"] == "budget_exhausted"
    assert frames[-1]["total_cost_usd"] > 2


def test_a_schema_gets_an_answer_that_fits(simulator: Start) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    process = simulator("--json-schema", json.dumps(schema))
    frames = turn(process, {"text": "thinking aloud"})
    assert kinds(frames)[-3:] == ["assistant/tool_use", "user/tool_result", "result/success"]
    assert (frames[-1]["structured_output"], frames[-1]["result"]) == ({"n": 3}, '{"n":3}')
    wrong = turn(process, {"structured": {"n": "three"}}, {"structured": {"n": 4}})
    assert wrong[2]["message"]["content"][0]["content"] == "Output does not match required schema: /n: must be integer"
    assert wrong[-1]["structured_output"] == {"n": 4}


def test_a_schema_that_is_never_answered_is_a_success_without_the_output(simulator: Start) -> None:
    process = simulator("--json-schema", '{"type": "object"}')
    result = turn(process, {"fault": "no_structured_output"})[-1]
    assert (result["subtype"], result["is_error"], "structured_output" in result) == ("success", False, False)


def test_the_transcript_can_be_resumed_and_carries_the_cost(simulator: Start, tmp_path: Path) -> None:
    first = simulator()
    before = turn(first, {"text": "one"})[-1]
    first.finish()
    session = before["session_id"]
    folder = str(tmp_path / "work").replace("/", "-").replace("_", "-").replace(".", "-")
    assert (tmp_path / "config" / "projects" / folder / f"{session}.jsonl").is_file()
    second = simulator(f"--resume={session}")
    after = turn(second, {"text": "two"})[-1]
    assert after["session_id"] == session
    new = sum(usage["costUSD"] for usage in after["model_usage_since_last_result"].values())
    assert after["total_cost_usd"] == pytest.approx(before["total_cost_usd"] + new)


def test_a_fork_has_an_id_of_its_own_and_leaves_the_original_alone(simulator: Start, tmp_path: Path) -> None:
    first = simulator()
    session = turn(first, {"text": "one"})[-1]["session_id"]
    first.finish()
    (file,) = (tmp_path / "config" / "projects").rglob("*.jsonl")
    original = file.read_bytes()
    fork = simulator(f"--resume={session}", "--fork-session")
    assert turn(fork, {"text": "two"})[-1]["session_id"] != session
    assert file.read_bytes() == original


def test_a_background_command_starts_a_turn_nobody_asked_for(simulator: Start) -> None:
    process = simulator()
    process.say(script(tool("Bash", command="sleep 0.2", run_in_background=True), {"text": "started"}), MESSAGE)
    first = process.until_result()
    assert first[-1]["user_message_uuid"] == MESSAGE
    second = process.until_result()
    assert kinds(second) == [
        *("command_lifecycle", "system/task_notification", "system/background_tasks_changed"),
        *("system/init", "assistant/text", "result/success"),
    ]
    assert "user_message_uuid" not in second[-1]


def test_the_same_seed_and_session_say_the_same(simulator: Start, tmp_path: Path) -> None:
    said = []
    for run in ("a", "b"):
        environment = {"HEADRACE_SIMULATOR_SEED": "7", "CLAUDE_CONFIG_DIR": str(tmp_path / run)}
        process = simulator(f"--session-id={MESSAGE}", **environment)
        process.say("look around")
        frames = process.until_result()
        said.append([(frame.get("uuid"), frame.get("message", {}).get("content")) for frame in frames])
    assert said[0] == said[1]


def test_a_prompt_without_a_script_is_answered_with_what_is_in_the_folder(simulator: Start, tmp_path: Path) -> None:
    (tmp_path / "work" / "README.md").write_text("# Title\n\n## Part\n")
    (tmp_path / "work" / "main.py").write_text("print(1)\n")
    process = simulator()
    process.say("What is here?")
    frames = process.until_result()
    tools = [
        block["name"]
        for frame in frames
        if frame["type"] == "assistant"
        for block in frame["message"]["content"]
        if block["type"] == "tool_use"
    ]
    assert tools == ["Glob", "Read", "Read"]
    answer = frames[-1]["result"]
    assert all(part in answer for part in ("simulated", "2 files", "README.md", "main.py", "Title; Part"))


def test_tools_do_not_leave_the_folder(simulator: Start, tmp_path: Path) -> None:
    process = simulator("--allowedTools", "Write")
    frames = turn(process, tool("Write", file_path="../out.txt", content="x"), {"text": "end"})
    assert frames[2]["message"]["content"][0]["is_error"] is True
    assert not (tmp_path / "out.txt").exists()


def test_a_script_that_cannot_be_read_is_an_error_that_says_so(simulator: Start) -> None:
    process = simulator()
    process.say("SIMULATE<<[{]>>")
    result = process.until_result()[-1]
    assert (result["subtype"], result["is_error"]) == ("error_during_execution", True)
    assert "not JSON" in result["errors"][0]
