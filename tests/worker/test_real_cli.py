"""The real Claude CLI against the scripted model server: the facts that the driver and the simulator stand on."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from model_server.process import STREAM_FLAGS, ClaudeProcess, kinds
from model_server.server import ScriptedModelServer

Json = dict[str, Any]
Start = Callable[..., ClaudeProcess]
MESSAGE = "33333333-3333-4333-8333-333333333333"
READ = {"name": "Read", "input": {"file_path": "a.txt"}}


@pytest.fixture
def start(real_cli: Path, model_server: ScriptedModelServer, tmp_path: Path) -> Iterator[Start]:
    """Starts the CLI with an environment of its own that knows no way out of this machine."""
    for name in ("home", "config", "scratch", "work"):
        (tmp_path / name).mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "config"),
        "TMPDIR": str(tmp_path / "scratch"),
        "ANTHROPIC_BASE_URL": model_server.url,
        "ANTHROPIC_API_KEY": "sk-made-up",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
    }
    with ExitStack() as stack:

        def run(*flags: str) -> ClaudeProcess:
            arguments = [str(real_cli), *STREAM_FLAGS, "--setting-sources=", "--strict-mcp-config", *flags]
            process = ClaudeProcess(arguments, folder=tmp_path / "work", environment=environment)
            return stack.enter_context(process)

        yield run


def script(*answers: Json) -> str:
    return f"SCRIPT<<{json.dumps(answers)}>>"


def conversation(frames: list[Json]) -> list[str]:
    """The kinds of the frames that make up a turn, without the lifecycle of its line."""
    return [name for name in kinds(frames) if name != "command_lifecycle"]


def test_a_text_turn_names_the_message_that_it_answers(start: Start, model_server: ScriptedModelServer) -> None:
    process = start()
    process.say(script({"text": "hello"}), MESSAGE)
    frames = process.until_result()
    assert conversation(frames) == ["system/init", "assistant/text", "result/success"]
    result = frames[-1]
    assert (result["result"], result["is_error"], result["num_turns"]) == ("hello", False, 1)
    assert result["user_message_uuid"] == MESSAGE
    states = [frame["state"] for frame in [*frames, *process.finish()] if frame["type"] == "command_lifecycle"]
    assert states == ["queued", "started", "completed"]
    (call,) = model_server.model_calls
    assert call.headers["x-api-key"] == "sk-made-up"


def test_an_allowed_command_runs_and_its_result_goes_to_the_model(
    start: Start, model_server: ScriptedModelServer, tmp_path: Path
) -> None:
    process = start("--allowedTools", "Bash")
    command = {"name": "Bash", "input": {"command": "echo hi > made; cat made", "description": "make a file"}}
    process.say(script({"text": "Running it.", "tools": [command]}, {"text": "done"}))
    frames = process.until_result()
    assert conversation(frames) == [
        *("system/init", "assistant/text", "assistant/tool_use"),
        *("user/tool_result", "assistant/text", "result/success"),
    ]
    assert frames[-3]["message"]["content"][0]["content"] == "hi"
    assert (tmp_path / "work" / "made").read_text() == "hi\n"
    assert len(model_server.model_calls) == 2


def test_an_api_error_is_a_success_with_is_error(start: Start) -> None:
    process = start()
    process.say(script({"status": 529}))
    frames = process.until_result()
    assert conversation(frames) == ["system/init", "assistant/text", "result/success"]
    assert (frames[-1]["is_error"], frames[-1]["api_error_status"]) == (True, 529)
    assert frames[-2]["is_api_error_message"] is True
    process.close_input()
    assert process.end() == 1


def test_a_question_is_taken_back_when_the_turn_is_interrupted(start: Start) -> None:
    process = start("--permission-prompt-tool", "stdio")
    process.say(script({"tools": [{"name": "Write", "input": {"file_path": "a.txt", "content": "x"}}]}))
    question = process.until_kind("control_request/can_use_tool")[-1]
    process.request("interrupt")
    frames = process.until_result()
    assert conversation(frames) == [
        *("control_cancel_request", "control_response"),
        *("user/tool_result", "user/text", "result/error_during_execution"),
    ]
    assert frames[0]["request_id"] == question["request_id"]
    assert frames[-1]["terminal_reason"] == "aborted_tools"


def test_sigterm_in_the_middle_of_a_stream_exits_143_without_a_result(start: Start) -> None:
    process = start("--include-partial-messages")
    process.say(script({"text": "some words that never end", "hang": True}))
    process.until_kind("content_block_delta")
    process.signal(signal.SIGTERM)
    assert process.end() == 143
    assert not [name for name in kinds(process.rest()) if name.startswith("result")]


def test_a_resumed_session_carries_its_cost_and_tells_the_difference(start: Start) -> None:
    first = start()
    first.say(script({"text": "one"}))
    before = first.until_result()[-1]
    first.finish()
    second = start(f"--resume={before['session_id']}")
    second.say(script({"text": "two"}))
    after = second.until_result()[-1]
    new = sum(usage["costUSD"] for usage in after["model_usage_since_last_result"].values())
    assert after["total_cost_usd"] == pytest.approx(before["total_cost_usd"] + new)
    assert 0 < new < after["total_cost_usd"]


def test_a_resumed_session_knows_nothing_of_the_cost_of_a_process_that_was_killed(start: Start) -> None:
    killed = start("--include-partial-messages")
    spent = {"output_tokens": 5000}
    killed.say(script({"text": "dear", "usage": spent, "tools": [READ]}, {"text": "never", "hang": True}))
    session_id = killed.until_kind("system/init")[-1]["session_id"]
    killed.until_kind("user/tool_result")
    killed.signal(signal.SIGKILL)
    killed.end()
    second = start(f"--resume={session_id}")
    second.say(script({"text": "two", "usage": {"output_tokens": 7}}))
    after = second.until_result()[-1]
    for account in (after["modelUsage"], after["model_usage_since_last_result"]):
        assert sum(model["outputTokens"] for model in account.values()) == 7
