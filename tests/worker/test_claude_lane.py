"""The lane of frames: order, bounds in memory and on disk; and delivery from it."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.v1 import event_pb2
from headrace_worker.executors.claude.delivery import Delivery
from headrace_worker.executors.claude.framer import Line
from headrace_worker.executors.claude.lane import Lane, LaneFull
from headrace_worker.executors.claude.turn import Turn
from headrace_worker.executors.claude.wire import Frame, parse


def frame_of(body: object) -> Frame:
    data = json.dumps(body).encode()
    return parse(Line(data, len(data)))


@given(st.lists(st.one_of(st.integers(0, 60), st.none()), max_size=60))
def test_order_is_kept_in_memory_and_on_disk(steps: list[int | None]) -> None:
    """A number puts a frame of about that size, None takes one."""

    async def main() -> None:
        lane = Lane(Path("/tmp"), memory_bytes_max=100)
        expected: list[bytes] = []
        for number, step in enumerate(steps):
            if step is not None:
                frame = frame_of({"type": "user", "number": number, "text": "x" * step})
                expected.append(frame.line.data)
                lane.put(frame)
            elif expected:
                taken = await lane.get()
                assert taken is not None
                assert taken.line.data == expected.pop(0)
        lane.finish()
        assert lane.waiting_bytes >= sum(map(len, expected))
        rest = []
        while (frame_left := await lane.get()) is not None:
            rest.append(frame_left.line.data)
        assert rest == expected
        assert lane.waiting_bytes == 0
        lane.close()

    asyncio.run(main())


def test_a_cut_line_keeps_its_size_and_digest_on_disk(tmp_path: Path) -> None:
    async def main() -> None:
        lane = Lane(tmp_path, memory_bytes_max=0)
        lines = [Line(b"first", 5), Line(b"begin", 500, "ab" * 32)]
        for line in lines:
            lane.put(parse(line))
        taken = [await lane.get() for _ in lines]
        assert [frame.line for frame in taken if frame is not None] == lines
        lane.close()

    asyncio.run(main())


def test_e4_more_than_the_disk_may_hold_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        lane = Lane(tmp_path, memory_bytes_max=10, disk_bytes_max=1000)
        for _ in range(4):
            lane.put(frame_of({"text": "x" * 100}))
        assert 0 < lane.waiting_bytes < 1000
        with pytest.raises(LaneFull):
            lane.put(frame_of({"text": "x" * 900}))
        lane.close()

    asyncio.run(main())


def deliver(attempt_of: Callable[..., Any], folder: Path, *lines: Line, with_deltas: bool = True) -> Any:
    async def main() -> Any:
        attempt = attempt_of()
        lane = Lane(folder)
        for line in lines:
            lane.put(parse(line))
        lane.finish()
        lane.dropped = 1
        delivery = Delivery(attempt, lane, Turn(), simulated=True, with_deltas=with_deltas)
        await delivery.run()
        return attempt

    return asyncio.run(main())


def line_of(body: object) -> Line:
    data = json.dumps(body).encode()
    return Line(data, len(data))


def test_x2_raw_json_is_kept_as_it_came(attempt_of: Callable[..., Any], tmp_path: Path) -> None:
    text = '{ "type":"hologram", "x": "ä\u2028" }'
    broken = b'{"type": "\xff"}'
    attempt = deliver(attempt_of, tmp_path, Line(text.encode(), len(text.encode())), Line(broken, len(broken)))
    first, second = attempt.frames()
    assert (first.raw_json, first.unknown.type, first.simulated) == (text, "hologram", True)
    assert (second.raw_bytes, second.WhichOneof("kind")) == (broken, "unknown")


def test_x2_large_frame_is_stored_in_chunks_before_its_event(attempt_of: Callable[..., Any], tmp_path: Path) -> None:
    line = line_of({"type": "user", "message": {"content": "x" * 1_200_000}})
    attempt = deliver(attempt_of, tmp_path, line_of({"type": "keep"}), line)
    chunks = [output for output in attempt.outputs if output.WhichOneof("kind") == "chunk"]
    stored = attempt.outputs[-1].claude.stored
    assert attempt.bytes_of(event_pb2.OUTPUT_STREAM_FRAME) == line.data
    assert max(len(output.chunk.data) for output in chunks) <= 256 * 1024
    assert [output.producer_sequence for output in chunks] == list(
        range(stored.first_producer_sequence, stored.last_producer_sequence + 1)
    )
    assert (stored.size_bytes, stored.sha256) == (len(line.data), hashlib.sha256(line.data).hexdigest())
    assert not stored.cut
    assert attempt.outputs[-1].claude.user.blocks[0].cut
    assert all(output.ByteSize() <= 2 * 1024 * 1024 for output in attempt.outputs)


def test_e6_cut_frame_says_so_with_its_length_and_digest(attempt_of: Callable[..., Any], tmp_path: Path) -> None:
    attempt = deliver(attempt_of, tmp_path, Line(b"y" * 1_100_000, 70_000_000, "cd" * 32))
    stored = attempt.outputs[-1].claude.stored
    assert (stored.size_bytes, stored.sha256, stored.cut) == (70_000_000, "cd" * 32, True)


def test_deltas_are_never_events_and_say_what_was_dropped(attempt_of: Callable[..., Any], tmp_path: Path) -> None:
    start = {"type": "stream_event", "event": {"type": "message_start", "message": {"id": "m1"}}}
    delta = {"type": "text_delta", "text": "hi"}
    more = {"type": "stream_event", "event": {"type": "content_block_delta", "index": 2, "delta": delta}}
    attempt = deliver(attempt_of, tmp_path, line_of(start), line_of(more))
    assert attempt.outputs == []
    assert attempt.deltas == [
        event_pb2.Delta(dropped=1),
        event_pb2.Delta(message_id="m1", block_index=2, text="hi"),
    ]
    assert deliver(attempt_of, tmp_path, line_of(start), line_of(more), with_deltas=False).deltas == []


def test_r6_dirty_stands_on_the_event_of_the_first_mutating_tool(
    attempt_of: Callable[..., Any], tmp_path: Path
) -> None:
    def call(name: str) -> Line:
        return line_of({"type": "assistant", "message": {"content": [{"type": "tool_use", "id": name, "name": name}]}})

    attempt = deliver(attempt_of, tmp_path, call("Read"), call("Edit"), line_of({"type": "x"}))
    assert [output.dirty for output in attempt.outputs] == [False, True, True]


def test_a_result_is_followed_by_what_the_attempt_used(
    attempt_of: Callable[..., Any], tmp_path: Path, recording: Callable[[str], list[bytes]]
) -> None:
    lines = [Line(line, len(line)) for line in recording("sdk_turns.tee.jsonl")]
    attempt = deliver(attempt_of, tmp_path, *lines)
    totals = [output.usage.cost_usd_micros for output in attempt.outputs if output.WhichOneof("kind") == "usage"]
    turns = [f.turn_result.usage.cost_usd_micros for f in attempt.frames() if f.WhichOneof("kind") == "turn_result"]
    assert (list(dict.fromkeys(totals)), turns) == ([0, 60, 120, 2820, 2920], [60, 60, 2700, 100])


def test_x6_what_was_used_is_told_after_each_call_of_the_model_and_not_only_at_the_end(
    attempt_of: Callable[..., Any], tmp_path: Path
) -> None:
    start = {"type": "message_start", "message": {"id": "m1", "usage": {"input_tokens": 7, "output_tokens": 1}}}
    stop = {"type": "message_delta", "usage": {"input_tokens": 7, "output_tokens": 30}}
    message = {"id": "m2", "content": [], "usage": {"input_tokens": 5, "output_tokens": 2}}
    result = {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "t"}]}}
    attempt = deliver(
        attempt_of,
        tmp_path,
        *[line_of({"type": "stream_event", "event": event}) for event in (start, stop)],
        line_of({"type": "assistant", "message": message}),
        line_of(result),
        line_of(result),
    )
    told = [output.usage for output in attempt.outputs if output.WhichOneof("kind") == "usage"]
    assert [(one.turns, one.input_tokens, one.output_tokens) for one in told] == [(1, 7, 30), (2, 12, 32)]
