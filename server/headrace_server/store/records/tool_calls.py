"""The tool calls of an attempt, read out of its log: which tool, from when to when, and how it ended."""

from dataclasses import dataclass

from headrace.v1 import event_pb2
from headrace_server.core.ids import Micros
from headrace_server.core.log_filter import OutputKind
from headrace_server.store.codec import time_of
from headrace_server.store.engine import Connection

FRAMES_COUNT_MAX = 2000
"""Frames of an attempt that are looked at."""
FRAME_BYTES_MAX = 64 * 1024
"""A larger one is not looked into."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call, by the worker's clock. `end` is zero for one that never returned."""

    name: str
    begin: Micros
    end: Micros = Micros(0)
    failed: bool = False


def tool_calls(connection: Connection, row: int, attempt: int) -> list[ToolCall]:
    """The calls of an attempt, in the order in which they were made."""
    found = connection.rows(
        "SELECT body FROM outputs WHERE job = ? AND attempt = ? AND kind = ? AND length(body) <= ?"
        " ORDER BY sequence LIMIT ?",
        (row, attempt, int(OutputKind.MESSAGES), FRAME_BYTES_MAX, FRAMES_COUNT_MAX),
    )
    calls: dict[str, ToolCall] = {}
    for (body,) in found:
        output = event_pb2.Event.FromString(bytes(body)).output
        time = time_of(output.time)
        for block in output.claude.assistant.blocks:
            if block.HasField("tool_use"):
                calls[block.tool_use.tool_use_id] = ToolCall(block.tool_use.name, time)
        for block in output.claude.user.blocks:
            call = calls.get(block.tool_result.tool_use_id) if block.HasField("tool_result") else None
            if call is not None:
                ended = ToolCall(call.name, call.begin, max(time, call.begin), block.tool_result.is_error)
                calls[block.tool_result.tool_use_id] = ended
    return list(calls.values())
