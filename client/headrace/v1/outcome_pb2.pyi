import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FailureClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_CLASS_UNSPECIFIED: _ClassVar[FailureClass]
    FAILURE_CLASS_OVERLOADED: _ClassVar[FailureClass]
    FAILURE_CLASS_RATE_LIMITED: _ClassVar[FailureClass]
    FAILURE_CLASS_QUOTA: _ClassVar[FailureClass]
    FAILURE_CLASS_BILLING: _ClassVar[FailureClass]
    FAILURE_CLASS_AUTH: _ClassVar[FailureClass]
    FAILURE_CLASS_INVALID: _ClassVar[FailureClass]
    FAILURE_CLASS_CONTEXT: _ClassVar[FailureClass]
    FAILURE_CLASS_TURN_LIMIT: _ClassVar[FailureClass]
    FAILURE_CLASS_BUDGET: _ClassVar[FailureClass]
    FAILURE_CLASS_SCHEMA: _ClassVar[FailureClass]
    FAILURE_CLASS_NETWORK: _ClassVar[FailureClass]
    FAILURE_CLASS_CRASH: _ClassVar[FailureClass]
    FAILURE_CLASS_STALL: _ClassVar[FailureClass]
    FAILURE_CLASS_CANCELLED: _ClassVar[FailureClass]
    FAILURE_CLASS_WORKER_LOST: _ClassVar[FailureClass]
    FAILURE_CLASS_ERROR: _ClassVar[FailureClass]
    FAILURE_CLASS_TIMEOUT: _ClassVar[FailureClass]
    FAILURE_CLASS_POISON: _ClassVar[FailureClass]
    FAILURE_CLASS_UNKNOWN_OUTCOME: _ClassVar[FailureClass]
    FAILURE_CLASS_DEPENDENCY: _ClassVar[FailureClass]
    FAILURE_CLASS_RESOURCE: _ClassVar[FailureClass]

class TimeoutKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIMEOUT_KIND_UNSPECIFIED: _ClassVar[TimeoutKind]
    TIMEOUT_KIND_QUEUE: _ClassVar[TimeoutKind]
    TIMEOUT_KIND_RUN: _ClassVar[TimeoutKind]
    TIMEOUT_KIND_TOTAL: _ClassVar[TimeoutKind]
    TIMEOUT_KIND_SILENCE: _ClassVar[TimeoutKind]
FAILURE_CLASS_UNSPECIFIED: FailureClass
FAILURE_CLASS_OVERLOADED: FailureClass
FAILURE_CLASS_RATE_LIMITED: FailureClass
FAILURE_CLASS_QUOTA: FailureClass
FAILURE_CLASS_BILLING: FailureClass
FAILURE_CLASS_AUTH: FailureClass
FAILURE_CLASS_INVALID: FailureClass
FAILURE_CLASS_CONTEXT: FailureClass
FAILURE_CLASS_TURN_LIMIT: FailureClass
FAILURE_CLASS_BUDGET: FailureClass
FAILURE_CLASS_SCHEMA: FailureClass
FAILURE_CLASS_NETWORK: FailureClass
FAILURE_CLASS_CRASH: FailureClass
FAILURE_CLASS_STALL: FailureClass
FAILURE_CLASS_CANCELLED: FailureClass
FAILURE_CLASS_WORKER_LOST: FailureClass
FAILURE_CLASS_ERROR: FailureClass
FAILURE_CLASS_TIMEOUT: FailureClass
FAILURE_CLASS_POISON: FailureClass
FAILURE_CLASS_UNKNOWN_OUTCOME: FailureClass
FAILURE_CLASS_DEPENDENCY: FailureClass
FAILURE_CLASS_RESOURCE: FailureClass
TIMEOUT_KIND_UNSPECIFIED: TimeoutKind
TIMEOUT_KIND_QUEUE: TimeoutKind
TIMEOUT_KIND_RUN: TimeoutKind
TIMEOUT_KIND_TOTAL: TimeoutKind
TIMEOUT_KIND_SILENCE: TimeoutKind

class Result(_message.Message):
    __slots__ = ("claude", "command", "handler")
    CLAUDE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    claude: ClaudeResult
    command: CommandResult
    handler: HandlerResult
    def __init__(self, claude: _Optional[_Union[ClaudeResult, _Mapping]] = ..., command: _Optional[_Union[CommandResult, _Mapping]] = ..., handler: _Optional[_Union[HandlerResult, _Mapping]] = ...) -> None: ...

class ClaudeResult(_message.Message):
    __slots__ = ("text", "structured_output", "claude_session_id", "model", "permission_denials", "simulated", "cached", "time_to_first_token")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STRUCTURED_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_DENIALS_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    text: str
    structured_output: _struct_pb2.Struct
    claude_session_id: str
    model: str
    permission_denials: int
    simulated: bool
    cached: bool
    time_to_first_token: _duration_pb2.Duration
    def __init__(self, text: _Optional[str] = ..., structured_output: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., claude_session_id: _Optional[str] = ..., model: _Optional[str] = ..., permission_denials: _Optional[int] = ..., simulated: _Optional[bool] = ..., cached: _Optional[bool] = ..., time_to_first_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CommandResult(_message.Message):
    __slots__ = ("exit_code", "stdout_bytes", "stderr_bytes")
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    STDOUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    STDERR_BYTES_FIELD_NUMBER: _ClassVar[int]
    exit_code: int
    stdout_bytes: int
    stderr_bytes: int
    def __init__(self, exit_code: _Optional[int] = ..., stdout_bytes: _Optional[int] = ..., stderr_bytes: _Optional[int] = ...) -> None: ...

class HandlerResult(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _struct_pb2.Value
    def __init__(self, value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("name", "media_type", "size_bytes", "sha256", "cut")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    cut: bool
    def __init__(self, name: _Optional[str] = ..., media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., cut: _Optional[bool] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("failure_class", "message", "sign", "detail", "retry_after", "exit_code", "partial_result", "signal", "timeout")
    FAILURE_CLASS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SIGN_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_RESULT_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    failure_class: FailureClass
    message: str
    sign: str
    detail: str
    retry_after: _duration_pb2.Duration
    exit_code: int
    partial_result: Result
    signal: int
    timeout: TimeoutKind
    def __init__(self, failure_class: _Optional[_Union[FailureClass, str]] = ..., message: _Optional[str] = ..., sign: _Optional[str] = ..., detail: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., exit_code: _Optional[int] = ..., partial_result: _Optional[_Union[Result, _Mapping]] = ..., signal: _Optional[int] = ..., timeout: _Optional[_Union[TimeoutKind, str]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("turns", "input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens", "cost_usd_micros", "api_duration", "tool_calls")
    TURNS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    API_DURATION_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    turns: int
    input_tokens: int
    output_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    cost_usd_micros: int
    api_duration: _duration_pb2.Duration
    tool_calls: int
    def __init__(self, turns: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., cache_creation_tokens: _Optional[int] = ..., cache_read_tokens: _Optional[int] = ..., cost_usd_micros: _Optional[int] = ..., api_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., tool_calls: _Optional[int] = ...) -> None: ...
