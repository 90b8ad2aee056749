"""The rules of requests about sessions. A session's settings are those of its turns, so their rules are the same."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from headrace.v1 import session_pb2, task_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core import limits
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks import not_supported, validate_job
from headrace_server.rpc.checks.not_supported import SESSION_TABLE
from headrace_server.rpc.checks.validate_task import CLAUDE, CLAUDE_LIMITS
from headrace_server.rpc.checks.violations import (
    FieldCheck,
    Rules,
    Violations,
    anything,
    at_least_zero,
    bytes_within,
    check_fields,
    duration,
    job_id,
    labels,
    message_of,
    namespace,
    request_id,
    text,
)
from headrace_server.rpc.session_filters import check_session_filter

TOKEN_BYTES_MAX = 1024
UPDATABLE = (
    "display_name",
    "labels",
    "priority",
    "idle_timeout",
    "timeouts",
    "retry_policy",
    "task.model",
    "task.fallback_model",
    "task.permission_mode",
    "task.permission_prompts",
    "task.allowed_tools",
    "task.disallowed_tools",
    "task.append_system_prompt",
    "task.limits",
)
_token = bytes_within(TOKEN_BYTES_MAX)
_reason = text(limits.REASON_CHARACTERS_MAX)


def _said_by_its_turns(value: str, path: str, violations: Violations) -> None:
    violations.add(path, "has to be empty: each turn has its own")


def _of_a_question_alone(value: task_pb2.ResponseCache, path: str, violations: Violations) -> None:
    violations.add(path, "has to be left out: the answer of a turn hangs on the turns before")


TASK: Rules = CLAUDE | {
    "prompt": _said_by_its_turns,
    "session_id": _said_by_its_turns,
    "response_cache": _of_a_question_alone,
    "limits": message_of(CLAUDE_LIMITS),
}
SESSION_SPEC: Rules = {
    **{
        name: validate_job.SPEC[name]
        for name in (
            "queue",
            "owner",
            "display_name",
            "labels",
            "priority",
            "retry_policy",
            "timeouts",
            "placement",
            "output_bytes_max",
        )
    },
    "task": message_of(TASK),
    "idle_timeout": duration,
}
_SESSION: Rules = {"namespace": namespace, "session_id": job_id}


def session_spec(value: session_pb2.SessionSpec, path: str, violations: Violations) -> None:
    """What the turns of a session have in common."""
    size = value.ByteSize()
    if size > limits.SPEC_BYTES_MAX:
        violations.add(path, f"has {size} bytes when serialised; at most {limits.SPEC_BYTES_MAX} are allowed")
    check_fields(value, SESSION_SPEC, path + ".", violations)


def update_mask(value: FieldMask, path: str, violations: Violations) -> None:
    """Names fields that can be changed, each once."""
    for name in value.paths:
        if name not in UPDATABLE:
            violations.add(path, f"names {name[:64]!r}; only {', '.join(UPDATABLE)} can be changed")
    if len(set(value.paths)) < len(value.paths):
        violations.add(path, "names a field twice")


CREATE: Rules = {"namespace": namespace, "request_id": request_id, "spec": session_spec}
UPDATE: Rules = _SESSION | {"update_mask": update_mask, "spec": anything, "etag": _token}
SEND: Rules = _SESSION | {"request_id": request_id, "text": bytes_within(limits.PROMPT_BYTES_MAX)}
INTERRUPT: Rules = _SESSION | {"reason": _reason}
FORK: Rules = _SESSION | {
    "request_id": request_id,
    "display_name": text(limits.DISPLAY_NAME_CHARACTERS_MAX),
    "labels": labels,
}
CLOSE: Rules = _SESSION | {"reason": _reason, "finish_turn": anything}
LIST: Rules = {
    "namespace": namespace,
    "filter": check_session_filter,
    "page_size": at_least_zero,
    "page_token": _token,
}


def check_create(request: pb.CreateSessionRequest) -> Refusal | None:
    """A session without settings will do: each has a default."""
    return _faults(request, CREATE) or not_supported.refuse_first(SESSION_TABLE.find(request.spec, "spec."))


def check_get(request: pb.GetSessionRequest) -> Refusal | None:
    """Which one."""
    return _faults(request, _SESSION, "session_id")


def check_list(request: pb.ListSessionsRequest) -> Refusal | None:
    """A filter that can be read."""
    return _faults(request, LIST)


def check_send(request: pb.SendMessageRequest) -> Refusal | None:
    """Something has to be said."""
    return _faults(request, SEND, "session_id", "text")


def check_interrupt(request: pb.InterruptSessionRequest) -> Refusal | None:
    """Which one, and why."""
    return _faults(request, INTERRUPT, "session_id")


def check_fork(request: pb.ForkSessionRequest) -> Refusal | None:
    """Which one, and what is new."""
    return _faults(request, FORK, "session_id")


def check_close(request: pb.CloseSessionRequest) -> Refusal | None:
    """Which one, and why."""
    return _faults(request, CLOSE, "session_id")


def check_update(request: pb.UpdateSessionRequest) -> Refusal | None:
    """A mask, and values of the fields that it names; other fields of the spec are not looked at."""
    violations = Violations()
    if not request.session_id:
        violations.add("session_id", "is required")
    check_fields(request, UPDATE, "", violations)
    paths = request.update_mask.paths
    if not paths:
        violations.add("update_mask", f"has to name at least one of {', '.join(UPDATABLE)}")
    for message, prefix, rules in ((request.spec, "", SESSION_SPEC), (request.spec.task, "task.", TASK)):
        _check_named(message, prefix, rules, paths, violations)
    return violations.refusal() or not_supported.refuse_first(
        found for found in SESSION_TABLE.find(request.spec, "spec.") if _is_named(found[0], paths)
    )


def _check_named(message: Any, prefix: str, rules: Rules, paths: Sequence[str], violations: Violations) -> None:
    for field, value in message.ListFields():
        name = prefix + field.name
        check: FieldCheck = rules[field.name]
        if name in paths and name in UPDATABLE:
            check(value, f"spec.{name}", violations)


def _is_named(path: str, paths: Sequence[str]) -> bool:
    name = path.removeprefix("spec.")
    return any(name == one or name.startswith(f"{one}.") for one in paths)


def _faults(request: Any, rules: Rules, *required: str) -> Refusal | None:
    violations = Violations()
    for name in required:
        if not getattr(request, name):
            violations.add(name, "is required")
    check_fields(request, rules, "", violations)
    return violations.refusal()
