import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import outcome_pb2 as _outcome_pb2
from headrace.v1 import task_pb2 as _task_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DependencyCondition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPENDENCY_CONDITION_UNSPECIFIED: _ClassVar[DependencyCondition]
    DEPENDENCY_CONDITION_ALL_SUCCEEDED: _ClassVar[DependencyCondition]
    DEPENDENCY_CONDITION_ALL_ENDED: _ClassVar[DependencyCondition]
    DEPENDENCY_CONDITION_ANY_SUCCEEDED: _ClassVar[DependencyCondition]

class DependencyFailureAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPENDENCY_FAILURE_ACTION_UNSPECIFIED: _ClassVar[DependencyFailureAction]
    DEPENDENCY_FAILURE_ACTION_SKIP: _ClassVar[DependencyFailureAction]
    DEPENDENCY_FAILURE_ACTION_FAIL: _ClassVar[DependencyFailureAction]

class DependencyCancelAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEPENDENCY_CANCEL_ACTION_UNSPECIFIED: _ClassVar[DependencyCancelAction]
    DEPENDENCY_CANCEL_ACTION_EVALUATE: _ClassVar[DependencyCancelAction]
    DEPENDENCY_CANCEL_ACTION_CANCEL: _ClassVar[DependencyCancelAction]

class UniqueKeyConflict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNIQUE_KEY_CONFLICT_UNSPECIFIED: _ClassVar[UniqueKeyConflict]
    UNIQUE_KEY_CONFLICT_REFUSE: _ClassVar[UniqueKeyConflict]
    UNIQUE_KEY_CONFLICT_RETURN_EXISTING: _ClassVar[UniqueKeyConflict]
    UNIQUE_KEY_CONFLICT_REPLACE_WAITING: _ClassVar[UniqueKeyConflict]

class JobView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_VIEW_UNSPECIFIED: _ClassVar[JobView]
    JOB_VIEW_BASIC: _ClassVar[JobView]
    JOB_VIEW_FULL: _ClassVar[JobView]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_SCHEDULED: _ClassVar[JobState]
    JOB_STATE_BLOCKED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_ASSIGNED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_WAITING_INPUT: _ClassVar[JobState]
    JOB_STATE_CANCELLING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
    JOB_STATE_EXPIRED: _ClassVar[JobState]
    JOB_STATE_SKIPPED: _ClassVar[JobState]

class CancelCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_CAUSE_UNSPECIFIED: _ClassVar[CancelCause]
    CANCEL_CAUSE_REQUESTED: _ClassVar[CancelCause]
    CANCEL_CAUSE_SUPERSEDED: _ClassVar[CancelCause]
    CANCEL_CAUSE_DEPENDENCY: _ClassVar[CancelCause]
    CANCEL_CAUSE_OVERLAP: _ClassVar[CancelCause]
    CANCEL_CAUSE_PURGED: _ClassVar[CancelCause]
    CANCEL_CAUSE_INTERRUPTED: _ClassVar[CancelCause]
    CANCEL_CAUSE_SESSION_CLOSED: _ClassVar[CancelCause]

class WaitCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WAIT_CAUSE_UNSPECIFIED: _ClassVar[WaitCause]
    WAIT_CAUSE_QUEUE_PAUSED: _ClassVar[WaitCause]
    WAIT_CAUSE_TIME: _ClassVar[WaitCause]
    WAIT_CAUSE_DEPENDENCY: _ClassVar[WaitCause]
    WAIT_CAUSE_RANK: _ClassVar[WaitCause]
    WAIT_CAUSE_CONCURRENCY: _ClassVar[WaitCause]
    WAIT_CAUSE_RATE: _ClassVar[WaitCause]
    WAIT_CAUSE_NO_WORKER: _ClassVar[WaitCause]
    WAIT_CAUSE_NO_ELIGIBLE_WORKER: _ClassVar[WaitCause]
    WAIT_CAUSE_NO_FREE_SLOT: _ClassVar[WaitCause]
    WAIT_CAUSE_CAPACITY_DOMAIN: _ClassVar[WaitCause]
    WAIT_CAUSE_BUDGET: _ClassVar[WaitCause]
    WAIT_CAUSE_DRAINING: _ClassVar[WaitCause]
    WAIT_CAUSE_UNIQUE_KEY: _ClassVar[WaitCause]
    WAIT_CAUSE_SESSION: _ClassVar[WaitCause]
    WAIT_CAUSE_HOLDER: _ClassVar[WaitCause]
    WAIT_CAUSE_QUEUE_DRAINING: _ClassVar[WaitCause]
    WAIT_CAUSE_FOLDER: _ClassVar[WaitCause]

class AttemptOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTEMPT_OUTCOME_UNSPECIFIED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_SUCCEEDED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_FAILED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_CANCELLED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_LOST: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_RELEASED: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_HANDED_BACK: _ClassVar[AttemptOutcome]
    ATTEMPT_OUTCOME_SNOOZED: _ClassVar[AttemptOutcome]

class RetryAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RETRY_ACTION_UNSPECIFIED: _ClassVar[RetryAction]
    RETRY_ACTION_RETRY: _ClassVar[RetryAction]
    RETRY_ACTION_RESUME: _ClassVar[RetryAction]
    RETRY_ACTION_FAIL: _ClassVar[RetryAction]
    RETRY_ACTION_WAIT_QUOTA: _ClassVar[RetryAction]
DEPENDENCY_CONDITION_UNSPECIFIED: DependencyCondition
DEPENDENCY_CONDITION_ALL_SUCCEEDED: DependencyCondition
DEPENDENCY_CONDITION_ALL_ENDED: DependencyCondition
DEPENDENCY_CONDITION_ANY_SUCCEEDED: DependencyCondition
DEPENDENCY_FAILURE_ACTION_UNSPECIFIED: DependencyFailureAction
DEPENDENCY_FAILURE_ACTION_SKIP: DependencyFailureAction
DEPENDENCY_FAILURE_ACTION_FAIL: DependencyFailureAction
DEPENDENCY_CANCEL_ACTION_UNSPECIFIED: DependencyCancelAction
DEPENDENCY_CANCEL_ACTION_EVALUATE: DependencyCancelAction
DEPENDENCY_CANCEL_ACTION_CANCEL: DependencyCancelAction
UNIQUE_KEY_CONFLICT_UNSPECIFIED: UniqueKeyConflict
UNIQUE_KEY_CONFLICT_REFUSE: UniqueKeyConflict
UNIQUE_KEY_CONFLICT_RETURN_EXISTING: UniqueKeyConflict
UNIQUE_KEY_CONFLICT_REPLACE_WAITING: UniqueKeyConflict
JOB_VIEW_UNSPECIFIED: JobView
JOB_VIEW_BASIC: JobView
JOB_VIEW_FULL: JobView
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_SCHEDULED: JobState
JOB_STATE_BLOCKED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_ASSIGNED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_WAITING_INPUT: JobState
JOB_STATE_CANCELLING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState
JOB_STATE_EXPIRED: JobState
JOB_STATE_SKIPPED: JobState
CANCEL_CAUSE_UNSPECIFIED: CancelCause
CANCEL_CAUSE_REQUESTED: CancelCause
CANCEL_CAUSE_SUPERSEDED: CancelCause
CANCEL_CAUSE_DEPENDENCY: CancelCause
CANCEL_CAUSE_OVERLAP: CancelCause
CANCEL_CAUSE_PURGED: CancelCause
CANCEL_CAUSE_INTERRUPTED: CancelCause
CANCEL_CAUSE_SESSION_CLOSED: CancelCause
WAIT_CAUSE_UNSPECIFIED: WaitCause
WAIT_CAUSE_QUEUE_PAUSED: WaitCause
WAIT_CAUSE_TIME: WaitCause
WAIT_CAUSE_DEPENDENCY: WaitCause
WAIT_CAUSE_RANK: WaitCause
WAIT_CAUSE_CONCURRENCY: WaitCause
WAIT_CAUSE_RATE: WaitCause
WAIT_CAUSE_NO_WORKER: WaitCause
WAIT_CAUSE_NO_ELIGIBLE_WORKER: WaitCause
WAIT_CAUSE_NO_FREE_SLOT: WaitCause
WAIT_CAUSE_CAPACITY_DOMAIN: WaitCause
WAIT_CAUSE_BUDGET: WaitCause
WAIT_CAUSE_DRAINING: WaitCause
WAIT_CAUSE_UNIQUE_KEY: WaitCause
WAIT_CAUSE_SESSION: WaitCause
WAIT_CAUSE_HOLDER: WaitCause
WAIT_CAUSE_QUEUE_DRAINING: WaitCause
WAIT_CAUSE_FOLDER: WaitCause
ATTEMPT_OUTCOME_UNSPECIFIED: AttemptOutcome
ATTEMPT_OUTCOME_SUCCEEDED: AttemptOutcome
ATTEMPT_OUTCOME_FAILED: AttemptOutcome
ATTEMPT_OUTCOME_CANCELLED: AttemptOutcome
ATTEMPT_OUTCOME_LOST: AttemptOutcome
ATTEMPT_OUTCOME_RELEASED: AttemptOutcome
ATTEMPT_OUTCOME_HANDED_BACK: AttemptOutcome
ATTEMPT_OUTCOME_SNOOZED: AttemptOutcome
RETRY_ACTION_UNSPECIFIED: RetryAction
RETRY_ACTION_RETRY: RetryAction
RETRY_ACTION_RESUME: RetryAction
RETRY_ACTION_FAIL: RetryAction
RETRY_ACTION_WAIT_QUOTA: RetryAction

