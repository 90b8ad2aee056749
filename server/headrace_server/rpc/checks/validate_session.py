"""The rules of requests about sessions. A session's settings are those of its turns, so their rules are the same."""

from headrace.v1 import session_pb2, task_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core import limits
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks import validate_job
from headrace_server.rpc.checks.update_masks import SpecFields
from headrace_server.rpc.checks.validate_task import CLAUDE, CLAUDE_LIMITS
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    anything,
    at_least_zero,
    bytes_within,
    check_fields,
    duration,
    enum,
    job_id,
    labels,
    message_of,
    namespace,
    request_id,
    request_of,
    text,
)
from headrace_server.rpc.session_filters import check_session_filter

TOKEN_BYTES_MAX = 1024
FIELDS = SpecFields(
    (
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
    "snapshots": enum(session_pb2.SnapshotPolicy),
}
_SESSION: Rules = {"namespace": namespace, "session_id": job_id}


def session_spec(value: session_pb2.SessionSpec, path: str, violations: Violations) -> None:
    """What the turns of a session have in common."""
    size = value.ByteSize()
    if size > limits.SPEC_BYTES_MAX:
        violations.add(path, f"has {size} bytes when serialised; at most {limits.SPEC_BYTES_MAX} are allowed")
    check_fields(value, SESSION_SPEC, path + ".", violations)


CREATE: Rules = {"namespace": namespace, "request_id": request_id, "spec": session_spec}
UPDATE: Rules = _SESSION | {"update_mask": FIELDS.check_mask, "spec": anything, "etag": _token}
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


check_create = request_of(CREATE)
check_get = request_of(_SESSION, "session_id")
check_list = request_of(LIST)
check_send = request_of(SEND, "session_id", "text")
check_interrupt = request_of(INTERRUPT, "session_id")
check_fork = request_of(FORK, "session_id")
check_close = request_of(CLOSE, "session_id")


def check_update(request: pb.UpdateSessionRequest) -> Refusal | None:
    """A mask, and values of the fields that it names; other fields of the spec are not looked at."""
    violations = Violations()
    if not request.session_id:
        violations.add("session_id", "is required")
    check_fields(request, UPDATE, "", violations)
    mask = request.update_mask
    FIELDS.check_not_empty(mask, violations)
    FIELDS.check_named(request.spec, SESSION_SPEC, mask, violations)
    FIELDS.check_named(request.spec.task, TASK, mask, violations, "task.")
    return violations.refusal()
