import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import job_pb2 as _job_pb2
from headrace.v1 import outcome_pb2 as _outcome_pb2
from headrace.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorkerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKER_STATE_UNSPECIFIED: _ClassVar[WorkerState]
    WORKER_STATE_READY: _ClassVar[WorkerState]
    WORKER_STATE_DRAINING: _ClassVar[WorkerState]
    WORKER_STATE_DISCONNECTED: _ClassVar[WorkerState]
    WORKER_STATE_LOST: _ClassVar[WorkerState]
WORKER_STATE_UNSPECIFIED: WorkerState
WORKER_STATE_READY: WorkerState
WORKER_STATE_DRAINING: WorkerState
WORKER_STATE_DISCONNECTED: WorkerState
WORKER_STATE_LOST: WorkerState

class Worker(_message.Message):
    __slots__ = ("id", "incarnation", "state", "capabilities", "slots", "slots_used", "connect_time", "renew_time", "host", "version", "host_resources", "slots_min", "slots_max", "resources_used", "drain", "response_cache")
    ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_USED_FIELD_NUMBER: _ClassVar[int]
    CONNECT_TIME_FIELD_NUMBER: _ClassVar[int]
    RENEW_TIME_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HOST_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_MIN_FIELD_NUMBER: _ClassVar[int]
    SLOTS_MAX_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_USED_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_FIELD_NUMBER: _ClassVar[int]
    id: str
    incarnation: str
    state: WorkerState
    capabilities: WorkerCapabilities
    slots: int
    slots_used: int
    connect_time: _timestamp_pb2.Timestamp
    renew_time: _timestamp_pb2.Timestamp
    host: str
    version: str
    host_resources: HostResources
    slots_min: int
    slots_max: int
    resources_used: _job_pb2.Resources
    drain: WorkerDrain
    response_cache: ResponseCacheState
    def __init__(self, id: _Optional[str] = ..., incarnation: _Optional[str] = ..., state: _Optional[_Union[WorkerState, str]] = ..., capabilities: _Optional[_Union[WorkerCapabilities, _Mapping]] = ..., slots: _Optional[int] = ..., slots_used: _Optional[int] = ..., connect_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., renew_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., host_resources: _Optional[_Union[HostResources, _Mapping]] = ..., slots_min: _Optional[int] = ..., slots_max: _Optional[int] = ..., resources_used: _Optional[_Union[_job_pb2.Resources, _Mapping]] = ..., drain: _Optional[_Union[WorkerDrain, _Mapping]] = ..., response_cache: _Optional[_Union[ResponseCacheState, _Mapping]] = ...) -> None: ...

class ResponseCacheState(_message.Message):
    __slots__ = ("entries", "size_bytes", "hits", "misses", "oldest_time", "newest_time", "stores", "evictions", "shared")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HITS_FIELD_NUMBER: _ClassVar[int]
    MISSES_FIELD_NUMBER: _ClassVar[int]
    OLDEST_TIME_FIELD_NUMBER: _ClassVar[int]
    NEWEST_TIME_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    EVICTIONS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    entries: int
    size_bytes: int
    hits: int
    misses: int
    oldest_time: _timestamp_pb2.Timestamp
    newest_time: _timestamp_pb2.Timestamp
    stores: int
    evictions: int
    shared: int
    def __init__(self, entries: _Optional[int] = ..., size_bytes: _Optional[int] = ..., hits: _Optional[int] = ..., misses: _Optional[int] = ..., oldest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., newest_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stores: _Optional[int] = ..., evictions: _Optional[int] = ..., shared: _Optional[int] = ...) -> None: ...