class JobSpec(_message.Message):
    __slots__ = ("queue", "owner", "display_name", "labels", "priority", "schedule_time", "retry_policy", "timeouts", "dependencies", "dependency_condition", "dependency_failure_action", "dependency_cancel_action", "unique_key", "concurrency_key", "placement", "output_bytes_max", "claude", "command", "handler")
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
    SCHEDULE_TIME_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCY_CONDITION_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCY_FAILURE_ACTION_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCY_CANCEL_ACTION_FIELD_NUMBER: _ClassVar[int]
    UNIQUE_KEY_FIELD_NUMBER: _ClassVar[int]
    CONCURRENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    HANDLER_FIELD_NUMBER: _ClassVar[int]
    queue: str
    owner: str
    display_name: str
    labels: _containers.ScalarMap[str, str]
    priority: int
    schedule_time: _timestamp_pb2.Timestamp
    retry_policy: RetryPolicy
    timeouts: Timeouts
    dependencies: _containers.RepeatedCompositeFieldContainer[Dependency]
    dependency_condition: DependencyCondition
    dependency_failure_action: DependencyFailureAction
    dependency_cancel_action: DependencyCancelAction
    unique_key: UniqueKey
    concurrency_key: str
    placement: Placement
    output_bytes_max: int
    claude: _task_pb2.ClaudeTask
    command: _task_pb2.CommandTask
    handler: _task_pb2.HandlerTask
    def __init__(self, queue: _Optional[str] = ..., owner: _Optional[str] = ..., display_name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., priority: _Optional[int] = ..., schedule_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retry_policy: _Optional[_Union[RetryPolicy, _Mapping]] = ..., timeouts: _Optional[_Union[Timeouts, _Mapping]] = ..., dependencies: _Optional[_Iterable[_Union[Dependency, _Mapping]]] = ..., dependency_condition: _Optional[_Union[DependencyCondition, str]] = ..., dependency_failure_action: _Optional[_Union[DependencyFailureAction, str]] = ..., dependency_cancel_action: _Optional[_Union[DependencyCancelAction, str]] = ..., unique_key: _Optional[_Union[UniqueKey, _Mapping]] = ..., concurrency_key: _Optional[str] = ..., placement: _Optional[_Union[Placement, _Mapping]] = ..., output_bytes_max: _Optional[int] = ..., claude: _Optional[_Union[_task_pb2.ClaudeTask, _Mapping]] = ..., command: _Optional[_Union[_task_pb2.CommandTask, _Mapping]] = ..., handler: _Optional[_Union[_task_pb2.HandlerTask, _Mapping]] = ...) -> None: ...

class RetryPolicy(_message.Message):
    __slots__ = ("max_attempts", "initial_backoff", "max_backoff", "backoff_multiplier", "max_snoozes")
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    INITIAL_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    MAX_BACKOFF_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    MAX_SNOOZES_FIELD_NUMBER: _ClassVar[int]
    max_attempts: int
    initial_backoff: _duration_pb2.Duration
    max_backoff: _duration_pb2.Duration
    backoff_multiplier: float
    max_snoozes: int
    def __init__(self, max_attempts: _Optional[int] = ..., initial_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_backoff: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., backoff_multiplier: _Optional[float] = ..., max_snoozes: _Optional[int] = ...) -> None: ...

