import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PermissionMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERMISSION_MODE_UNSPECIFIED: _ClassVar[PermissionMode]
    PERMISSION_MODE_DEFAULT: _ClassVar[PermissionMode]
    PERMISSION_MODE_ACCEPT_EDITS: _ClassVar[PermissionMode]
    PERMISSION_MODE_PLAN: _ClassVar[PermissionMode]
    PERMISSION_MODE_BYPASS_PERMISSIONS: _ClassVar[PermissionMode]
    PERMISSION_MODE_DONT_ASK: _ClassVar[PermissionMode]

class PermissionPrompts(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERMISSION_PROMPTS_UNSPECIFIED: _ClassVar[PermissionPrompts]
    PERMISSION_PROMPTS_DENY: _ClassVar[PermissionPrompts]
    PERMISSION_PROMPTS_ASK: _ClassVar[PermissionPrompts]

class ResumePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESUME_POLICY_UNSPECIFIED: _ClassVar[ResumePolicy]
    RESUME_POLICY_RESUME_FIRST: _ClassVar[ResumePolicy]
    RESUME_POLICY_FRESH: _ClassVar[ResumePolicy]
    RESUME_POLICY_NEVER: _ClassVar[ResumePolicy]
PERMISSION_MODE_UNSPECIFIED: PermissionMode
PERMISSION_MODE_DEFAULT: PermissionMode
PERMISSION_MODE_ACCEPT_EDITS: PermissionMode
PERMISSION_MODE_PLAN: PermissionMode
PERMISSION_MODE_BYPASS_PERMISSIONS: PermissionMode
PERMISSION_MODE_DONT_ASK: PermissionMode
PERMISSION_PROMPTS_UNSPECIFIED: PermissionPrompts
PERMISSION_PROMPTS_DENY: PermissionPrompts
PERMISSION_PROMPTS_ASK: PermissionPrompts
RESUME_POLICY_UNSPECIFIED: ResumePolicy
RESUME_POLICY_RESUME_FIRST: ResumePolicy
RESUME_POLICY_FRESH: ResumePolicy
RESUME_POLICY_NEVER: ResumePolicy

class ClaudeTask(_message.Message):
    __slots__ = ("prompt", "session_id", "model", "fallback_model", "allowed_tools", "disallowed_tools", "permission_mode", "permission_prompts", "append_system_prompt", "limits", "workspace", "output_schema", "deltas", "resume_policy", "environment_profile", "response_cache")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_MODEL_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_TOOLS_FIELD_NUMBER: _ClassVar[int]
    DISALLOWED_TOOLS_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_MODE_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_PROMPTS_FIELD_NUMBER: _ClassVar[int]
    APPEND_SYSTEM_PROMPT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    RESUME_POLICY_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_PROFILE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    session_id: str
    model: str
    fallback_model: str
    allowed_tools: _containers.RepeatedScalarFieldContainer[str]
    disallowed_tools: _containers.RepeatedScalarFieldContainer[str]
    permission_mode: PermissionMode
    permission_prompts: PermissionPrompts
    append_system_prompt: str
    limits: ClaudeLimits
    workspace: Workspace
    output_schema: _struct_pb2.Struct
    deltas: bool
    resume_policy: ResumePolicy
    environment_profile: str
    response_cache: ResponseCache
    def __init__(self, prompt: _Optional[str] = ..., session_id: _Optional[str] = ..., model: _Optional[str] = ..., fallback_model: _Optional[str] = ..., allowed_tools: _Optional[_Iterable[str]] = ..., disallowed_tools: _Optional[_Iterable[str]] = ..., permission_mode: _Optional[_Union[PermissionMode, str]] = ..., permission_prompts: _Optional[_Union[PermissionPrompts, str]] = ..., append_system_prompt: _Optional[str] = ..., limits: _Optional[_Union[ClaudeLimits, _Mapping]] = ..., workspace: _Optional[_Union[Workspace, _Mapping]] = ..., output_schema: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., deltas: _Optional[bool] = ..., resume_policy: _Optional[_Union[ResumePolicy, str]] = ..., environment_profile: _Optional[str] = ..., response_cache: _Optional[_Union[ResponseCache, _Mapping]] = ...) -> None: ...

class ResponseCache(_message.Message):
    __slots__ = ("ttl", "epoch")
    TTL_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ttl: _duration_pb2.Duration
    epoch: str
    def __init__(self, ttl: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., epoch: _Optional[str] = ...) -> None: ...

class ClaudeLimits(_message.Message):
    __slots__ = ("max_turns", "max_cost_usd_micros")
    MAX_TURNS_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    max_turns: int
    max_cost_usd_micros: int
    def __init__(self, max_turns: _Optional[int] = ..., max_cost_usd_micros: _Optional[int] = ...) -> None: ...

class CommandTask(_message.Message):
    __slots__ = ("program", "arguments", "environment", "workspace", "stdin")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    program: str
    arguments: _containers.RepeatedScalarFieldContainer[str]
    environment: _containers.ScalarMap[str, str]
    workspace: Workspace
    stdin: bytes
    def __init__(self, program: _Optional[str] = ..., arguments: _Optional[_Iterable[str]] = ..., environment: _Optional[_Mapping[str, str]] = ..., workspace: _Optional[_Union[Workspace, _Mapping]] = ..., stdin: _Optional[bytes] = ...) -> None: ...

class HandlerTask(_message.Message):
    __slots__ = ("name", "input")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    name: str
    input: _struct_pb2.Struct
    def __init__(self, name: _Optional[str] = ..., input: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Workspace(_message.Message):
    __slots__ = ("folder", "git_worktree", "empty", "shared")
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    GIT_WORKTREE_FIELD_NUMBER: _ClassVar[int]
    EMPTY_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    folder: str
    git_worktree: GitWorktree
    empty: EmptyWorkspace
    shared: bool
    def __init__(self, folder: _Optional[str] = ..., git_worktree: _Optional[_Union[GitWorktree, _Mapping]] = ..., empty: _Optional[_Union[EmptyWorkspace, _Mapping]] = ..., shared: _Optional[bool] = ...) -> None: ...

class GitWorktree(_message.Message):
    __slots__ = ("repository", "ref", "branch")
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    repository: str
    ref: str
    branch: str
    def __init__(self, repository: _Optional[str] = ..., ref: _Optional[str] = ..., branch: _Optional[str] = ...) -> None: ...

class EmptyWorkspace(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
