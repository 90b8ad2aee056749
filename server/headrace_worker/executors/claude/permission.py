"""The CLI's requests for a permission as a person is shown them, and answers as the CLI expects them. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from headrace.v1 import input_pb2
from headrace_worker.executors.claude.wire import Body, clean, mapping, mappings, text
from headrace_worker.limits import INPUT_JSON_BYTES_MAX

QUESTION_TOOL = "AskUserQuestion"
NAME_CHARACTERS_MAX = 256
DENIED = (
    "This tool is not allowed in this job, and nobody is there to ask. Do not try it again; go on without it, or say "
    "in your answer what could not be done."
)
DENIED_BY_PERSON = "This was not allowed. Do not try it again; go on without it, or ask what to do instead."
_TEXT_CHARACTERS = (32_768, 4_096, 512, 64)
"""To which long texts are cut, one after the other, until the whole is short enough."""


def input_request(request_id: str, request: Body) -> input_pb2.InputRequest:
    """What a person is asked."""
    tool = text(request, "tool_name")
    is_question = tool == QUESTION_TOOL
    return input_pb2.InputRequest(
        request_id=request_id,
        kind=input_pb2.INPUT_KIND_QUESTION if is_question else input_pb2.INPUT_KIND_PERMISSION,
        tool_name="" if is_question else tool[:NAME_CHARACTERS_MAX],
        input_json=shown_json(mapping(request, "input")),
        tool_use_id=text(request, "tool_use_id")[:NAME_CHARACTERS_MAX],
    )


def permission(request: Body, answer: input_pb2.InputAnswer) -> dict[str, Any]:
    """The answer to `can_use_tool`."""
    if not answer.allow:
        denial: dict[str, Any] = {"behavior": "deny", "message": answer.message or DENIED_BY_PERSON}
        return {**denial, "interrupt": True} if answer.interrupt else denial
    return {"behavior": "allow", "updatedInput": _updated(request, answer)}


def shown_json(value: Mapping[str, Any]) -> str:
    """JSON text of bounded size. Where the whole is too long, long texts in it are cut, and say so."""
    whole = _encoded(value)
    size = len(whole.encode())
    shown = whole
    for characters in _TEXT_CHARACTERS:
        if len(shown.encode()) <= INPUT_JSON_BYTES_MAX:
            return shown
        shown = _encoded(_cut(value, characters))
    if len(shown.encode()) <= INPUT_JSON_BYTES_MAX:
        return shown
    return _encoded({"cut": f"the input has {size} bytes; the frame of the request in the log has it all"})


def _updated(request: Body, answer: input_pb2.InputAnswer) -> Mapping[str, Any]:
    given = mapping(request, "input")
    changed = _object(answer.updated_input_json)
    if text(request, "tool_name") != QUESTION_TOOL:
        return given if changed is None else changed
    if changed is not None:
        # The answers alone will do: the CLI wants them beside its questions.
        return {**given, **changed}
    return {**given, "answers": {text(one, "question"): answer.message for one in mappings(given, "questions")}}


def _object(json_text: str) -> dict[str, Any] | None:
    if not json_text:
        return None
    try:
        value = json.loads(json_text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _encoded(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False))


def _cut(value: Any, characters: int) -> Any:
    if isinstance(value, str):
        if len(value) <= characters:
            return value
        return f"{value[:characters]} … cut: {len(value)} characters in all"
    if isinstance(value, list):
        return [_cut(item, characters) for item in value]
    return {name: _cut(item, characters) for name, item in value.items()} if isinstance(value, dict) else value