class Timeouts(_message.Message):
    __slots__ = ("queue_timeout", "run_timeout", "total_timeout", "silence_timeout", "input_timeout", "cancel_grace")
    QUEUE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RUN_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SILENCE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    INPUT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_GRACE_FIELD_NUMBER: _ClassVar[int]
    queue_timeout: _duration_pb2.Duration
    run_timeout: _duration_pb2.Duration
    total_timeout: _duration_pb2.Duration
    silence_timeout: _duration_pb2.Duration
    input_timeout: _duration_pb2.Duration
    cancel_grace: _duration_pb2.Duration
    def __init__(self, queue_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., run_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., silence_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., input_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cancel_grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Dependency(_message.Message):
    __slots__ = ("job_id", "ref")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    ref: str
    def __init__(self, job_id: _Optional[str] = ..., ref: _Optional[str] = ...) -> None: ...

class UniqueKey(_message.Message):
    __slots__ = ("key", "on_conflict")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ON_CONFLICT_FIELD_NUMBER: _ClassVar[int]
    key: str
    on_conflict: UniqueKeyConflict
    def __init__(self, key: _Optional[str] = ..., on_conflict: _Optional[_Union[UniqueKeyConflict, str]] = ...) -> None: ...

class Placement(_message.Message):
    __slots__ = ("required_labels", "preferred_labels", "resources")
    class RequiredLabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class PreferredLabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    REQUIRED_LABELS_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_LABELS_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    required_labels: _containers.ScalarMap[str, str]
    preferred_labels: _containers.ScalarMap[str, str]
    resources: Resources
    def __init__(self, required_labels: _Optional[_Mapping[str, str]] = ..., preferred_labels: _Optional[_Mapping[str, str]] = ..., resources: _Optional[_Union[Resources, _Mapping]] = ...) -> None: ...

class Resources(_message.Message):
    __slots__ = ("slots", "memory_bytes", "cpu_millis")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_MILLIS_FIELD_NUMBER: _ClassVar[int]
    slots: int
    memory_bytes: int
    cpu_millis: int
    def __init__(self, slots: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., cpu_millis: _Optional[int] = ...) -> None: ...

class StateCount(_message.Message):
    __slots__ = ("state", "count")
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    state: JobState
    count: int
    def __init__(self, state: _Optional[_Union[JobState, str]] = ..., count: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "namespace", "spec", "state", "etag", "create_time", "update_time", "start_time", "end_time", "due_time", "attempt_count", "failure_count", "loss_count", "epoch", "worker_id", "last_sequence", "cancellation", "result", "failure", "usage", "progress", "output_bytes", "output_truncated", "simulated", "dirty", "queue_position", "wait_reasons", "attempts", "retry_of_job_id", "claude_session_id", "snooze_count", "schedule_name", "nominal_time", "catch_up", "checkpoint", "dependent_job_ids", "dependency_states", "start_deadline_time", "end_deadline_time", "session_id", "turn", "background", "open_inputs", "artifacts")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOSS_COUNT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CANCELLATION_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    DIRTY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    WAIT_REASONS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SNOOZE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_NAME_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_TIME_FIELD_NUMBER: _ClassVar[int]
    CATCH_UP_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    DEPENDENT_JOB_IDS_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCY_STATES_FIELD_NUMBER: _ClassVar[int]
    START_DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    OPEN_INPUTS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    namespace: str
    spec: JobSpec
    state: JobState
    etag: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    due_time: _timestamp_pb2.Timestamp
    attempt_count: int
    failure_count: int
    loss_count: int
    epoch: int
    worker_id: str
    last_sequence: int
    cancellation: Cancellation
    result: _outcome_pb2.Result
    failure: _outcome_pb2.Failure
    usage: _outcome_pb2.Usage
    progress: Progress
    output_bytes: int
    output_truncated: bool
    simulated: bool
    dirty: bool
    queue_position: int
    wait_reasons: _containers.RepeatedCompositeFieldContainer[WaitReason]
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    retry_of_job_id: str
    claude_session_id: str
    snooze_count: int
    schedule_name: str
    nominal_time: _timestamp_pb2.Timestamp
    catch_up: bool
    checkpoint: _struct_pb2.Value
    dependent_job_ids: _containers.RepeatedScalarFieldContainer[str]
    dependency_states: _containers.RepeatedCompositeFieldContainer[DependencyState]
    start_deadline_time: _timestamp_pb2.Timestamp
    end_deadline_time: _timestamp_pb2.Timestamp
    session_id: str
    turn: int
    background: bool
    open_inputs: _containers.RepeatedCompositeFieldContainer[OpenInputSummary]
    artifacts: _containers.RepeatedCompositeFieldContainer[_outcome_pb2.Artifact]
    def __init__(self, id: _Optional[str] = ..., namespace: _Optional[str] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., state: _Optional[_Union[JobState, str]] = ..., etag: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempt_count: _Optional[int] = ..., failure_count: _Optional[int] = ..., loss_count: _Optional[int] = ..., epoch: _Optional[int] = ..., worker_id: _Optional[str] = ..., last_sequence: _Optional[int] = ..., cancellation: _Optional[_Union[Cancellation, _Mapping]] = ..., result: _Optional[_Union[_outcome_pb2.Result, _Mapping]] = ..., failure: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., output_bytes: _Optional[int] = ..., output_truncated: _Optional[bool] = ..., simulated: _Optional[bool] = ..., dirty: _Optional[bool] = ..., queue_position: _Optional[int] = ..., wait_reasons: _Optional[_Iterable[_Union[WaitReason, _Mapping]]] = ..., attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ..., retry_of_job_id: _Optional[str] = ..., claude_session_id: _Optional[str] = ..., snooze_count: _Optional[int] = ..., schedule_name: _Optional[str] = ..., nominal_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., catch_up: _Optional[bool] = ..., checkpoint: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., dependent_job_ids: _Optional[_Iterable[str]] = ..., dependency_states: _Optional[_Iterable[_Union[DependencyState, _Mapping]]] = ..., start_deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., session_id: _Optional[str] = ..., turn: _Optional[int] = ..., background: _Optional[bool] = ..., open_inputs: _Optional[_Iterable[_Union[OpenInputSummary, _Mapping]]] = ..., artifacts: _Optional[_Iterable[_Union[_outcome_pb2.Artifact, _Mapping]]] = ...) -> None: ...

class OpenInputSummary(_message.Message):
    __slots__ = ("request_id", "tool_name", "expire_time")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    tool_name: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, request_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DependencyState(_message.Message):
    __slots__ = ("job_id", "state")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    state: JobState
    def __init__(self, job_id: _Optional[str] = ..., state: _Optional[_Union[JobState, str]] = ...) -> None: ...

class Cancellation(_message.Message):
    __slots__ = ("reason", "actor", "time", "cause", "superseded_by_job_id")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_BY_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    reason: str
    actor: str
    time: _timestamp_pb2.Timestamp
    cause: CancelCause
    superseded_by_job_id: str
    def __init__(self, reason: _Optional[str] = ..., actor: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cause: _Optional[_Union[CancelCause, str]] = ..., superseded_by_job_id: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("done", "total", "message")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    message: str
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class WaitReason(_message.Message):
    __slots__ = ("cause", "message", "until_time")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    cause: WaitCause
    message: str
    until_time: _timestamp_pb2.Timestamp
    def __init__(self, cause: _Optional[_Union[WaitCause, str]] = ..., message: _Optional[str] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("number", "epoch", "worker_id", "assign_time", "start_time", "end_time", "outcome", "failure", "usage", "decision", "late_result")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    ASSIGN_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    LATE_RESULT_FIELD_NUMBER: _ClassVar[int]
    number: int
    epoch: int
    worker_id: str
    assign_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    outcome: AttemptOutcome
    failure: _outcome_pb2.Failure
    usage: _outcome_pb2.Usage
    decision: RetryDecision
    late_result: LateResult
    def __init__(self, number: _Optional[int] = ..., epoch: _Optional[int] = ..., worker_id: _Optional[str] = ..., assign_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[AttemptOutcome, str]] = ..., failure: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ..., decision: _Optional[_Union[RetryDecision, _Mapping]] = ..., late_result: _Optional[_Union[LateResult, _Mapping]] = ...) -> None: ...

class LateResult(_message.Message):
    __slots__ = ("time", "outcome", "failure")
    TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    outcome: AttemptOutcome
    failure: _outcome_pb2.Failure
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[AttemptOutcome, str]] = ..., failure: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ...) -> None: ...

class RetryDecision(_message.Message):
    __slots__ = ("action", "rule", "next_time")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIME_FIELD_NUMBER: _ClassVar[int]
    action: RetryAction
    rule: str
    next_time: _timestamp_pb2.Timestamp
    def __init__(self, action: _Optional[_Union[RetryAction, str]] = ..., rule: _Optional[str] = ..., next_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
