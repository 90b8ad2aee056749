"""The command line of the simulated CLI: what it accepts, what it refuses, and in which words."""

import json
import os
import select
import signal
from collections.abc import Callable
from typing import Any

import pytest

from e2e.control_plane import wait_for
from headrace_worker.simulator.flags import Options, UsageError, parse
from model_server.process import DEADLINE_SECONDS, ClaudeProcess, kinds

Start = Callable[..., ClaudeProcess]
UNKNOWN = "11111111-1111-4111-8111-111111111111"


def refused(*arguments: str, is_root: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        parse(arguments, is_root=is_root)
    return str(caught.value)


def test_an_unknown_flag_ends_the_program_with_one_line_on_stderr(simulator: Start) -> None:
    process = simulator("--no-such-flag")
    assert process.end() == 1
    assert process.stderr == "error: unknown option '--no-such-flag'\n"
    assert process.lines == []


def test_the_version_cannot_be_taken_for_a_real_one(simulator: Start) -> None:
    process = simulator("--version", stream=False)
    assert process.end() == 0
    assert process.lines == [b"simulated-1 (Claude Code simulator)\n"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--output-format", "stream-json"),
            "Error: When using --print, --output-format=stream-json requires --verbose",
        ),
        (("--input-format", "stream-json"), "Error: --input-format=stream-json requires output-format=stream-json."),
        (("--session-id=nope",), "Error: Invalid session ID. Must be a valid UUID."),
        (("--model",), "error: option '--model <model>' argument missing"),
        (
            ("--max-turns", "many"),
            "error: option '--max-turns <turns>' argument 'many' is invalid. must be a number",
        ),
        (("--verbose=yes",), "error: unknown option '--verbose=yes'"),
    ],
)
def test_a_wrong_command_line_is_refused_in_the_programs_own_words(arguments: tuple[str, ...], words: str) -> None:
    assert refused(*arguments) == words


def test_root_may_not_bypass_permissions() -> None:
    bypass = ("--permission-mode", "bypassPermissions")
    assert "root/sudo" in refused(*bypass, is_root=True)
    assert parse(bypass, is_root=False).permission_mode == "bypassPermissions"


def test_every_flag_of_a_driven_session_is_understood() -> None:
    options = parse(
        [
            *("--output-format", "stream-json", "--verbose", "--input-format", "stream-json"),
            *("--include-partial-messages", "--permission-prompt-tool", "stdio", "--model", "m"),
            *("--fallback-model", "f", "--max-turns", "3", "--max-budget-usd", "0.5", "--allowedTools"),
            *("Read,Bash(echo a, b)", "--disallowedTools", "WebFetch", "Write", "--permission-mode", "plan"),
            *("--append-system-prompt", "s", "--json-schema", '{"type":"object"}', "--mcp-config", "p"),
            *("--strict-mcp-config", "--settings", "s.json", "--setting-sources=", "--add-dir", "/tmp"),
            *(f"--resume={UNKNOWN}", "--fork-session"),
        ],
        is_root=True,
    )
    assert options == Options(
        output_format="stream-json",
        input_format="stream-json",
        partial_messages=True,
        asks_host=True,
        permission_mode="plan",
        model="m",
        max_turns=3,
        max_budget_usd=0.5,
        allowed_tools=("Read", "Bash(echo a, b)"),
        disallowed_tools=("WebFetch", "Write"),
        json_schema={"type": "object"},
        add_dirs=("/tmp",),
        resume=UNKNOWN,
        fork_session=True,
    )


def test_resuming_an_unknown_session_is_one_result_and_exit_1(simulator: Start) -> None:
    process = simulator(f"--resume={UNKNOWN}")
    assert process.end() == 1
    (result,) = process.rest()
    assert (result["subtype"], result["is_error"]) == ("error_during_execution", True)
    assert result["errors"] == [f"No conversation found with session ID: {UNKNOWN}"]


def test_a_session_id_that_exists_is_refused(simulator: Start) -> None:
    first = simulator(f"--session-id={UNKNOWN}")
    first.say('SIMULATE<<[{"text": "one"}]>>')
    first.finish()
    second = simulator(f"--session-id={UNKNOWN}")
    assert second.end() == 1
    assert second.stderr == f"Error: Session ID {UNKNOWN} is already in use.\n"


def test_the_one_shot_form_prints_the_answer_or_the_result(simulator: Start) -> None:
    plain = simulator("-p", 'SIMULATE<<[{"text": "forty-two"}]>>', stream=False)
    assert (plain.end(), plain.lines) == (0, [b"forty-two\n"])
    whole = simulator("-p", 'SIMULATE<<[{"text": "forty-two"}]>>', "--output-format", "json", stream=False)
    assert whole.end() == 0
    assert json.loads(whole.lines[0])["result"] == "forty-two"


def test_the_end_of_input_without_a_message_ends_the_program_silently(simulator: Start) -> None:
    process = simulator()
    process.close_input()
    assert (process.end(), process.lines) == (0, [])


def test_sigterm_exits_143_in_the_middle_of_a_stream(simulator: Start) -> None:
    process = simulator("--include-partial-messages")
    process.say('SIMULATE<<[{"text": "one two three", "delta_characters": 4, "delta_milliseconds": 60000}]>>')
    process.until_kind("content_block_start")
    process.signal(signal.SIGTERM)
    assert process.end() == 143


def test_sigterm_ends_the_children_of_tools(simulator: Start, processes: Any) -> None:
    process = simulator()
    process.say('SIMULATE<<[{"tools": [{"name": "Bash", "input": {"command": "sleep 1000"}}]}]>>')
    process.until_kind("assistant/tool_use")
    (started,) = wait_for(lambda: processes.children_of(process.pid), "the tool runs")
    child = os.pidfd_open(started)
    process.signal(signal.SIGTERM)
    assert process.end() == 143
    assert_ends(child)


def test_sigint_interrupts_the_turn_and_exits_0(simulator: Start) -> None:
    process = simulator("--include-partial-messages")
    process.say('SIMULATE<<[{"text": "one two three", "delta_characters": 4, "delta_milliseconds": 60000}]>>')
    process.until_kind("content_block_start")
    process.signal(signal.SIGINT)
    assert process.end() == 0
    assert kinds(process.rest())[-1] == "result/error_during_execution"


def assert_ends(process: int) -> None:
    """Waits on a pidfd, which is readable once its process has ended."""
    with os.fdopen(process, "rb") as file:
        readable, _, _ = select.select([file], [], [], DEADLINE_SECONDS)
        assert readable, "the child of a tool is still there"
