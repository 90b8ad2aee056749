"""How a failed rpc, or one item of a bulk call, becomes an exception.

A refusal is recognised by `ErrorInfo.reason`, never by its text. No I/O and no retry policy in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from headrace.channel import MESSAGE_BYTES_MAX
from headrace.errors import (
    BY_REASON,
    BY_STATUS,
    CallFailed,
    ConnectionFailed,
    DeadlineExceeded,
    FieldViolation,
    HeadraceError,
    InvalidArgument,
    Refused,
)
from headrace.v1 import error_pb2

DOMAIN = "headrace"
"""Of `ErrorInfo`: the proof that an error came from Headrace and not from a library on the way."""

BY_NUMBER: Mapping[int, grpc.StatusCode] = {int(code.value[0]): code for code in grpc.StatusCode}


class FailedRpc(Protocol):
    """What the errors of `grpc` and `grpc.aio` have in common."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[Any]: ...


def from_rpc(error: FailedRpc, address: str) -> HeadraceError:
    """The exception for a failed rpc to `address`."""
    refused = _refused(error)
    if not refused.reason:
        if refused.status is grpc.StatusCode.UNAVAILABLE:
            return ConnectionFailed(address, _short_cause(refused.message))
        if refused.status is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(f"{address} did not answer in time; whether the call took effect is not known")
    return from_refused(refused)


def check_size(request: Message) -> None:
    """Raises InvalidArgument for more than one call can carry: gRPC's own words for it sound like a full queue."""
    size = request.ByteSize()
    if size > MESSAGE_BYTES_MAX:
        what = f"the request has {size} bytes; at most {MESSAGE_BYTES_MAX} fit into one call"
        raise InvalidArgument(Refused(grpc.StatusCode.INVALID_ARGUMENT, what))


def from_refused(refused: Refused) -> CallFailed:
    """The exception for a refusal: by reason, else by status."""
    kind = BY_REASON.get(refused.reason) or BY_STATUS.get(refused.status, CallFailed)
    return kind(refused)


def from_item(item: error_pb2.ItemError) -> CallFailed:
    """The exception that the single call would have raised for one item of a bulk call."""
    name = error_pb2.ErrorReason.Name(item.reason) if item.reason in error_pb2.ErrorReason.values() else ""
    metadata = dict(item.metadata)
    return from_refused(
        Refused(
            status=BY_NUMBER.get(item.code, grpc.StatusCode.UNKNOWN),
            message=item.message,
            reason=name.removeprefix("ERROR_REASON_").replace("UNSPECIFIED", ""),
            metadata=metadata,
            violations=tuple(FieldViolation(v.field, v.description) for v in item.violations),
            retry_after=_seconds(item.retry_after) if item.HasField("retry_after") else None,
            resource=item.resource_name,
        )
    )


def _refused(error: FailedRpc) -> Refused:
    message = error.details() or ""
    metadata: dict[str, str] = {}
    violations: tuple[FieldViolation, ...] = ()
    preconditions: tuple[str, ...] = ()
    reason, resource, retry_after = "", "", None
    for detail in _details(error):
        if isinstance(detail, error_details_pb2.ErrorInfo) and detail.domain == DOMAIN:
            reason, metadata = detail.reason, dict(detail.metadata)
        elif isinstance(detail, error_details_pb2.BadRequest):
            violations = tuple(FieldViolation(v.field, v.description) for v in detail.field_violations)
        elif isinstance(detail, error_details_pb2.RetryInfo):
            retry_after = _seconds(detail.retry_delay)
        elif isinstance(detail, error_details_pb2.ResourceInfo):
            resource = detail.resource_name
        elif isinstance(detail, error_details_pb2.PreconditionFailure):
            preconditions = tuple(v.description for v in detail.violations)
    return Refused(error.code(), message, reason, metadata, violations, retry_after, resource, preconditions)


_DETAIL_KINDS = (
    error_details_pb2.ErrorInfo,
    error_details_pb2.BadRequest,
    error_details_pb2.RetryInfo,
    error_details_pb2.ResourceInfo,
    error_details_pb2.PreconditionFailure,
)
_DETAILS_KEY = "grpc-status-details-bin"

Detail: TypeAlias = (
    error_details_pb2.ErrorInfo
    | error_details_pb2.BadRequest
    | error_details_pb2.RetryInfo
    | error_details_pb2.ResourceInfo
    | error_details_pb2.PreconditionFailure
)


def _details(error: FailedRpc) -> list[Detail]:
    found: list[Detail] = []
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        for packed in status_pb2.Status.FromString(value).details:
            for kind in _DETAIL_KINDS:
                detail = kind()
                if packed.Unpack(detail):
                    found.append(detail)
    return found


def _seconds(length: Duration) -> float:
    return length.seconds + length.nanos / 1e9


def _short_cause(details: str) -> str:
    """The end of gRPC's nested connection errors, which is the part that a person can use."""
    for known in ("Connection refused", "Connection reset by peer", "Socket closed", "No such file or directory"):
        if known.lower() in details.lower():
            return known.lower()
    if any(sign in details.lower() for sign in ("resolution", "resolving", "name or service not known")):
        return "the host name can't be resolved"
    return details.rsplit(": ", 1)[-1] or "no answer"
