"""The table of failure classes: recordings of the real CLI first, then what was reported of it elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest

from headrace.v1 import outcome_pb2
from headrace_worker.executors.claude.failure import Evidence, classify
from headrace_worker.executors.claude.framer import Line
from headrace_worker.executors.claude.turn import Turn
from headrace_worker.executors.claude.wire import parse
from headrace_worker.process import ExitStatus

NOW = 1_800_000_000.0


def judge(**evidence: Any) -> tuple[str, str]:
    found = classify(Evidence(**{"exit": ExitStatus(1), "frames": 1, **evidence}), NOW)
    if found is None:
        return "", ""
    return outcome_pb2.FailureClass.Name(found.failure_class).removeprefix("FAILURE_CLASS_"), found.sign


def recorded(lines: list[bytes], **more: Any) -> tuple[str, str]:
    turn = Turn()
    for line in lines:
        turn.observe(parse(Line(line, len(line))))
    return judge(
        frames=turn.frames,
        result=turn.result,
        assistant_error=turn.assistant_error,
        rate_limit=turn.rate_limit,
        api_retry=turn.api_retry,
        **more,
    )


@pytest.mark.parametrize(
    ("name", "failure_class", "sign"),
    [
        ("err_401.jsonl", "AUTH", "result.api_error_status=401"),
        ("err_404_model.jsonl", "INVALID", "result.api_error_status=404"),
        ("err_429_retry_after3_max2.jsonl", "RATE_LIMITED", "result.api_error_status=429"),
        ("err_500_max0.jsonl", "OVERLOADED", "result.api_error_status=500"),
        ("err_529_max2.jsonl", "OVERLOADED", "result.api_error_status=529"),
        ("err_refused_max2.jsonl", "NETWORK", "result.api_error=connection_failed"),
        ("no_key.jsonl", "AUTH", "assistant.error=authentication_failed"),
        ("flag_resume_unknown.jsonl", "INVALID", "result.errors=unknown_session"),
        ("sdk_budget.tee.jsonl", "BUDGET", "result.subtype=error_max_budget_usd"),
        ("sdk_max_turns.tee.jsonl", "TURN_LIMIT", "result.subtype=error_max_turns"),
        ("sdk_permission.tee.jsonl", "CRASH", "result.terminal_reason=aborted_tools"),
        ("err_cut_max1.jsonl", "", ""),
        ("err_sse_overloaded_max1.jsonl", "", ""),
        ("basic_partial.jsonl", "", ""),
        ("background_bash.jsonl", "", ""),
    ],
)
def test_recorded_ends(name: str, failure_class: str, sign: str, recording: Callable[[str], list[bytes]]) -> None:
    assert recorded(recording(name)) == (failure_class, sign)


def test_x3_a_turn_that_a_person_ended_with_a_denial_is_no_crash(recording: Callable[[str], list[bytes]]) -> None:
    ended = recorded(recording("sdk_permission.tee.jsonl"), ended_by_person="not this one")
    assert ended == ("CANCELLED", "answer.interrupt")
    assert recorded(recording("basic_partial.jsonl"), ended_by_person="not this one") == ("", "")
    assert recorded(recording("err_401.jsonl"), ended_by_person="not this one")[0] == "AUTH"


def test_auth_inside_retries_is_seen_before_the_last_of_them(recording: Callable[[str], list[bytes]]) -> None:
    turn = Turn()
    until = 0
    lines = recording("err_401.jsonl")
    while not turn.auth_failed():
        turn.observe(parse(Line(lines[until], 0)))
        until += 1
    assert until == 2
    aborted = {"is_error": True, "subtype": "error_during_execution", "terminal_reason": "aborted_streaming"}
    failure_class, sign = judge(result=aborted, api_retry=turn.api_retry, auth_interrupt=True)
    assert (failure_class, sign) == ("AUTH", "api_retry.error_status=401 error=authentication_failed")


def error(**fields: Any) -> dict[str, Any]:
    return {"type": "result", "subtype": "success", "is_error": True, **fields}


@pytest.mark.parametrize(
    ("evidence", "failure_class"),
    [
        ({"result": error(api_error_status=403)}, "AUTH"),
        ({"result": error(api_error_status=413)}, "CONTEXT"),
        ({"result": error(api_error_status=503)}, "OVERLOADED"),
        ({"result": error(api_error_status=400, result="Your credit balance is too low")}, "BILLING"),
        ({"result": error(api_error_status=400, result="prompt is too long: 210000 tokens")}, "CONTEXT"),
        ({"result": error(api_error_status=400, result="bad")}, "INVALID"),
        ({"result": error(result="Credit balance is too low")}, "BILLING"),
        ({"result": error(terminal_reason="prompt_too_long")}, "CONTEXT"),
        ({"result": error(terminal_reason="rapid_refill_breaker")}, "CONTEXT"),
        ({"result": error(subtype="error_max_structured_output_retries")}, "SCHEMA"),
        ({"result": error(api_error_status=429), "rate_limit": {"status": "rejected"}}, "QUOTA"),
        ({"result": error(api_error_status=429), "rate_limit": {"status": "allowed_warning"}}, "RATE_LIMITED"),
        ({"result": error(api_error_status=429, result="You've hit your weekly limit")}, "QUOTA"),
        ({"result": error(result="Claude AI usage limit reached|1800000600")}, "QUOTA"),
        ({"result": error(), "rate_limit": {"status": "rejected"}}, "QUOTA"),
        ({"result": error(), "assistant_error": {"error": "billing_error"}}, "BILLING"),
        ({"result": error(), "assistant_error": {"error": "server_error"}}, "OVERLOADED"),
        ({"result": error(result="API Error: Connection error.")}, "NETWORK"),
        ({"result": error(result="something else")}, "ERROR"),
        ({"result": None, "api_retry": {"error_status": 529, "error": "overloaded"}}, "OVERLOADED"),
        ({"result": None, "api_retry": {"error_status": None, "error": "unknown"}}, "NETWORK"),
        ({"frames": 0, "stderr": "error: unknown option '--no-such-flag'\n"}, "INVALID"),
        ({"frames": 0, "stderr": "--dangerously-skip-permissions cannot be used with root"}, "INVALID"),
        ({"frames": 0, "stderr": "Not logged in"}, "AUTH"),
        ({"frames": 5, "stderr": "some warning"}, "CRASH"),
        ({"exit": ExitStatus(0)}, "CRASH"),
        ({"exit": ExitStatus(137)}, "CRASH"),
        ({"exit": ExitStatus(0, 9), "stderr": "overloaded"}, "CRASH"),
        ({"stalled_phase": "tool", "result": error()}, "STALL"),
    ],
)
def test_reported_ends(evidence: dict[str, Any], failure_class: str) -> None:
    assert judge(**evidence)[0] == failure_class


def test_r6_conversation_of_an_earlier_attempt_that_is_gone_is_an_unknown_outcome(
    recording: Callable[[str], list[bytes]],
) -> None:
    assert recorded(recording("flag_resume_unknown.jsonl"), resumed_attempt=True)[0] == "UNKNOWN_OUTCOME"


def test_a_success_stands_whatever_the_exit_status_says() -> None:
    good = {"type": "result", "subtype": "success", "is_error": False}
    assert judge(result=good, exit=ExitStatus(143)) == ("", "")
    assert judge(result=good, exit=ExitStatus(0, 15)) == ("", "")


def test_r1_a_usage_limit_says_how_long_to_wait() -> None:
    limit = {"status": "rejected", "resetsAt": 1_800_000_090}
    found = classify(Evidence(exit=ExitStatus(1), result=error(api_error_status=429), rate_limit=limit), NOW)
    assert found is not None
    assert found.retry_after.seconds == 90
    stated = classify(Evidence(exit=ExitStatus(1), result=error(result="usage limit reached|1800000600")), NOW)
    assert stated is not None
    assert stated.retry_after.seconds == 600


def test_x5_a_usage_limit_that_is_over_by_now_is_told_from_one_that_does_not_say() -> None:
    over, silent = (
        classify(Evidence(exit=ExitStatus(1), result=error(), rate_limit={"status": "rejected", **more}), NOW)
        for more in ({"resetsAt": int(NOW) - 5}, {})
    )
    assert over is not None
    assert silent is not None
    assert (over.HasField("retry_after"), over.retry_after.ToSeconds()) == (True, 0)
    assert not silent.HasField("retry_after")


def test_x5_a_usage_limit_that_the_cli_told_in_an_earlier_turn_is_read_from_the_error() -> None:
    told = {
        "error": "rate_limit",
        "api_error_params": {"rate_limit_info": {"status": "rejected", "resetsAt": int(NOW) + 90}},
    }
    found = classify(Evidence(exit=ExitStatus(1), result=error(api_error_status=429), assistant_error=told), NOW)
    assert found is not None
    assert (found.sign, found.retry_after.seconds) == ("assistant.api_error_params.status=rejected", 90)


def test_detail_is_the_tail_of_standard_error() -> None:
    found = classify(Evidence(exit=ExitStatus(0, 11), stderr="x" * 100_000 + "end"), NOW)
    assert found is not None
    assert (found.signal, found.detail[-4:], len(found.detail) <= 16 * 1024) == (11, "xend", True)
