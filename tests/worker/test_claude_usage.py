"""X6: what a conversation used, each token and each cent once."""

import json
from collections.abc import Callable

import pytest

from headrace.v1 import outcome_pb2
from headrace_worker.executors.claude.framer import Line
from headrace_worker.executors.claude.turn import Phase, Turn
from headrace_worker.executors.claude.wire import parse

Recording = Callable[[str], list[bytes]]


def fold(lines: list[bytes]) -> tuple[Turn, list[outcome_pb2.Usage]]:
    turn = Turn()
    used = [turn.observe(parse(Line(line, len(line)))) for line in lines]
    return turn, [usage for usage in used if usage is not None]


def costs(usages: list[outcome_pb2.Usage]) -> list[int]:
    return [usage.cost_usd_micros for usage in usages]


def test_x6_running_cost_is_billed_by_difference(recording: Recording) -> None:
    turn, usages = fold(recording("sdk_turns.tee.jsonl"))
    assert costs(usages) == [60, 60, 2700, 100]
    assert turn.meter.total().cost_usd_micros == 2920


def test_x6_an_interrupted_turn_costs_what_it_used_although_its_usage_says_zero(recording: Recording) -> None:
    _, usages = fold(recording("sdk_turns.tee.jsonl"))
    assert (usages[2].input_tokens, usages[2].output_tokens) == (10, 133)


def test_x6_resumed_session_is_not_billed_again(recording: Recording) -> None:
    turn, _ = fold(recording("sdk_resume.tee.jsonl"))
    total = turn.meter.total()
    assert (total.cost_usd_micros, total.input_tokens, total.output_tokens, total.turns) == (60, 10, 1, 1)


def test_x6_subagents_count_once(recording: Recording) -> None:
    turn, usages = fold(recording("subagent_default.jsonl"))
    total = turn.meter.total()
    assert costs(usages) == [1680, 0]
    assert (total.input_tokens, total.output_tokens, total.cost_usd_micros) == (50, 74, 1680)
    assert (total.turns, total.tool_calls) == (5, 2)


def test_usage_of_frames_that_share_a_message_counts_once(recording: Recording) -> None:
    lines = recording("sdk_permission.tee.jsonl")
    before_result = [line for line in lines if parse(Line(line, len(line))).type != "result"]
    turn, _ = fold(before_result)
    total = turn.meter.total()
    assert (total.turns, total.tool_calls) == (3, 5)
    assert (total.input_tokens, total.output_tokens) == (30, 15)


def test_usage_without_a_result_comes_from_the_stream(recording: Recording) -> None:
    lines = [line for line in recording("basic_partial.jsonl") if b'"type": "result"' not in line]
    turn, _ = fold(lines)
    assert (turn.meter.total().input_tokens, turn.meter.total().output_tokens) == (10, 15)


def result(cost: float, tokens: int, **more: object) -> bytes:
    usage = {"input_tokens": 5, "output_tokens": 5}
    models = {"m": {"inputTokens": tokens, "outputTokens": 0, "costUSD": cost}}
    body = {"type": "result", "subtype": "success", "total_cost_usd": cost, "usage": usage, "modelUsage": models}
    return json.dumps({**body, **more}).encode()


def test_x6_difference_where_a_result_has_no_account_of_its_own() -> None:
    _, usages = fold([result(0.5, 100), result(0.75, 150), b'{"type":"conversation_reset"}', result(0.25, 10)])
    assert costs(usages) == [500_000, 250_000, 250_000]
    assert [usage.input_tokens for usage in usages] == [100, 50, 10]


def test_a_total_that_falls_is_never_a_negative_bill() -> None:
    _, usages = fold([result(0.5, 100), result(0.1, 10)])
    assert costs(usages) == [500_000, 0]


def test_result_without_models_counts_its_usage() -> None:
    _, usages = fold([result(0.5, 0, modelUsage={})])
    assert (usages[0].input_tokens, usages[0].output_tokens, usages[0].cost_usd_micros) == (5, 5, 500_000)


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("basic_partial.jsonl", False),
        ("bash_allowed.jsonl", True),
        ("write_default.jsonl", True),
        ("sdk_turns.tee.jsonl", False),
        ("subagent_default.jsonl", True),
    ],
)
def test_r6_dirty_from_the_first_mutating_tool(name: str, dirty: bool, recording: Recording) -> None:
    assert fold(recording(name))[0].dirty is dirty


def test_phases_follow_the_frames() -> None:
    turn = Turn()
    seen = [turn.phase]
    turn.said()
    for body in (
        {"type": "system", "subtype": "init"},
        {"type": "stream_event", "event": {}},
        {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": "1", "name": "Read"}]}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "1"}]}},
        {"type": "system", "subtype": "status", "status": "compacting"},
        {"type": "system", "subtype": "compact_boundary"},
        {"type": "result", "subtype": "success"},
    ):
        data = json.dumps(body).encode()
        turn.observe(parse(Line(data, len(data))))
        seen.append(turn.phase)
    assert seen == [
        Phase.START, Phase.FIRST_TOKEN, Phase.STREAMING, Phase.TOOL, Phase.AFTER_TOOL, Phase.COMPACTING,
        Phase.FIRST_TOKEN, Phase.CLOSING,
    ]  # fmt: skip
    assert (turn.running, turn.dirty) == (False, False)