class ResponseCacheInvalidation(_message.Message):
    __slots__ = ("namespace", "time")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, namespace: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResponseCacheTerms(_message.Message):
    __slots__ = ("grant_time", "invalidate_time")
    GRANT_TIME_FIELD_NUMBER: _ClassVar[int]
    INVALIDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    grant_time: _timestamp_pb2.Timestamp
    invalidate_time: _timestamp_pb2.Timestamp
    def __init__(self, grant_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., invalidate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WorkerDrain(_message.Message):
    __slots__ = ("actor", "time", "return_time", "exit")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    RETURN_TIME_FIELD_NUMBER: _ClassVar[int]
    EXIT_FIELD_NUMBER: _ClassVar[int]
    actor: str
    time: _timestamp_pb2.Timestamp
    return_time: _timestamp_pb2.Timestamp
    exit: bool
    def __init__(self, actor: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., return_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., exit: _Optional[bool] = ...) -> None: ...

class WorkerCapabilities(_message.Message):
    __slots__ = ("executors", "labels", "programs", "handlers", "workspace_roots", "claude_version", "claude_simulated", "environment_profiles", "sessions_max")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PROGRAMS_FIELD_NUMBER: _ClassVar[int]
    HANDLERS_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_ROOTS_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_SIMULATED_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_PROFILES_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_MAX_FIELD_NUMBER: _ClassVar[int]
    executors: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    programs: _containers.RepeatedScalarFieldContainer[str]
    handlers: _containers.RepeatedScalarFieldContainer[str]
    workspace_roots: _containers.RepeatedScalarFieldContainer[str]
    claude_version: str
    claude_simulated: bool
    environment_profiles: _containers.RepeatedScalarFieldContainer[str]
    sessions_max: int
    def __init__(self, executors: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., programs: _Optional[_Iterable[str]] = ..., handlers: _Optional[_Iterable[str]] = ..., workspace_roots: _Optional[_Iterable[str]] = ..., claude_version: _Optional[str] = ..., claude_simulated: _Optional[bool] = ..., environment_profiles: _Optional[_Iterable[str]] = ..., sessions_max: _Optional[int] = ...) -> None: ...

class HostResources(_message.Message):
    __slots__ = ("memory_bytes", "memory_available_bytes", "cpu_millis", "cpu_available_millis")
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_AVAILABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_MILLIS_FIELD_NUMBER: _ClassVar[int]
    CPU_AVAILABLE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    memory_bytes: int
    memory_available_bytes: int
    cpu_millis: int
    cpu_available_millis: int
    def __init__(self, memory_bytes: _Optional[int] = ..., memory_available_bytes: _Optional[int] = ..., cpu_millis: _Optional[int] = ..., cpu_available_millis: _Optional[int] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("job_id", "attempt", "epoch", "generation")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    attempt: int
    epoch: int
    generation: int
    def __init__(self, job_id: _Optional[str] = ..., attempt: _Optional[int] = ..., epoch: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("lease", "namespace", "spec", "resume_claude_session_id", "traceparent", "timeouts", "previous_failure", "dependency_results", "checkpoint", "session", "cost_max_usd_micros", "response_cache")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RESUME_CLAUDE_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FAILURE_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCY_RESULTS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    COST_MAX_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    namespace: str
    spec: _job_pb2.JobSpec
    resume_claude_session_id: str
    traceparent: str
    timeouts: _job_pb2.Timeouts
    previous_failure: _outcome_pb2.Failure
    dependency_results: _containers.RepeatedCompositeFieldContainer[DependencyResult]
    checkpoint: _struct_pb2.Value
    session: SessionTurn
    cost_max_usd_micros: int
    response_cache: ResponseCacheTerms
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., namespace: _Optional[str] = ..., spec: _Optional[_Union[_job_pb2.JobSpec, _Mapping]] = ..., resume_claude_session_id: _Optional[str] = ..., traceparent: _Optional[str] = ..., timeouts: _Optional[_Union[_job_pb2.Timeouts, _Mapping]] = ..., previous_failure: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ..., dependency_results: _Optional[_Iterable[_Union[DependencyResult, _Mapping]]] = ..., checkpoint: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., session: _Optional[_Union[SessionTurn, _Mapping]] = ..., cost_max_usd_micros: _Optional[int] = ..., response_cache: _Optional[_Union[ResponseCacheTerms, _Mapping]] = ...) -> None: ...

class SessionTurn(_message.Message):
    __slots__ = ("session_id", "binding_epoch", "turn", "claude_session_id", "fork_session_id", "fork_claude_session_id", "idle_timeout", "background_number", "snapshots", "snapshot")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    BINDING_EPOCH_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FORK_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FORK_CLAUDE_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    IDLE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    binding_epoch: int
    turn: int
    claude_session_id: str
    fork_session_id: str
    fork_claude_session_id: str
    idle_timeout: _duration_pb2.Duration
    background_number: int
    snapshots: _session_pb2.SnapshotPolicy
    snapshot: _session_pb2.SessionSnapshot
    def __init__(self, session_id: _Optional[str] = ..., binding_epoch: _Optional[int] = ..., turn: _Optional[int] = ..., claude_session_id: _Optional[str] = ..., fork_session_id: _Optional[str] = ..., fork_claude_session_id: _Optional[str] = ..., idle_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., background_number: _Optional[int] = ..., snapshots: _Optional[_Union[_session_pb2.SnapshotPolicy, str]] = ..., snapshot: _Optional[_Union[_session_pb2.SessionSnapshot, _Mapping]] = ...) -> None: ...

class DependencyResult(_message.Message):
    __slots__ = ("job_id", "state", "result", "cut")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    state: _job_pb2.JobState
    result: _outcome_pb2.Result
    cut: bool
    def __init__(self, job_id: _Optional[str] = ..., state: _Optional[_Union[_job_pb2.JobState, str]] = ..., result: _Optional[_Union[_outcome_pb2.Result, _Mapping]] = ..., cut: _Optional[bool] = ...) -> None: ...
