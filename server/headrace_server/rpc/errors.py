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
from headrace_server.core.refusal import Reason, Refusal, Violation

DOMAIN = "headrace"
INTERNAL_REASON = "INTERNAL"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
DETAILS_BYTES_MAX = 4096
"""Details travel in trailers: 12,000 bytes sometimes and 17,000 always end as RESOURCE_EXHAUSTED."""
MESSAGE_BYTES_MAX = 512
METADATA_COUNT_MAX = 8
METADATA_BYTES_MAX = 128
VIOLATION_BYTES_MAX = 256
RETRY_AFTER_SECONDS_DEFAULT = 1.0
"""For refusals that promise RetryInfo and know no better time."""

CODES: dict[Reason, StatusCode] = {
    Reason.INVALID_FIELD: StatusCode.INVALID_ARGUMENT,
    Reason.INVALID_TOKEN: StatusCode.INVALID_ARGUMENT,
    Reason.NOT_SUPPORTED: StatusCode.UNIMPLEMENTED,
    Reason.NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.REQUEST_ID_REUSED: StatusCode.ALREADY_EXISTS,
    Reason.UNIQUE_KEY_TAKEN: StatusCode.ALREADY_EXISTS,
    Reason.NAME_TAKEN: StatusCode.ALREADY_EXISTS,
    Reason.JOB_ENDED: StatusCode.FAILED_PRECONDITION,
    Reason.JOB_NOT_ENDED: StatusCode.FAILED_PRECONDITION,
    Reason.STALE_LEASE: StatusCode.ABORTED,
    Reason.STALE_ETAG: StatusCode.ABORTED,
    Reason.QUEUE_FULL: StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_CALLS: StatusCode.RESOURCE_EXHAUSTED,
    Reason.STORE_BUSY: StatusCode.RESOURCE_EXHAUSTED,
    Reason.DISK_FULL: StatusCode.RESOURCE_EXHAUSTED,
    Reason.DRAINING: StatusCode.UNAVAILABLE,
    Reason.STORE_UNAVAILABLE: StatusCode.UNAVAILABLE,
    Reason.UNSUPPORTED_PROTOCOL: StatusCode.FAILED_PRECONDITION,
    Reason.STALE_INCARNATION: StatusCode.ABORTED,
    Reason.EXPIRED: StatusCode.OUT_OF_RANGE,
}


@dataclass(frozen=True, slots=True)
class RpcStatus:
    """How a call ends: what goes into its trailers."""

    code: StatusCode
    message: str
    details: bytes
    """A serialised `google.rpc.Status`, at most DETAILS_BYTES_MAX."""


def refused_status(refusal: Refusal) -> RpcStatus:
    """The status of a call that was refused."""
    code = CODES[refusal.reason]
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
    return error_pb2.ItemError(
        code=code_number(CODES[refusal.reason]),
        reason=error_pb2.ErrorReason.Value(f"ERROR_REASON_{refusal.reason.value}"),
        message=_cut(refusal.message, MESSAGE_BYTES_MAX),
        violations=[
            error_pb2.FieldViolation(field=violation.field, description=violation.description)
            for violation in refusal.violations
        ],
        metadata=refusal.metadata,
    )


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
        yield _retry_info(RETRY_AFTER_SECONDS_DEFAULT if seconds is None else seconds)
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


def _retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    delay = Duration()
    delay.FromMilliseconds(max(0, round(seconds * 1000)))
    return error_details_pb2.RetryInfo(retry_delay=delay)


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
