import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NamespaceSettings(_message.Message):
    __slots__ = ("namespace", "etag", "claude", "claude_by_queue", "response_cache_epoch", "sessions", "update_time", "actor")
    class ClaudeByQueueEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ClaudeDefaults
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ClaudeDefaults, _Mapping]] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_BY_QUEUE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    etag: str
    claude: ClaudeDefaults
    claude_by_queue: _containers.MessageMap[str, ClaudeDefaults]
    response_cache_epoch: str
    sessions: SessionLimits
    update_time: _timestamp_pb2.Timestamp
    actor: str
    def __init__(self, namespace: _Optional[str] = ..., etag: _Optional[str] = ..., claude: _Optional[_Union[ClaudeDefaults, _Mapping]] = ..., claude_by_queue: _Optional[_Mapping[str, ClaudeDefaults]] = ..., response_cache_epoch: _Optional[str] = ..., sessions: _Optional[_Union[SessionLimits, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ...) -> None: ...

class SessionLimits(_message.Message):
    __slots__ = ("open_max", "open_per_owner_max", "pending_turns_max")
    OPEN_MAX_FIELD_NUMBER: _ClassVar[int]
    OPEN_PER_OWNER_MAX_FIELD_NUMBER: _ClassVar[int]
    PENDING_TURNS_MAX_FIELD_NUMBER: _ClassVar[int]
    open_max: int
    open_per_owner_max: int
    pending_turns_max: int
    def __init__(self, open_max: _Optional[int] = ..., open_per_owner_max: _Optional[int] = ..., pending_turns_max: _Optional[int] = ...) -> None: ...

class ClaudeDefaults(_message.Message):
    __slots__ = ("model", "fallback_model", "allowed_tools", "disallowed_tools", "permission_mode", "permission_prompts", "append_system_prompt", "limits", "environment_profile", "idle_timeout")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_MODEL_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TOOLS_FIELD_NUMBER: _ClassVar[int]
    DISALLOWED_TOOLS_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_MODE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    APPEND_SYSTEM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_PROFILE_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    model: str
    fallback_model: str
    allowed_tools: _containers.RepeatedScalarFieldContainer[str]
    disallowed_tools: _containers.RepeatedScalarFieldContainer[str]
    permission_mode: _task_pb2.PermissionMode
    permission_prompts: _task_pb2.PermissionPrompts
    append_system_prompt: str
    limits: _task_pb2.ClaudeLimits
    environment_profile: str
    idle_timeout: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., fallback_model: _Optional[str] = ..., allowed_tools: _Optional[_Iterable[str]] = ..., disallowed_tools: _Optional[_Iterable[str]] = ..., permission_mode: _Optional[_Union[_task_pb2.PermissionMode, str]] = ..., permission_prompts: _Optional[_Union[_task_pb2.PermissionPrompts, str]] = ..., append_system_prompt: _Optional[str] = ..., limits: _Optional[_Union[_task_pb2.ClaudeLimits, _Mapping]] = ..., environment_profile: _Optional[str] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
