"""Turns refusals into gRPC statuses with `google.rpc` details, and into the errors of single items of a bulk call.

The one table from reason to status code is here. Nothing here decides whether something is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from headrace.v1 import error_pb2
from headrace_server.core.refusal import Refusal, Violation

DOMAIN = "headrace"
INTERNAL_REASON = "INTERNAL"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
DETAILS_BYTES_MAX = 4096
"""Details travel in trailers: 12,000 bytes sometimes and 17,000 always end as RESOURCE_EXHAUSTED."""
MESSAGE_BYTES_MAX = 512
METADATA_COUNT_MAX = 8
METADATA_BYTES_MAX = 128
VIOLATION_BYTES_MAX = 256
ITEM_VIOLATIONS_BYTES_MAX = 2048
"""Of one item of a bulk call: with a thousand bad ones, the answer still has to fit into one message."""
RETRY_AFTER_SECONDS_DEFAULT = 1.0
"""For refusals that promise RetryInfo and know no better time."""

CODES: dict[str, StatusCode] = {
    "INVALID_FIELD": StatusCode.INVALID_ARGUMENT,
    "INVALID_TOKEN": StatusCode.INVALID_ARGUMENT,
    "NOT_SUPPORTED": StatusCode.UNIMPLEMENTED,
    "NOT_FOUND": StatusCode.NOT_FOUND,
    "REQUEST_ID_REUSED": StatusCode.ALREADY_EXISTS,
    "UNIQUE_KEY_TAKEN": StatusCode.ALREADY_EXISTS,
    "NAME_TAKEN": StatusCode.ALREADY_EXISTS,
    "JOB_ENDED": StatusCode.FAILED_PRECONDITION,
    "JOB_NOT_ENDED": StatusCode.FAILED_PRECONDITION,
    "STALE_LEASE": StatusCode.ABORTED,
    "STALE_ETAG": StatusCode.ABORTED,
    "QUEUE_FULL": StatusCode.RESOURCE_EXHAUSTED,
    "TOO_MANY_CALLS": StatusCode.RESOURCE_EXHAUSTED,
    "STORE_BUSY": StatusCode.RESOURCE_EXHAUSTED,
    "DISK_FULL": StatusCode.RESOURCE_EXHAUSTED,
    "DRAINING": StatusCode.UNAVAILABLE,
    "STORE_UNAVAILABLE": StatusCode.UNAVAILABLE,
    "UNSUPPORTED_PROTOCOL": StatusCode.FAILED_PRECONDITION,
    "STALE_INCARNATION": StatusCode.ABORTED,
    "EXPIRED": StatusCode.OUT_OF_RANGE,
    "INTERNAL": StatusCode.INTERNAL,
    "UNAUTHENTICATED": StatusCode.UNAUTHENTICATED,
    "PERMISSION_DENIED": StatusCode.PERMISSION_DENIED,
    "CONNECTION_REPLACED": StatusCode.ABORTED,
    "NOT_CONNECTED": StatusCode.FAILED_PRECONDITION,
    "JOB_STARTED": StatusCode.FAILED_PRECONDITION,
    "RETRY_LIVE": StatusCode.ALREADY_EXISTS,
    "QUEUE_NOT_EMPTY": StatusCode.FAILED_PRECONDITION,
    "DEPENDENCY_REFUSED": StatusCode.FAILED_PRECONDITION,
    "SESSION_ENDED": StatusCode.FAILED_PRECONDITION,
    "NO_ACTIVE_TURN": StatusCode.FAILED_PRECONDITION,
    "SESSION_EMPTY": StatusCode.FAILED_PRECONDITION,
    "TOO_MANY_SESSIONS": StatusCode.RESOURCE_EXHAUSTED,
    "INPUT_RESOLVED": StatusCode.FAILED_PRECONDITION,
    "SNAPSHOT_NEEDED": StatusCode.FAILED_PRECONDITION,
    "EXECUTOR_NOT_TAKEN": StatusCode.FAILED_PRECONDITION,
}
"""By the name of the reason, complete over `ErrorReason` of error.proto."""


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """How a call ends: what goes into its trailers."""

    code: StatusCode
    message: str
    details: bytes
    """A serialised `google.rpc.Status`, at most DETAILS_BYTES_MAX."""


def refused_status(refusal: Refusal) -> RpcStatus:
    """The status of a call that was refused."""
    code = CODES[refusal.reason.value]
    message = _cut(refusal.message, MESSAGE_BYTES_MAX)
    info = _error_info(refusal.reason.value, refusal.metadata)
    others = list(_other_details(refusal, code, message))
    status = _pack(code, message, [info, *others])
    if refusal.violations:
        status = _with_violations(code, message, refusal.violations, info, others)
    return RpcStatus(code, message, status.SerializeToString())


def internal_status(error_id: str) -> RpcStatus:
    """The status of a call that failed by our fault: nothing of the exception, and an id to find it in the log by."""
    message = f"internal error {error_id}"
    info = _error_info(INTERNAL_REASON, {"error_id": error_id})
    return RpcStatus(StatusCode.INTERNAL, message, _pack(StatusCode.INTERNAL, message, [info]).SerializeToString())


def to_item_error(refusal: Refusal) -> error_pb2.ItemError:
    """The same refusal as the error of one item of a bulk call."""
    retry_after = refusal.retry_after_seconds
    violations = list(_item_violations(refusal.violations))
    metadata = {key: _cut(value, METADATA_BYTES_MAX) for key, value in refusal.metadata.items()}
    if len(violations) < len(refusal.violations):
        omitted = len(refusal.violations) - len(violations) + int(metadata.get("violations_omitted", 0))
        metadata["violations_omitted"] = str(omitted)
    return error_pb2.ItemError(
        code=code_number(CODES[refusal.reason.value]),
        reason=f"ERROR_REASON_{refusal.reason.value}",
        message=_cut(refusal.message, MESSAGE_BYTES_MAX),
        violations=violations,
        metadata=metadata,
        retry_after=None if retry_after is None else _duration(retry_after),
        resource_name=refusal.resource_name,
    )


def _item_violations(violations: tuple[Violation, ...]) -> Iterator[error_pb2.FieldViolation]:
    room = ITEM_VIOLATIONS_BYTES_MAX
    for violation in violations:
        found = error_pb2.FieldViolation(
            field=_cut(violation.field, VIOLATION_BYTES_MAX),
            description=_cut(violation.description, VIOLATION_BYTES_MAX),
        )
        room -= found.ByteSize() + 4
        if room < 0:
            return
        yield found


def code_number(code: StatusCode) -> int:
    """The number of a status code, as in `google.rpc.Code`."""
    number: int = code.value[0]
    return number


def _error_info(reason: str, metadata: dict[str, str]) -> error_details_pb2.ErrorInfo:
    kept = dict(list(metadata.items())[:METADATA_COUNT_MAX])
    return error_details_pb2.ErrorInfo(
        reason=reason,
        domain=DOMAIN,
        metadata={_cut(key, METADATA_BYTES_MAX): _cut(value, METADATA_BYTES_MAX) for key, value in kept.items()},
    )


def _other_details(refusal: Refusal, code: StatusCode, message: str) -> Iterator[Message]:
    subject = _cut(f"{refusal.resource_type}/{refusal.resource_name}".strip("/"), METADATA_BYTES_MAX)
    if code is StatusCode.RESOURCE_EXHAUSTED:
        violation = error_details_pb2.QuotaFailure.Violation(subject=subject, description=message)
        yield error_details_pb2.QuotaFailure(violations=[violation])
    if code in (StatusCode.RESOURCE_EXHAUSTED, StatusCode.UNAVAILABLE) or refusal.retry_after_seconds is not None:
        seconds = refusal.retry_after_seconds
        delay = _duration(RETRY_AFTER_SECONDS_DEFAULT if seconds is None else seconds)
        yield error_details_pb2.RetryInfo(retry_delay=delay)
    if code is StatusCode.FAILED_PRECONDITION:
        precondition = error_details_pb2.PreconditionFailure.Violation(
            type=refusal.reason.value, subject=subject, description=message
        )
        yield error_details_pb2.PreconditionFailure(violations=[precondition])
    if refusal.resource_type:
        yield error_details_pb2.ResourceInfo(
            resource_type=_cut(refusal.resource_type, METADATA_BYTES_MAX),
            resource_name=_cut(refusal.resource_name, METADATA_BYTES_MAX),
        )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(max(0, round(seconds * 1000)))
    return duration


def _with_violations(
    code: StatusCode,
    message: str,
    violations: tuple[Violation, ...],
    info: error_details_pb2.ErrorInfo,
    others: list[Message],
) -> status_pb2.Status:
    """As many violations as fit; the number of the others stands in the metadata, so that nobody takes them for all."""
    info.metadata["violations_omitted"] = str(len(violations))
    room = DETAILS_BYTES_MAX - _pack(code, message, [info, error_details_pb2.BadRequest(), *others]).ByteSize() - 16
    bad_request = error_details_pb2.BadRequest()
    for violation in violations:
        entry = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(violation.field, VIOLATION_BYTES_MAX),
            description=_cut(violation.description, VIOLATION_BYTES_MAX),
        )
        room -= entry.ByteSize() + 4
        if room < 0:
            break
        bad_request.field_violations.append(entry)
    omitted = len(violations) - len(bad_request.field_violations)
    if omitted:
        info.metadata["violations_omitted"] = str(omitted)
    else:
        del info.metadata["violations_omitted"]
    return _pack(code, message, [info, bad_request, *others])


def _pack(code: StatusCode, message: str, details: list[Message]) -> status_pb2.Status:
    status = status_pb2.Status(code=code_number(code), message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def _cut(text: str, size_bytes: int) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= size_bytes:
        return encoded.decode()
    return encoded[: size_bytes - 3].decode("utf-8", "ignore") + "…"
