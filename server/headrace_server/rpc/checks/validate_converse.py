"""Checks of what opens a conversation, and of what is granted on it. What else is asked for on one is checked as the
unary rpc that means the same."""

from headrace.v1 import session_service_pb2 as pb
from headrace_server.core import limits
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    anything,
    between,
    bytes_within,
    check_fields,
    job_id,
    message_of,
    namespace,
    request_id,
)

CURSOR_BYTES_MAX = 1024

_OPEN: Rules = {
    "namespace": namespace,
    "session_id": job_id,
    "create": anything,
    "request_id": request_id,
    "cursor": bytes_within(CURSOR_BYTES_MAX),
    "last_turns": between(0, limits.LAST_TURNS_COUNT_MAX),
    "deltas": anything,
    "without_raw_frames": anything,
    "credit": between(0, limits.CREDIT_EVENTS_COUNT_MAX),
}
_FIRST: Rules = {"number": anything, "open": message_of(_OPEN)}


def check_open(first: pb.ConverseRequest) -> Refusal | None:
    """Why the first message opens nothing. A session that is to be made is checked as CreateSession's."""
    violations = Violations()
    if first.WhichOneof("kind") != "open":
        violations.add("open", "is required in the first message")
        return violations.refusal()
    if first.open.WhichOneof("subject") is None:
        violations.add("open.session_id", "is required, or create")
    check_fields(first, _FIRST, "", violations)
    return violations.refusal()


def check_credit(credit: pb.ConverseCredit) -> Refusal | None:
    """Why so much can't be granted."""
    violations = Violations()
    between(1, limits.CREDIT_EVENTS_COUNT_MAX)(credit.events, "credit.events", violations)
    return violations.refusal()


def not_open_again() -> Violations:
    """The fault of a message that opens what is open."""
    violations = Violations()
    violations.add("open", "is allowed in the first message only")
    return violations
