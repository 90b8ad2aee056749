import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import input_pb2 as _input_pb2
from headrace.v1 import job_pb2 as _job_pb2
from headrace.v1 import outcome_pb2 as _outcome_pb2
from headrace.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SnapshotPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SNAPSHOT_POLICY_UNSPECIFIED: _ClassVar[SnapshotPolicy]
    SNAPSHOT_POLICY_NONE: _ClassVar[SnapshotPolicy]
    SNAPSHOT_POLICY_TRANSCRIPT: _ClassVar[SnapshotPolicy]
    SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE: _ClassVar[SnapshotPolicy]

class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATE_UNSPECIFIED: _ClassVar[SessionState]
    SESSION_STATE_CREATED: _ClassVar[SessionState]
    SESSION_STATE_IDLE: _ClassVar[SessionState]
    SESSION_STATE_QUEUED: _ClassVar[SessionState]
    SESSION_STATE_RUNNING: _ClassVar[SessionState]
    SESSION_STATE_WAITING_INPUT: _ClassVar[SessionState]
    SESSION_STATE_CLOSED: _ClassVar[SessionState]
    SESSION_STATE_LOST: _ClassVar[SessionState]
SNAPSHOT_POLICY_UNSPECIFIED: SnapshotPolicy
SNAPSHOT_POLICY_NONE: SnapshotPolicy
SNAPSHOT_POLICY_TRANSCRIPT: SnapshotPolicy
SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE: SnapshotPolicy
SESSION_STATE_UNSPECIFIED: SessionState
SESSION_STATE_CREATED: SessionState
SESSION_STATE_IDLE: SessionState
SESSION_STATE_QUEUED: SessionState
SESSION_STATE_RUNNING: SessionState
SESSION_STATE_WAITING_INPUT: SessionState
SESSION_STATE_CLOSED: SessionState
SESSION_STATE_LOST: SessionState

class SessionSpec(_message.Message):
    __slots__ = ("queue", "owner", "display_name", "labels", "priority", "task", "retry_policy", "timeouts", "placement", "output_bytes_max", "idle_timeout", "snapshots")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    queue: str
    owner: str
    display_name: str
    labels: _containers.ScalarMap[str, str]
    priority: int
    task: _task_pb2.ClaudeTask
    retry_policy: _job_pb2.RetryPolicy
    timeouts: _job_pb2.Timeouts
    placement: _job_pb2.Placement
    output_bytes_max: int
    idle_timeout: _duration_pb2.Duration
    snapshots: SnapshotPolicy
    def __init__(self, queue: _Optional[str] = ..., owner: _Optional[str] = ..., display_name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., priority: _Optional[int] = ..., task: _Optional[_Union[_task_pb2.ClaudeTask, _Mapping]] = ..., retry_policy: _Optional[_Union[_job_pb2.RetryPolicy, _Mapping]] = ..., timeouts: _Optional[_Union[_job_pb2.Timeouts, _Mapping]] = ..., placement: _Optional[_Union[_job_pb2.Placement, _Mapping]] = ..., output_bytes_max: _Optional[int] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., snapshots: _Optional[_Union[SnapshotPolicy, str]] = ...) -> None: ...

class SessionSnapshot(_message.Message):
    __slots__ = ("job_id", "artifact_name", "size_bytes", "sha256", "turn", "contents", "worker_id", "binding_epoch", "time")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    BINDING_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    artifact_name: str
    size_bytes: int
    sha256: str
    turn: int
    contents: SnapshotPolicy
    worker_id: str
    binding_epoch: int
    time: _timestamp_pb2.Timestamp
    def __init__(self, job_id: _Optional[str] = ..., artifact_name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., turn: _Optional[int] = ..., contents: _Optional[_Union[SnapshotPolicy, str]] = ..., worker_id: _Optional[str] = ..., binding_epoch: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("id", "namespace", "spec", "state", "etag", "create_time", "update_time", "activity_time", "close_time", "close_reason", "turn_count", "pending_turn_count", "active_job_id", "last_job_id", "usage", "run_duration", "claude_session_id", "forked_from_session_id", "fork_session_ids", "binding", "open_inputs", "latest_snapshot")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TIME_FIELD_NUMBER: _ClassVar[int]
    CLOSE_TIME_FIELD_NUMBER: _ClassVar[int]
    CLOSE_REASON_FIELD_NUMBER: _ClassVar[int]
    TURN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PENDING_TURN_COUNT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    RUN_DURATION_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FORKED_FROM_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FORK_SESSION_IDS_FIELD_NUMBER: _ClassVar[int]
    BINDING_FIELD_NUMBER: _ClassVar[int]
    OPEN_INPUTS_FIELD_NUMBER: _ClassVar[int]
    LATEST_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    spec: SessionSpec
    state: SessionState
    etag: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    activity_time: _timestamp_pb2.Timestamp
    close_time: _timestamp_pb2.Timestamp
    close_reason: str
    turn_count: int
    pending_turn_count: int
    active_job_id: str
    last_job_id: str
    usage: _outcome_pb2.Usage
    run_duration: _duration_pb2.Duration
    claude_session_id: str
    forked_from_session_id: str
    fork_session_ids: _containers.RepeatedScalarFieldContainer[str]
    binding: SessionBinding
    open_inputs: _containers.RepeatedCompositeFieldContainer[OpenInput]
    latest_snapshot: SessionSnapshot
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., spec: _Optional[_Union[SessionSpec, _Mapping]] = ..., state: _Optional[_Union[SessionState, str]] = ..., etag: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., activity_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., close_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., close_reason: _Optional[str] = ..., turn_count: _Optional[int] = ..., pending_turn_count: _Optional[int] = ..., active_job_id: _Optional[str] = ..., last_job_id: _Optional[str] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ..., run_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., claude_session_id: _Optional[str] = ..., forked_from_session_id: _Optional[str] = ..., fork_session_ids: _Optional[_Iterable[str]] = ..., binding: _Optional[_Union[SessionBinding, _Mapping]] = ..., open_inputs: _Optional[_Iterable[_Union[OpenInput, _Mapping]]] = ..., latest_snapshot: _Optional[_Union[SessionSnapshot, _Mapping]] = ...) -> None: ...

class SessionBinding(_message.Message):
    __slots__ = ("worker_id", "epoch", "time", "process")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    epoch: int
    time: _timestamp_pb2.Timestamp
    process: SessionProcess
    def __init__(self, worker_id: _Optional[str] = ..., epoch: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., process: _Optional[_Union[SessionProcess, _Mapping]] = ...) -> None: ...

class SessionProcess(_message.Message):
    __slots__ = ("process_id", "memory_bytes", "folder", "start_time", "busy")
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    BUSY_FIELD_NUMBER: _ClassVar[int]
    process_id: int
    memory_bytes: int
    folder: str
    start_time: _timestamp_pb2.Timestamp
    busy: bool
    def __init__(self, process_id: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., folder: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., busy: _Optional[bool] = ...) -> None: ...

class OpenInput(_message.Message):
    __slots__ = ("job_id", "request", "time", "expire_time")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    request: _input_pb2.InputRequest
    time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, job_id: _Optional[str] = ..., request: _Optional[_Union[_input_pb2.InputRequest, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
