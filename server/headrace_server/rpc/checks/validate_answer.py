"""The rules of an answer to what a session asks of a person."""

import json
from typing import Any, NoReturn

from headrace.v1 import input_pb2, session_service_pb2
from headrace_server.core import limits
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    anything,
    bytes_within,
    check_fields,
    job_id,
    message_of,
    namespace,
)

_json_bytes = bytes_within(limits.UPDATED_INPUT_BYTES_MAX)


def input_name(value: str, path: str, violations: Violations) -> None:
    """The id of a request, as its worker chose it."""
    if len(value) > limits.KEY_CHARACTERS_MAX:
        violations.add(path, f"has {len(value)} characters; at most {limits.KEY_CHARACTERS_MAX} are allowed")


def json_object(value: str, path: str, violations: Violations) -> None:
    """JSON text of an object, bounded."""
    before = len(violations.found)
    _json_bytes(value, path, violations)
    if len(violations.found) > before:
        return
    try:
        parsed: Any = json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        violations.add(path, f"is not JSON: {str(error)[:100]}")
        return
    if not isinstance(parsed, dict):
        violations.add(path, "has to be a JSON object")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


ANSWER: Rules = {
    "request_id": input_name,
    "allow": anything,
    "message": bytes_within(limits.INPUT_MESSAGE_BYTES_MAX),
    "updated_input_json": json_object,
    "interrupt": anything,
}
ANSWER_REQUEST: Rules = {
    "namespace": namespace,
    "job_id": job_id,
    "session_id": job_id,
    "answer": message_of(ANSWER),
}


def check_answer(request: session_service_pb2.AnswerRequestRequest) -> Refusal | None:
    """Whose request it is, and an answer that says one thing."""
    violations = Violations()
    if not (request.job_id or request.session_id):
        violations.add("job_id", "is required, or session_id")
    answer_faults(request.answer, "answer.", violations)
    check_fields(request, ANSWER_REQUEST, "", violations)
    return violations.refusal()


def answer_faults(answer: input_pb2.InputAnswer, prefix: str, violations: Violations) -> None:
    """What is wrong with an answer beyond its single fields."""
    if not answer.request_id:
        violations.add(f"{prefix}request_id", "is required")
    if answer.allow and answer.interrupt:
        violations.add(f"{prefix}interrupt", "goes with a denial only")
    if answer.updated_input_json and not answer.allow:
        violations.add(f"{prefix}updated_input_json", "goes with allow only")
