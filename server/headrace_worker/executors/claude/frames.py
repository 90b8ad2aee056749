"""What a frame of the CLI means, as a typed event; and partial-message frames as deltas.

Pure: a frame in, messages out. The raw JSON, chunks and order belong to `lane` and `delivery`.
"""

import json
from typing import Any

from google.protobuf import timestamp_pb2

from headrace.v1 import event_pb2, outcome_pb2
from headrace_worker.executors.claude.wire import Body, Frame, clean, integer, mapping, mappings, number, text
from headrace_worker.executors.limits import FRAME_LIST_COUNT_MAX, FRAME_TEXT_BYTES_MAX, FRAME_TYPED_BYTES_MAX

SECONDS_MAX = 253_402_300_799
"""The last second that a timestamp can hold."""


class _Texts:
    """Cuts texts to the limit of one, and of all in a frame together."""

    def __init__(self) -> None:
        self._room_bytes = FRAME_TYPED_BYTES_MAX

    def cut(self, value: str) -> tuple[str, bool]:
        """What is kept of a text, and whether that is less than all."""
        data = value.encode()
        kept = data[: min(FRAME_TEXT_BYTES_MAX, self._room_bytes)]
        self._room_bytes -= len(kept)
        return (value, False) if len(kept) == len(data) else (kept.decode("utf-8", "ignore"), True)

    def only(self, value: str) -> str:
        """What is kept of a text."""
        return self.cut(value)[0]


def typed(frame: Frame, usage: outcome_pb2.Usage | None = None) -> event_pb2.ClaudeFrame:
    """What the frame means, without its raw JSON. `usage`: what the turn used, for a result."""
    event = event_pb2.ClaudeFrame()
    body = frame.body
    texts = _Texts()
    if body is None:
        event.unknown.SetInParent()
        return event
    match frame.type:
        case "system":
            _system(event, body, frame.subtype, texts)
        case "assistant":
            _message(event.assistant, body, texts)
        case "user":
            _message(event.user, body, texts)
        case "result":
            _result(event.turn_result, body, texts, usage)
        case "rate_limit_event":
            _rate_limit(event.rate_limit, mapping(body, "rate_limit_info"), texts)
        case "tool_progress":
            event.tool_progress.tool_use_id = texts.only(text(body, "tool_use_id"))
            event.tool_progress.tool_name = texts.only(text(body, "tool_name"))
            event.tool_progress.elapsed_seconds = number(body, "elapsed_time_seconds")
        case "control_request":
            request = mapping(body, "request")
            event.control.subtype = texts.only(text(request, "subtype"))
            event.control.tool_name = texts.only(text(request, "tool_name"))
        case "control_cancel_request":
            event.control.subtype = "control_cancel_request"
        case other:
            event.unknown.type = texts.only(other)
    return event


def deltas(frame: Frame) -> list[event_pb2.Delta]:
    """What a partial-message frame adds. `message_id` is empty where the frame does not name it."""
    event = mapping(frame.body, "event")
    delta = event_pb2.Delta(
        message_id=text(frame.body, "api_message_id"),
        block_index=integer(event, "index", 31),
        parent_tool_use_id=text(frame.body, "parent_tool_use_id"),
    )
    match text(event, "type"):
        case "content_block_delta":
            return [delta] if _add(delta, mapping(event, "delta")) else []
        case "content_block_start" if name := text(mapping(event, "content_block"), "name"):
            delta.tool_name = name
            return [delta]
    return []


def _add(delta: event_pb2.Delta, added: Body) -> bool:
    match text(added, "type"):
        case "text_delta":
            delta.text = text(added, "text")
        case "thinking_delta":
            delta.thinking = text(added, "thinking")
        case "input_json_delta":
            delta.tool_input_json = text(added, "partial_json")
        case _:
            return False
    return True


