"""A scripted Anthropic Messages API on loopback, for tests that run the real Claude CLI.

A prompt that contains `SCRIPT<<[…]>>` names the answers; each model call about that prompt takes the next one. Owns
HTTP and the shape of the API's answers; it knows nothing of the CLI.

An answer is an object with any of: `text`, `thinking`, `tools` [{name, input}], `usage`, `delta_milliseconds`;
`text_bytes` (a text of that length, in large pieces);
`status` (an HTTP error, with `retry_after` seconds, or with a `usage_limit` {claim, resets_at} that is used up, which
the CLI believes with a login only); `sse_error` (an error event inside the stream); `hang` (says what else is
given, or nothing at all, then stays silent until the server closes); `cut` (the same, then the connection drops).
"""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Json = dict[str, Any]

_OPEN = "SCRIPT<<"
_DELTA_CHARACTERS = 20
_LARGE_TEXT_CHARACTERS = 100_000
_LARGE_DELTA_CHARACTERS = 65_536
_UNIFIED = "anthropic-ratelimit-unified"
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Json


@dataclass(slots=True)
class _State:
    """What the handler threads share, under one lock."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    requests: list[Request] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)

    def record(self, request: Request) -> None:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()

    def next_answer(self, body: Json) -> Json:
        """The answer for this call; what the script does not say is a short text."""
        place, script = _script_of(body)
        if script is None:
            return {"text": "(no script)"}
        key = json.dumps([body.get("metadata"), place, script])
        with self.changed:
            index = self.calls.get(key, 0)
            self.calls[key] = index + 1
        answer = script[index] if index < len(script) else {"text": "(end of script)"}
        return dict(answer)


class ScriptedModelServer:
    """The server, as a context manager: `url` for ANTHROPIC_BASE_URL, `requests` for what was asked."""

    def __init__(self) -> None:
        self._state = _State()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self._state))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        with self._state.changed:
            return list(self._state.requests)

    @property
    def model_calls(self) -> list[Request]:
        return [request for request in self.requests if _is_model_call(request)]

    def wait_model_calls(self, count: int, seconds: float = 20.0) -> list[Request]:
        """Waits until there were `count` model calls; fails the test when the time is over."""
        with self._state.changed:
            enough = self._state.changed.wait_for(
                lambda: sum(map(_is_model_call, self._state.requests)) >= count, seconds
            )
        assert enough, f"fewer than {count} model calls in {seconds} s: {[r.path for r in self.requests]}"
        return self.model_calls

    def __enter__(self) -> "ScriptedModelServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what many tests want."""


def _handler_of(state: _State) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        shared = state

    return Handler


