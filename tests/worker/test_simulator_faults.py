"""Every fault of the simulated CLI does what the script asked for, and the program is whole where it should be."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.control_plane import wait_for
from headrace_worker.simulator.script import ScriptError, in_prompt
from model_server.process import DEADLINE_SECONDS, ClaudeProcess, kind, kinds

Start = Callable[..., ClaudeProcess]
Json = dict[str, Any]


def script(*steps: Json) -> str:
    return f"SIMULATE<<{json.dumps(steps)}>>"


def fault(name: str, **arguments: Any) -> Json:
    return {"fault": name, **arguments}


def turn(process: ClaudeProcess, *steps: Json) -> list[Json]:
    process.say(script(*steps))
    return process.until_result()


@pytest.mark.parametrize(
    ("arguments", "status", "error"),
    [
        ({"status": 401}, 401, "authentication_failed"),
        ({"status": 404}, 404, "model_not_found"),
        ({"status": 429}, 429, "rate_limit"),
        ({"status": 500}, 500, "server_error"),
        ({"status": 529}, 529, "server_error"),
        ({"kind": "network"}, None, "server_error"),
        ({"kind": "no_key"}, None, "authentication_failed"),
        ({"kind": "billing"}, 400, "billing_error"),
        ({"kind": "prompt_too_long"}, 400, "invalid_request"),
    ],
)
def test_an_api_failure_is_a_success_with_is_error(
    simulator: Start, arguments: Json, status: int | None, error: str
) -> None:
    process = simulator(CLAUDE_CODE_MAX_RETRIES="0")
    init, said, result = turn(process, fault("api_error", **arguments))
    assert kind(init) == "system/init"
    assert (said["message"]["model"], said["error"], said["is_api_error_message"]) == ("<synthetic>", error, True)
    assert (result["subtype"], result["is_error"], result["terminal_reason"]) == ("success", True, "api_error")
    assert (result["api_error_status"], result["result"]) == (status, said["message"]["content"][0]["text"])
    process.close_input()
    assert process.end() == 1


def test_retries_are_announced_as_often_as_the_environment_allows(simulator: Start) -> None:
    process = simulator(CLAUDE_CODE_MAX_RETRIES="2")
    retries = [frame for frame in turn(process, fault("api_error", status=529)) if frame.get("subtype") == "api_retry"]
    assert [(frame["attempt"], frame["max_retries"]) for frame in retries] == [(1, 2), (2, 2)]
    assert {(frame["error_status"], frame["error"]) for frame in retries} == {(529, "overloaded")}
    assert 500 <= retries[0]["retry_delay_ms"] < retries[1]["retry_delay_ms"]


def test_retries_may_succeed(simulator: Start) -> None:
    frames = turn(simulator(), fault("api_retry", status=529, retries=2), {"text": "at last"})
    assert kinds(frames)[1:3] == ["system/api_retry"] * 2
    assert frames[-1]["result"] == "at last"


def test_a_used_up_quota_is_told_by_its_event(simulator: Start) -> None:
    frames = turn(simulator(), fault("api_error", kind="quota", resets_in_seconds=60, retries=0))
    assert kinds(frames) == ["system/init", "rate_limit_event", "assistant/text", "result/success"]
    assert frames[1]["rate_limit_info"]["status"] == "rejected"
    assert frames[-1]["api_error_status"] == 429


def test_a_rate_limit_warning_changes_nothing(simulator: Start) -> None:
    frames = turn(simulator(), fault("rate_limit"), {"text": "on"})
    assert (frames[1]["rate_limit_info"]["status"], frames[-1]["is_error"]) == ("allowed_warning", False)


def test_lines_that_are_no_frames(simulator: Start) -> None:
    process = simulator()
    process.say(script(fault("raw", line="oops"), fault("blank_lines", count=2), fault("frame"), {"text": "end"}))
    process.close_input()
    assert process.end() == 0
    assert process.lines[1:4] == [b"oops\n", b"\n", b"\n"]
    assert json.loads(process.lines[4])["type"] == "not_known_to_anyone"


def test_a_line_separator_stands_raw_inside_a_frame(simulator: Start) -> None:
    process = simulator()
    assert turn(process, {"text": "a\u2028b"})[-1]["result"] == "a\u2028b"
    assert "\u2028".encode() in process.lines[1]


def test_frames_may_end_in_crlf_and_come_byte_by_byte(simulator: Start) -> None:
    process = simulator()
    frames = turn(process, fault("framing", crlf=True, piece_bytes=1), {"text": "cut"})
    assert frames[-1]["result"] == "cut"
    assert process.lines[-1].endswith(b"}\r\n")


def test_a_giant_line_is_one_frame(simulator: Start) -> None:
    frames = turn(simulator(), fault("giant_line", bytes=3_000_000))
    assert len(frames[1]["message"]["content"][0]["text"]) == 3_000_000


def test_a_flood_of_deltas_comes_whole(simulator: Start) -> None:
    process = simulator("--include-partial-messages")
    frames = turn(process, fault("delta_flood", count=500, bytes=10))
    assert kinds(frames).count("content_block_delta") == 500


def test_a_turn_may_start_by_itself(simulator: Start) -> None:
    process = simulator()
    asked = turn(process, fault("unsolicited_turn", milliseconds=10, steps=[{"text": "me again"}]), {"text": "yes"})
    assert asked[-1]["result"] == "yes"
    own = process.until_result()
    assert kinds(own) == ["system/task_notification", "system/init", "assistant/text", "result/success"]
    assert own[-1]["result"] == "me again"


def test_a_question_may_be_withdrawn(simulator: Start) -> None:
    process = simulator("--permission-prompt-tool", "stdio")
    write = {"tools": [{"name": "Write", "input": {"file_path": "a", "content": "x"}}]}
    frames = turn(process, fault("withdraw_request", milliseconds=10), write, {"text": "end"})
    names = kinds(frames)
    place = names.index("control_request/can_use_tool")
    assert names[place + 1] == "control_cancel_request"
    assert frames[place]["request_id"] == frames[place + 1]["request_id"]


def test_a_conversation_reset_sets_the_running_cost_to_zero(simulator: Start) -> None:
    process = simulator()
    first = turn(process, {"text": "x", "usage": {"input_tokens": 500_000}})[-1]["total_cost_usd"]
    after = turn(process, fault("conversation_reset"), {"text": "y"})
    assert "conversation_reset" in kinds(after)
    assert after[-1]["total_cost_usd"] < first


def test_a_result_may_be_missing(simulator: Start) -> None:
    process = simulator()
    process.say(script({"text": "said"}, fault("no_result")))
    assert kinds(process.finish()) == ["system/init", "assistant/text"]


def test_a_result_may_be_of_the_scripts_own(simulator: Start) -> None:
    result = turn(simulator(), fault("result", subtype="error_max_structured_output_retries", errors=["no"]))[-1]
    assert (result["subtype"], result["is_error"], result["errors"]) == (
        "error_max_structured_output_retries",
        True,
        ["no"],
    )


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        ([fault("hang", at="start")], None),
        ([fault("hang")], "system/init"),
        ([fault("hang", at="stream")], "content_block_delta"),
        ([fault("hang", at="tool", progress_milliseconds=1)], "tool_progress"),
        ([{"text": "done"}, fault("hang", at="result")], "result/success"),
    ],
)
def test_a_hang_is_deaf_to_everything_but_signals(simulator: Start, steps: list[Json], last: str | None) -> None:
    process = simulator("--include-partial-messages")
    process.request("initialize")
    process.until_kind("control_response")
    process.say(script(*steps))
    if last is not None:
        process.until_kind(last)
    process.close_input()
    process.signal(signal.SIGTERM)
    assert process.end() == 143
    assert set(kinds(process.rest())) <= {"tool_progress"}


def test_a_deaf_hang_gives_no_receipt_and_outlives_the_end_of_input(simulator: Start) -> None:
    process = simulator()
    process.say(script({"text": "done"}, fault("hang", at="result")))
    process.until_result()
    process.request("interrupt")
    process.close_input()
    still_there = os.pidfd_open(process.pid)
    with os.fdopen(still_there, "rb") as file:
        assert select.select([file], [], [], 0.3)[0] == []
    process.signal(signal.SIGTERM)
    assert (process.end(), process.rest()) == (143, [])


def test_a_hang_may_be_interruptible(simulator: Start) -> None:
    process = simulator()
    process.say(script(fault("hang", interruptible=True)))
    process.until_kind("system/init")
    process.request("interrupt")
    assert process.until_result()[-1]["terminal_reason"] == "aborted_streaming"


def test_sigterm_may_be_ignored(simulator: Start) -> None:
    process = simulator()
    turn(process, fault("ignore", what="sigterm"))
    process.signal(signal.SIGTERM)
    assert turn(process, {"text": "still here"})[-1]["result"] == "still here"
    process.signal(signal.SIGKILL)
    assert process.end() == -signal.SIGKILL


def test_the_end_of_input_may_be_ignored(simulator: Start) -> None:
    process = simulator()
    turn(process, fault("ignore", what="eof"))
    process.close_input()
    with os.fdopen(os.pidfd_open(process.pid), "rb") as file:
        assert select.select([file], [], [], 0.3)[0] == []
    process.signal(signal.SIGTERM)
    assert process.end() == 143


def test_an_interrupt_may_be_ignored(simulator: Start) -> None:
    process = simulator()
    process.say(script(fault("ignore", what="interrupt"), fault("delay", milliseconds=100), {"text": "end"}))
    process.until_kind("system/init")
    process.request("interrupt")
    frames = process.until_result()
    assert kinds(frames) == ["assistant/text", "result/success"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({"code": 7}, 7), ({"signal": "SIGKILL"}, -9), ({"signal": "SIGSEGV"}, -11), ({"signal": "SIGABRT"}, -6)],
)
def test_a_crash_ends_the_program_without_a_result(simulator: Start, arguments: Json, code: int) -> None:
    process = simulator()
    process.say(script({"text": "last words"}, fault("exit", **arguments)))
    assert process.end() == code
    assert kinds(process.rest()) == ["system/init", "assistant/text"]


def test_stderr_may_be_flooded(simulator: Start) -> None:
    process = simulator()
    turn(process, fault("stderr", bytes=200_000))
    process.finish()
    assert len(process.stderr) == 200_000


def test_a_grandchild_may_hold_stdout_in_a_session_of_its_own(simulator: Start, processes: Any) -> None:
    process = simulator()
    held = fault("grandchild", holds="stdout", setsid=True, clear_environment=True, seconds=600)
    turn(process, held, {"text": "end"})
    (child,) = processes.children_of(process.pid)
    try:
        assert os.getsid(child) == child
        assert Path(f"/proc/{child}/environ").read_bytes() == b""
        assert os.readlink(f"/proc/{child}/fd/1") == os.readlink(f"/proc/{process.pid}/fd/1")
    finally:
        os.kill(child, signal.SIGKILL)


def test_memory_may_grow(simulator: Start) -> None:
    process = simulator()
    before = resident_bytes(process.pid)
    turn(process, fault("memory", bytes=64 * 1024 * 1024))
    assert resident_bytes(process.pid) - before > 60 * 1024 * 1024


def test_a_full_pipe_is_not_felt_and_sigterm_then_loses_the_rest(
    simulator_environment: dict[str, str], tmp_path: Path
) -> None:
    """The real program goes on with its tools while nobody reads."""
    prompt = script(
        fault("giant_line", bytes=1_000_000),
        {"tools": [{"name": "Write", "input": {"file_path": "went_on", "content": ""}}]},
        {"text": "end"},
    )
    program = [sys.executable, "-m", "headrace_worker.simulator", "-p", prompt, "--allowedTools", "Write"]
    with subprocess.Popen(
        [*program, "--output-format", "stream-json", "--verbose"],
        cwd=tmp_path,
        env=simulator_environment,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            wait_for((tmp_path / "went_on").exists, "it goes on with its tools")
            process.terminate()
            assert process.wait(DEADLINE_SECONDS) == 0
        finally:
            process.kill()


def test_a_script_file_speaks_for_prompts_that_carry_none(simulator: Start, tmp_path: Path) -> None:
    recording = tmp_path / "recording.jsonl"
    recording.write_text('{"type":"result","subtype":"success","is_error":false,"result":"recorded"}\n')
    file = tmp_path / "script.json"
    turns = [[{"text": "first"}], [{"replay": recording.name}]]
    file.write_text(json.dumps({"start": [fault("stderr", line="starting")], "turns": turns}))
    process = simulator(HEADRACE_SIMULATOR_SCRIPT=str(file))
    process.say("one")
    assert process.until_result()[-1]["result"] == "first"
    process.say("two")
    assert process.until_result()[-1] == json.loads(recording.read_text())
    process.finish()
    assert process.stderr == "starting\n"


def test_a_prompt_cannot_name_a_recording() -> None:
    with pytest.raises(ScriptError, match="only a script file"):
        in_prompt(script({"replay": "/etc/hostname"}))


def test_an_unknown_fault_is_reported_in_the_result(simulator: Start) -> None:
    result = turn(simulator(), fault("earthquake"))[-1]
    assert result["errors"] == ["[simulated] no such fault: earthquake"]


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
