"""From bytes to typed events: lines, JSON, meaning; recordings of the real CLI, and what it might say one day."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.v1 import event_pb2
from headrace_worker.executors.claude.framer import Framer, Line
from headrace_worker.executors.claude.frames import deltas, typed
from headrace_worker.executors.claude.wire import Frame, integer, number, parse, text

RECORDINGS = sorted(path.name for path in (Path(__file__).parent / "recordings").glob("*.jsonl"))


def frame_of(body: object) -> Frame:
    data = json.dumps(body).encode()
    return parse(Line(data, len(data)))


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20))
def test_lines_are_the_same_however_the_bytes_are_cut(data: bytes, sizes: list[int]) -> None:
    framer = Framer(1000)
    lines = [line for piece in split(data, sizes) for line in framer.feed(piece)] + framer.finish()
    expected = data.split(b"\n")
    assert [line.data for line in lines] == (expected if expected[-1] else expected[:-1])
    assert not any(line.cut for line in lines)


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=6), st.integers(1, 15))
def test_e6_long_line_is_cut_with_its_digest_and_the_next_is_whole(lines: list[bytes], piece: int) -> None:
    framer = Framer(10)
    data = b"".join(line + b"\n" for line in lines)
    got = [line for at in range(0, len(data), piece) for line in framer.feed(data[at : at + piece])]
    assert [line.data for line in got] == [line[:10] for line in lines]
    assert [line.size_bytes for line in got] == [len(line) for line in lines]
    assert [line.sha256 for line in got] == [
        hashlib.sha256(line).hexdigest() if len(line) > 10 else "" for line in lines
    ]


def test_only_a_newline_ends_a_line() -> None:
    line = json.dumps({"type": "user", "text": "a\u2028b\u2029c\x85d\x0be\x0c"}, ensure_ascii=False).encode() + b"\r"
    got = Framer().feed(line + b"\n")
    assert [one.data for one in got] == [line]
    assert parse(got[0]).type == "user"


@pytest.mark.parametrize("name", RECORDINGS)
def test_x2_every_recorded_frame_has_a_meaning(name: str, recording: Callable[[str], list[bytes]]) -> None:
    framer = Framer()
    for line in framer.feed(b"\n".join(recording(name)) + b"\n"):
        frame = parse(line)
        event = typed(frame)
        if frame.type == "stream_event":
            assert len(deltas(frame)) <= 1
        elif frame.type == "control_response":
            assert event.unknown.type == "control_response"
        else:
            assert event.WhichOneof("kind") not in ("unknown", None), frame.body


def test_recorded_turn_reads_as_it_happened(recording: Callable[[str], list[bytes]]) -> None:
    frames = [parse(Line(line, len(line))) for line in recording("sdk_permission.tee.jsonl")]
    events = [typed(frame) for frame in frames]
    init = next(event.init for event in events if event.WhichOneof("kind") == "init")
    assert (init.model, init.version, init.permission_mode) == ("claude-opus-5-5", "2.1.330", "default")
    assert "Bash" in init.tools
    calls = [block.tool_use for event in events for block in event.assistant.blocks]
    assert [call.name for call in calls] == ["Write"] * 5
    assert json.loads(calls[0].input_json) == {"file_path": "/lab/folder/ok.txt", "content": "x\n"}
    results = [block.tool_result for event in events for block in event.user.blocks if block.HasField("tool_result")]
    assert [result.is_error for result in results] == [False, True, False, False, True]
    assert [event.control.tool_name for event in events if event.HasField("control")] == ["Write"] * 5
    result = events[-2].turn_result
    assert (result.subtype, result.is_error, result.terminal_reason) == (
        "error_during_execution",
        True,
        "aborted_tools",
    )


def test_recorded_deltas_add_up_to_the_message(recording: Callable[[str], list[bytes]]) -> None:
    frames = [parse(Line(line, len(line))) for line in recording("basic_partial.jsonl")]
    said = [delta for frame in frames if frame.type == "stream_event" for delta in deltas(frame)]
    message = next(typed(frame).assistant for frame in frames if frame.type == "assistant")
    assert "".join(delta.text for delta in said) == message.blocks[0].text
    assert {delta.message_id for delta in said} == {message.message_id}


@pytest.mark.parametrize("data", [b"not json", b"[1]", b"{", b"\xff", b'{"a": ' * 5000, b"1" * 5000, b"null"])
def test_x2_a_line_that_is_no_object_is_unknown_and_not_fatal(data: bytes) -> None:
    event = typed(parse(Line(data, len(data))))
    assert (event.WhichOneof("kind"), event.unknown.type) == ("unknown", "")


def test_x2_unknown_type_keeps_its_name() -> None:
    assert typed(frame_of({"type": "hologram", "x": 1})).unknown.type == "hologram"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
TYPES = [
    "system",
    "assistant",
    "user",
    "result",
    "rate_limit_event",
    "tool_progress",
    "control_request",
    "stream_event",
]
FIELDS = [
    "subtype", "message", "content", "event", "delta", "request", "rate_limit_info", "tools", "error_status", "usage",
    "modelUsage", "model_usage_since_last_result", "errors", "result", "is_error", "id", "index", "resetsAt", "model",
    "elapsed_time_seconds", "session_id", "permission_denials", "total_cost_usd", "text", "input", "name", "type",
]  # fmt: skip


@given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, max_size=8), JSON_VALUES)
def test_x2_no_field_of_any_type_is_fatal(kind: str, body: dict[str, Any], block: object) -> None:
    for content in (
        block,
        [block],
        [{"type": "tool_result", "content": [block]}, {"type": "tool_use", "input": block}],
    ):
        body = {"message": {"content": content, "id": block}, **body, "type": kind}
        frame = frame_of(body)
        assert typed(frame).SerializeToString() is not None
        assert isinstance(deltas(frame), list)


def test_lone_surrogates_become_question_marks() -> None:
    data = b'{"type":"assistant","message":{"content":[{"type":"text","text":"a\\ud800b"}]}}'
    assert typed(parse(Line(data, len(data)))).assistant.blocks[0].text == "a?b"


def test_numbers_stay_within_their_size() -> None:
    body = frame_of({"big": 10**400, "neg": -(10**30), "nan": float("nan"), "yes": True, "x": 1.9, "s": "1"}).body
    assert body is not None
    assert [integer(body, name, 31) for name in ("big", "neg", "nan", "yes", "x", "s", "no")] == [
        0, -(2**31), 0, 0, 1, 0, 0
    ]  # fmt: skip
    assert (number(body, "x"), text(body, "x")) == (1.9, "")


def test_typed_texts_are_cut_and_say_so() -> None:
    blocks = [{"type": "text", "text": "é" * 70_000}] * 12
    message = typed(frame_of({"type": "assistant", "message": {"content": blocks}})).assistant
    assert all(block.cut and len(block.text.encode()) <= 64 * 1024 for block in message.blocks)
    assert message.ByteSize() <= 600 * 1024
    short = typed(frame_of({"type": "assistant", "message": {"content": "short"}})).assistant.blocks[0]
    assert (short.text, short.cut) == ("short", False)


def test_rate_limit_event_has_its_reset() -> None:
    info = {"status": "rejected", "resetsAt": 1_800_000_000, "rateLimitType": "five_hour"}
    limit = typed(frame_of({"type": "rate_limit_event", "rate_limit_info": info})).rate_limit
    assert (limit.status, limit.limit_type, limit.reset_time.seconds) == ("rejected", "five_hour", 1_800_000_000)
    absurd = typed(frame_of({"type": "rate_limit_event", "rate_limit_info": {"resetsAt": 10**15}})).rate_limit
    assert not absurd.HasField("reset_time")


def test_a_tool_result_of_many_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    content = [{"type": "tool_result", "tool_use_id": "t", "content": parts}]
    block = typed(frame_of({"type": "user", "message": {"content": content}})).user.blocks[0]
    assert block.tool_result == event_pb2.ToolResult(tool_use_id="t", text="a\nb")