def _system(event: event_pb2.ClaudeFrame, body: Body, subtype: str, texts: _Texts) -> None:
    if subtype == "init":
        init = event.init
        init.claude_session_id = texts.only(text(body, "session_id"))
        init.model = texts.only(text(body, "model"))
        init.version = texts.only(text(body, "claude_code_version"))
        init.permission_mode = texts.only(text(body, "permissionMode"))
        init.folder = texts.only(text(body, "cwd"))
        tools = body.get("tools")
        if isinstance(tools, list):
            names = [clean(tool) for tool in tools if isinstance(tool, str)]
            init.tools.extend(texts.only(name) for name in names[:FRAME_LIST_COUNT_MAX])
    elif subtype == "api_retry":
        retry = event.api_retry
        retry.attempt = integer(body, "attempt", 31)
        retry.max_retries = integer(body, "max_retries", 31)
        retry.retry_delay_millis = integer(body, "retry_delay_ms")
        retry.error_status = integer(body, "error_status", 31)
        retry.error = texts.only(text(body, "error"))
    else:
        event.system.subtype = texts.only(subtype)
        line = next((found for name in ("message", "status", "state", "summary") if (found := text(body, name))), "")
        event.system.message = texts.only(line)


def _message(message: event_pb2.ClaudeMessage, body: Body, texts: _Texts) -> None:
    inner = mapping(body, "message")
    message.message_id = texts.only(text(inner, "id"))
    message.model = texts.only(text(inner, "model"))
    message.parent_tool_use_id = texts.only(text(body, "parent_tool_use_id"))
    message.error = texts.only(text(body, "error"))
    content = inner.get("content")
    if isinstance(content, str):
        block = message.blocks.add()
        block.text, block.cut = texts.cut(clean(content))
    for part in mappings(inner, "content")[:FRAME_LIST_COUNT_MAX]:
        _block(message.blocks.add(), part, texts)


def _block(block: event_pb2.ContentBlock, part: Body, texts: _Texts) -> None:
    match text(part, "type"):
        case "text":
            block.text, block.cut = texts.cut(text(part, "text"))
        case "thinking":
            block.thinking, block.cut = texts.cut(text(part, "thinking"))
        case "tool_use":
            block.tool_use.tool_use_id = texts.only(text(part, "id"))
            block.tool_use.name = texts.only(text(part, "name"))
            block.tool_use.input_json, block.cut = texts.cut(clean(json.dumps(part.get("input"), ensure_ascii=False)))
        case "tool_result":
            block.tool_result.tool_use_id = texts.only(text(part, "tool_use_id"))
            block.tool_result.text, block.cut = texts.cut(_result_text(part.get("content")))
            block.tool_result.is_error = part.get("is_error") is True
        case other:
            block.other = texts.only(other)


def _result_text(content: Any) -> str:
    if isinstance(content, str):
        return clean(content)
    if not isinstance(content, list):
        return ""
    return "\n".join(text(part, "text") for part in content if isinstance(part, dict) and text(part, "text"))


def result_text(body: Body) -> str:
    """What a result says: its final text, or its errors."""
    errors = body.get("errors")
    lines = [clean(error) for error in errors if isinstance(error, str)] if isinstance(errors, list) else []
    return text(body, "result") or "\n".join(lines)


def _result(result: event_pb2.ClaudeTurnResult, body: Body, texts: _Texts, usage: outcome_pb2.Usage | None) -> None:
    result.subtype = texts.only(text(body, "subtype"))
    result.is_error = body.get("is_error") is True
    result.text = texts.only(result_text(body))
    result.api_error_status = integer(body, "api_error_status", 31)
    result.terminal_reason = texts.only(text(body, "terminal_reason"))
    if usage is not None:
        result.usage.CopyFrom(usage)


def _rate_limit(limit: event_pb2.ClaudeRateLimit, info: Body, texts: _Texts) -> None:
    limit.status = texts.only(text(info, "status"))
    limit.limit_type = texts.only(text(info, "rateLimitType"))
    seconds = integer(info, "resetsAt")
    if 0 < seconds <= SECONDS_MAX:
        limit.reset_time.CopyFrom(timestamp_pb2.Timestamp(seconds=seconds))
