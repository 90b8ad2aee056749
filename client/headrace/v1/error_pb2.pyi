import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_SUPPORTED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_ID_REUSED: _ClassVar[ErrorReason]
    ERROR_REASON_UNIQUE_KEY_TAKEN: _ClassVar[ErrorReason]
    ERROR_REASON_NAME_TAKEN: _ClassVar[ErrorReason]
    ERROR_REASON_JOB_ENDED: _ClassVar[ErrorReason]
    ERROR_REASON_JOB_NOT_ENDED: _ClassVar[ErrorReason]
    ERROR_REASON_STALE_LEASE: _ClassVar[ErrorReason]
    ERROR_REASON_STALE_ETAG: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_CALLS: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_BUSY: _ClassVar[ErrorReason]
    ERROR_REASON_DISK_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_DRAINING: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_UNSUPPORTED_PROTOCOL: _ClassVar[ErrorReason]
    ERROR_REASON_STALE_INCARNATION: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
    ERROR_REASON_EXPIRED: _ClassVar[ErrorReason]
    ERROR_REASON_UNAUTHENTICATED: _ClassVar[ErrorReason]
    ERROR_REASON_PERMISSION_DENIED: _ClassVar[ErrorReason]
    ERROR_REASON_CONNECTION_REPLACED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_CONNECTED: _ClassVar[ErrorReason]
    ERROR_REASON_JOB_STARTED: _ClassVar[ErrorReason]
    ERROR_REASON_RETRY_LIVE: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_NOT_EMPTY: _ClassVar[ErrorReason]
    ERROR_REASON_DEPENDENCY_REFUSED: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_ENDED: _ClassVar[ErrorReason]
    ERROR_REASON_NO_ACTIVE_TURN: _ClassVar[ErrorReason]
    ERROR_REASON_SESSION_EMPTY: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_MANY_SESSIONS: _ClassVar[ErrorReason]
    ERROR_REASON_INPUT_RESOLVED: _ClassVar[ErrorReason]
    ERROR_REASON_SNAPSHOT_NEEDED: _ClassVar[ErrorReason]
    ERROR_REASON_EXECUTOR_NOT_TAKEN: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_FIELD: ErrorReason
ERROR_REASON_INVALID_TOKEN: ErrorReason
ERROR_REASON_NOT_SUPPORTED: ErrorReason
ERROR_REASON_NOT_FOUND: ErrorReason
ERROR_REASON_REQUEST_ID_REUSED: ErrorReason
ERROR_REASON_UNIQUE_KEY_TAKEN: ErrorReason
ERROR_REASON_NAME_TAKEN: ErrorReason
ERROR_REASON_JOB_ENDED: ErrorReason
ERROR_REASON_JOB_NOT_ENDED: ErrorReason
ERROR_REASON_STALE_LEASE: ErrorReason
ERROR_REASON_STALE_ETAG: ErrorReason
ERROR_REASON_QUEUE_FULL: ErrorReason
ERROR_REASON_TOO_MANY_CALLS: ErrorReason
ERROR_REASON_STORE_BUSY: ErrorReason
ERROR_REASON_DISK_FULL: ErrorReason
ERROR_REASON_DRAINING: ErrorReason
ERROR_REASON_STORE_UNAVAILABLE: ErrorReason
ERROR_REASON_UNSUPPORTED_PROTOCOL: ErrorReason
ERROR_REASON_STALE_INCARNATION: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
ERROR_REASON_EXPIRED: ErrorReason
ERROR_REASON_UNAUTHENTICATED: ErrorReason
ERROR_REASON_PERMISSION_DENIED: ErrorReason
ERROR_REASON_CONNECTION_REPLACED: ErrorReason
ERROR_REASON_NOT_CONNECTED: ErrorReason
ERROR_REASON_JOB_STARTED: ErrorReason
ERROR_REASON_RETRY_LIVE: ErrorReason
ERROR_REASON_QUEUE_NOT_EMPTY: ErrorReason
ERROR_REASON_DEPENDENCY_REFUSED: ErrorReason
ERROR_REASON_SESSION_ENDED: ErrorReason
ERROR_REASON_NO_ACTIVE_TURN: ErrorReason
ERROR_REASON_SESSION_EMPTY: ErrorReason
ERROR_REASON_TOO_MANY_SESSIONS: ErrorReason
ERROR_REASON_INPUT_RESOLVED: ErrorReason
ERROR_REASON_SNAPSHOT_NEEDED: ErrorReason
ERROR_REASON_EXECUTOR_NOT_TAKEN: ErrorReason

class ItemError(_message.Message):
    __slots__ = ("code", "reason", "message", "violations", "metadata", "retry_after", "resource_name")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: ErrorReason
    message: str
    violations: _containers.RepeatedCompositeFieldContainer[FieldViolation]
    metadata: _containers.ScalarMap[str, str]
    retry_after: _duration_pb2.Duration
    resource_name: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[_Union[ErrorReason, str]] = ..., message: _Optional[str] = ..., violations: _Optional[_Iterable[_Union[FieldViolation, _Mapping]]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., resource_name: _Optional[str] = ...) -> None: ...

class FieldViolation(_message.Message):
    __slots__ = ("field", "description")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    field: str
    description: str
    def __init__(self, field: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...