class _Handler(BaseHTTPRequestHandler):
    shared: _State
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Silence: requests are recorded."""

    def do_GET(self) -> None:
        self._receive()
        self._error(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        request = self._receive()
        path = request.path.partition("?")[0]
        if path == "/v1/messages/count_tokens":
            self._json(200, {"input_tokens": len(json.dumps(request.body)) // 4})
        elif path == "/v1/messages":
            self._message(request.body, self.shared.next_answer(request.body))
        else:
            self._error(404)

    def _receive(self) -> Request:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        try:
            body = json.loads(raw) if raw else {}
        except ValueError:
            body = {}
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body if isinstance(body, dict) else {})
        self.shared.record(request)
        return request

    def _message(self, body: Json, answer: Json) -> None:
        if answer.get("hang") and not {"text", "thinking", "tools"} & set(answer):
            self.shared.closing.wait()
            self.close_connection = True
        elif "status" in answer:
            self._error(int(answer["status"]), _headers_of(answer))
        elif not body.get("stream"):
            self._json(200, _whole_message(body, answer))
        else:
            self._stream(_events(body, answer), answer)

    def _stream(self, events: Iterator[Json], answer: Json) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("request-id", "req_scripted")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for event in events:
            if event["type"] == "content_block_stop" and self._broke_off(answer):
                return
            self._event(event)
            if event["type"] == "content_block_delta":
                self.shared.closing.wait(float(answer.get("delta_milliseconds", 0)) / 1000)

    def _broke_off(self, answer: Json) -> bool:
        """True when the stream ends here, before its block is closed."""
        if "sse_error" in answer:
            kind = str(answer["sse_error"])
            self._event({"type": "error", "error": {"type": kind, "message": "scripted"}})
            return True
        if answer.get("hang"):
            self.shared.closing.wait()
            return True
        return bool(answer.get("cut"))

    def _event(self, event: Json) -> None:
        self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        self.wfile.flush()

    def _error(self, status: int, headers: dict[str, str] | None = None) -> None:
        kind = _ERROR_TYPES.get(status, "api_error")
        self._json(status, {"type": "error", "error": {"type": kind, "message": "scripted failure"}}, headers)

    def _json(self, status: int, content: Json, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "request-id": "req_scripted",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _headers_of(answer: Json) -> dict[str, str]:
    """What the service says of its limits beside an error."""
    headers = {"retry-after": str(answer["retry_after"])} if "retry_after" in answer else {}
    if (limit := answer.get("usage_limit")) is None:
        return headers
    said = {
        "status": "rejected",
        "reset": str(limit["resets_at"]),
        "representative-claim": str(limit["claim"]),
        "overage-status": "rejected",
        "overage-disabled-reason": "org_level_disabled",
    }
    return {**headers, **{f"{_UNIFIED}-{name}": value for name, value in said.items()}}


def _is_model_call(request: Request) -> bool:
    return request.method == "POST" and request.path.partition("?")[0] == "/v1/messages"


def _script_of(body: Json) -> tuple[int, list[Json] | None]:
    """The latest script in the conversation and the place of its message."""
    messages = body.get("messages") or []
    for place in range(len(messages) - 1, -1, -1):
        text = _text_of(messages[place]) if messages[place].get("role") == "user" else ""
        start = text.rfind(_OPEN)
        if start >= 0:
            script, _ = json.JSONDecoder().raw_decode(text, start + len(_OPEN))
            return place, script
    return 0, None


def _text_of(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "\n".join(block.get("text", "") for block in blocks if block.get("type") == "text")


def _blocks(answer: Json) -> list[Json]:
    blocks: list[Json] = []
    if "text_bytes" in answer:
        answer = {**answer, "text": "x" * int(answer["text_bytes"])}
    if answer.get("thinking"):
        blocks.append({"type": "thinking", "thinking": answer["thinking"], "signature": "scripted"})
    if "text" in answer or not answer.get("tools"):
        blocks.append({"type": "text", "text": answer.get("text", "")})
    for index, tool in enumerate(answer.get("tools", [])):
        identifier = f"toolu_scripted_{time.monotonic_ns():x}_{index}"
        blocks.append({"type": "tool_use", "id": identifier, "name": tool["name"], "input": tool.get("input", {})})
    return blocks


def _envelope(body: Json, answer: Json) -> Json:
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {
        "id": f"msg_scripted_{time.monotonic_ns():x}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "unknown"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, **answer.get("usage", {})},
    }


def _stop_reason(answer: Json) -> str:
    return "tool_use" if answer.get("tools") else "end_turn"


def _whole_message(body: Json, answer: Json) -> Json:
    return {**_envelope(body, answer), "content": _blocks(answer), "stop_reason": _stop_reason(answer)}


def _events(body: Json, answer: Json) -> Iterator[Json]:
    envelope = _envelope(body, answer)
    yield {"type": "message_start", "message": envelope}
    for index, block in enumerate(_blocks(answer)):
        yield {"type": "content_block_start", "index": index, "content_block": _opened(block)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": envelope["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}


def _opened(block: Json) -> Json:
    match block["type"]:
        case "text":
            return {"type": "text", "text": ""}
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
    return {**block, "input": {}}


def _deltas(block: Json) -> Iterator[Json]:
    match block["type"]:
        case "text":
            for piece in _pieces(block["text"]):
                yield {"type": "text_delta", "text": piece}
        case "thinking":
            for piece in _pieces(block["thinking"]):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case _:
            for piece in _pieces(json.dumps(block["input"])):
                yield {"type": "input_json_delta", "partial_json": piece}


def _pieces(text: str) -> Iterator[str]:
    size = _DELTA_CHARACTERS if len(text) < _LARGE_TEXT_CHARACTERS else _LARGE_DELTA_CHARACTERS
    for start in range(0, len(text), size):
        yield text[start : start + size]
