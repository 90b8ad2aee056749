import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import capacity_pb2 as _capacity_pb2
from headrace.v1 import input_pb2 as _input_pb2
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

class QueuedCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUEUED_CAUSE_UNSPECIFIED: _ClassVar[QueuedCause]
    QUEUED_CAUSE_DUE: _ClassVar[QueuedCause]
    QUEUED_CAUSE_UNBLOCKED: _ClassVar[QueuedCause]
    QUEUED_CAUSE_HOLDER_BUSY: _ClassVar[QueuedCause]
    QUEUED_CAUSE_HOLDER_LOST: _ClassVar[QueuedCause]

class ReleaseCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELEASE_CAUSE_UNSPECIFIED: _ClassVar[ReleaseCause]
    RELEASE_CAUSE_NOT_CONFIRMED: _ClassVar[ReleaseCause]
    RELEASE_CAUSE_DECLINED: _ClassVar[ReleaseCause]
    RELEASE_CAUSE_DRAINING: _ClassVar[ReleaseCause]
    RELEASE_CAUSE_REVOKED: _ClassVar[ReleaseCause]
    RELEASE_CAUSE_CANCELLED: _ClassVar[ReleaseCause]

class BudgetMark(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUDGET_MARK_UNSPECIFIED: _ClassVar[BudgetMark]
    BUDGET_MARK_WARNING: _ClassVar[BudgetMark]
    BUDGET_MARK_RESERVATION: _ClassVar[BudgetMark]
    BUDGET_MARK_LIMIT: _ClassVar[BudgetMark]

class CancelStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CANCEL_STEP_UNSPECIFIED: _ClassVar[CancelStep]
    CANCEL_STEP_INTERRUPT: _ClassVar[CancelStep]
    CANCEL_STEP_CLOSE_INPUT: _ClassVar[CancelStep]
    CANCEL_STEP_TERMINATE: _ClassVar[CancelStep]
    CANCEL_STEP_KILL: _ClassVar[CancelStep]
    CANCEL_STEP_TREE_GONE: _ClassVar[CancelStep]

class SnapshotAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SNAPSHOT_ACTION_UNSPECIFIED: _ClassVar[SnapshotAction]
    SNAPSHOT_ACTION_TAKEN: _ClassVar[SnapshotAction]
    SNAPSHOT_ACTION_FAILED: _ClassVar[SnapshotAction]
    SNAPSHOT_ACTION_RESTORED: _ClassVar[SnapshotAction]

class OutputStream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTPUT_STREAM_UNSPECIFIED: _ClassVar[OutputStream]
    OUTPUT_STREAM_STDOUT: _ClassVar[OutputStream]
    OUTPUT_STREAM_STDERR: _ClassVar[OutputStream]
    OUTPUT_STREAM_FRAME: _ClassVar[OutputStream]
QUEUED_CAUSE_UNSPECIFIED: QueuedCause
QUEUED_CAUSE_DUE: QueuedCause
QUEUED_CAUSE_UNBLOCKED: QueuedCause
QUEUED_CAUSE_HOLDER_BUSY: QueuedCause
QUEUED_CAUSE_HOLDER_LOST: QueuedCause
RELEASE_CAUSE_UNSPECIFIED: ReleaseCause
RELEASE_CAUSE_NOT_CONFIRMED: ReleaseCause
RELEASE_CAUSE_DECLINED: ReleaseCause
RELEASE_CAUSE_DRAINING: ReleaseCause
RELEASE_CAUSE_REVOKED: ReleaseCause
RELEASE_CAUSE_CANCELLED: ReleaseCause
BUDGET_MARK_UNSPECIFIED: BudgetMark
BUDGET_MARK_WARNING: BudgetMark
BUDGET_MARK_RESERVATION: BudgetMark
BUDGET_MARK_LIMIT: BudgetMark
CANCEL_STEP_UNSPECIFIED: CancelStep
CANCEL_STEP_INTERRUPT: CancelStep
CANCEL_STEP_CLOSE_INPUT: CancelStep
CANCEL_STEP_TERMINATE: CancelStep
CANCEL_STEP_KILL: CancelStep
CANCEL_STEP_TREE_GONE: CancelStep
SNAPSHOT_ACTION_UNSPECIFIED: SnapshotAction
SNAPSHOT_ACTION_TAKEN: SnapshotAction
SNAPSHOT_ACTION_FAILED: SnapshotAction
SNAPSHOT_ACTION_RESTORED: SnapshotAction
OUTPUT_STREAM_UNSPECIFIED: OutputStream
OUTPUT_STREAM_STDOUT: OutputStream
OUTPUT_STREAM_STDERR: OutputStream
OUTPUT_STREAM_FRAME: OutputStream

class Event(_message.Message):
    __slots__ = ("job_id", "sequence", "position", "time", "attempt", "epoch", "report_number", "output", "submitted", "queued", "attempt_assigned", "attempt_started", "attempt_released", "attempt_failed", "attempt_lost", "input_requested", "input_resolved", "cancel_requested", "cancel_stepped", "updated", "scheduled", "output_truncated", "attempt_handed_back", "attempt_snoozed", "attempt_timed_out", "budget_reached", "succeeded", "failed", "cancelled", "expired", "skipped")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPORT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_ASSIGNED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_STARTED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_RELEASED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FAILED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_LOST_FIELD_NUMBER: _ClassVar[int]
    INPUT_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    INPUT_RESOLVED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_STEPPED_FIELD_NUMBER: _ClassVar[int]
    UPDATED_FIELD_NUMBER: _ClassVar[int]
    SCHEDULED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_HANDED_BACK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_SNOOZED_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_TIMED_OUT_FIELD_NUMBER: _ClassVar[int]
    BUDGET_REACHED_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    sequence: int
    position: int
    time: _timestamp_pb2.Timestamp
    attempt: int
    epoch: int
    report_number: int
    output: Output
    submitted: JobSubmitted
    queued: JobQueued
    attempt_assigned: AttemptAssigned
    attempt_started: AttemptStarted
    attempt_released: AttemptReleased
    attempt_failed: AttemptFailed
    attempt_lost: AttemptLost
    input_requested: InputRequested
    input_resolved: InputResolved
    cancel_requested: CancelRequested
    cancel_stepped: CancelStepped
    updated: JobUpdated
    scheduled: JobScheduled
    output_truncated: OutputTruncated
    attempt_handed_back: AttemptHandedBack
    attempt_snoozed: AttemptSnoozed
    attempt_timed_out: AttemptTimedOut
    budget_reached: BudgetReached
    succeeded: JobSucceeded
    failed: JobFailed
    cancelled: JobCancelled
    expired: JobExpired
    skipped: JobSkipped
    def __init__(self, job_id: _Optional[str] = ..., sequence: _Optional[int] = ..., position: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., attempt: _Optional[int] = ..., epoch: _Optional[int] = ..., report_number: _Optional[int] = ..., output: _Optional[_Union[Output, _Mapping]] = ..., submitted: _Optional[_Union[JobSubmitted, _Mapping]] = ..., queued: _Optional[_Union[JobQueued, _Mapping]] = ..., attempt_assigned: _Optional[_Union[AttemptAssigned, _Mapping]] = ..., attempt_started: _Optional[_Union[AttemptStarted, _Mapping]] = ..., attempt_released: _Optional[_Union[AttemptReleased, _Mapping]] = ..., attempt_failed: _Optional[_Union[AttemptFailed, _Mapping]] = ..., attempt_lost: _Optional[_Union[AttemptLost, _Mapping]] = ..., input_requested: _Optional[_Union[InputRequested, _Mapping]] = ..., input_resolved: _Optional[_Union[InputResolved, _Mapping]] = ..., cancel_requested: _Optional[_Union[CancelRequested, _Mapping]] = ..., cancel_stepped: _Optional[_Union[CancelStepped, _Mapping]] = ..., updated: _Optional[_Union[JobUpdated, _Mapping]] = ..., scheduled: _Optional[_Union[JobScheduled, _Mapping]] = ..., output_truncated: _Optional[_Union[OutputTruncated, _Mapping]] = ..., attempt_handed_back: _Optional[_Union[AttemptHandedBack, _Mapping]] = ..., attempt_snoozed: _Optional[_Union[AttemptSnoozed, _Mapping]] = ..., attempt_timed_out: _Optional[_Union[AttemptTimedOut, _Mapping]] = ..., budget_reached: _Optional[_Union[BudgetReached, _Mapping]] = ..., succeeded: _Optional[_Union[JobSucceeded, _Mapping]] = ..., failed: _Optional[_Union[JobFailed, _Mapping]] = ..., cancelled: _Optional[_Union[JobCancelled, _Mapping]] = ..., expired: _Optional[_Union[JobExpired, _Mapping]] = ..., skipped: _Optional[_Union[JobSkipped, _Mapping]] = ...) -> None: ...

class JobSubmitted(_message.Message):
    __slots__ = ("state", "actor", "due_time", "retry_of_job_id", "schedule_name", "nominal_time", "catch_up", "start_deadline_time", "end_deadline_time", "session_id", "turn", "background", "holder_worker_id", "hold_expire_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    RETRY_OF_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_NAME_FIELD_NUMBER: _ClassVar[int]
    NOMINAL_TIME_FIELD_NUMBER: _ClassVar[int]
    CATCH_UP_FIELD_NUMBER: _ClassVar[int]
    START_DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    HOLDER_WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    HOLD_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    state: _job_pb2.JobState
    actor: str
    due_time: _timestamp_pb2.Timestamp
    retry_of_job_id: str
    schedule_name: str
    nominal_time: _timestamp_pb2.Timestamp
    catch_up: bool
    start_deadline_time: _timestamp_pb2.Timestamp
    end_deadline_time: _timestamp_pb2.Timestamp
    session_id: str
    turn: int
    background: bool
    holder_worker_id: str
    hold_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[_job_pb2.JobState, str]] = ..., actor: _Optional[str] = ..., due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retry_of_job_id: _Optional[str] = ..., schedule_name: _Optional[str] = ..., nominal_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., catch_up: _Optional[bool] = ..., start_deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., session_id: _Optional[str] = ..., turn: _Optional[int] = ..., background: _Optional[bool] = ..., holder_worker_id: _Optional[str] = ..., hold_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class JobQueued(_message.Message):
    __slots__ = ("cause", "hold_expire_time", "holder_worker_id")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    HOLD_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    HOLDER_WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    cause: QueuedCause
    hold_expire_time: _timestamp_pb2.Timestamp
    holder_worker_id: str
    def __init__(self, cause: _Optional[_Union[QueuedCause, str]] = ..., hold_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., holder_worker_id: _Optional[str] = ...) -> None: ...

class JobScheduled(_message.Message):
    __slots__ = ("due_time",)
    DUE_TIME_FIELD_NUMBER: _ClassVar[int]
    due_time: _timestamp_pb2.Timestamp
    def __init__(self, due_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AttemptAssigned(_message.Message):
    __slots__ = ("worker_id", "rule", "incarnation", "session_move")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_MOVE_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    rule: str
    incarnation: str
    session_move: SessionMove
    def __init__(self, worker_id: _Optional[str] = ..., rule: _Optional[str] = ..., incarnation: _Optional[str] = ..., session_move: _Optional[_Union[SessionMove, _Mapping]] = ...) -> None: ...

class SessionMove(_message.Message):
    __slots__ = ("from_worker_id", "snapshot_turn")
    FROM_WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_TURN_FIELD_NUMBER: _ClassVar[int]
    from_worker_id: str
    snapshot_turn: int
    def __init__(self, from_worker_id: _Optional[str] = ..., snapshot_turn: _Optional[int] = ...) -> None: ...

class AttemptStarted(_message.Message):
    __slots__ = ("worker_id", "run_deadline_time", "silence_timeout")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    SILENCE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    run_deadline_time: _timestamp_pb2.Timestamp
    silence_timeout: _duration_pb2.Duration
    def __init__(self, worker_id: _Optional[str] = ..., run_deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., silence_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class AttemptReleased(_message.Message):
    __slots__ = ("cause", "message")
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    cause: ReleaseCause
    message: str
    def __init__(self, cause: _Optional[_Union[ReleaseCause, str]] = ..., message: _Optional[str] = ...) -> None: ...

class AttemptFailed(_message.Message):
    __slots__ = ("failure", "usage", "decision")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    failure: _outcome_pb2.Failure
    usage: _outcome_pb2.Usage
    decision: _job_pb2.RetryDecision
    def __init__(self, failure: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ..., decision: _Optional[_Union[_job_pb2.RetryDecision, _Mapping]] = ...) -> None: ...

class AttemptLost(_message.Message):
    __slots__ = ("worker_id", "reason", "decision", "hold_expire_time")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    HOLD_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    reason: str
    decision: _job_pb2.RetryDecision
    hold_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, worker_id: _Optional[str] = ..., reason: _Optional[str] = ..., decision: _Optional[_Union[_job_pb2.RetryDecision, _Mapping]] = ..., hold_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AttemptHandedBack(_message.Message):
    __slots__ = ("worker_id", "usage", "decision", "hold_expire_time")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    HOLD_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    usage: _outcome_pb2.Usage
    decision: _job_pb2.RetryDecision
    hold_expire_time: _timestamp_pb2.Timestamp
    def __init__(self, worker_id: _Optional[str] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ..., decision: _Optional[_Union[_job_pb2.RetryDecision, _Mapping]] = ..., hold_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AttemptSnoozed(_message.Message):
    __slots__ = ("reason", "next_time", "usage")
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIME_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    next_time: _timestamp_pb2.Timestamp
    usage: _outcome_pb2.Usage
    def __init__(self, reason: _Optional[str] = ..., next_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ...) -> None: ...

class InputRequested(_message.Message):
    __slots__ = ("request", "expire_time")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    request: _input_pb2.InputRequest
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, request: _Optional[_Union[_input_pb2.InputRequest, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class InputResolved(_message.Message):
    __slots__ = ("request_id", "resolution", "actor", "message")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    resolution: _input_pb2.InputResolution
    actor: str
    message: str
    def __init__(self, request_id: _Optional[str] = ..., resolution: _Optional[_Union[_input_pb2.InputResolution, str]] = ..., actor: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class AttemptTimedOut(_message.Message):
    __slots__ = ("timeout", "message")
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    timeout: _outcome_pb2.TimeoutKind
    message: str
    def __init__(self, timeout: _Optional[_Union[_outcome_pb2.TimeoutKind, str]] = ..., message: _Optional[str] = ...) -> None: ...

class BudgetReached(_message.Message):
    __slots__ = ("mark", "namespace", "owner", "period", "max_cost_usd_micros", "max_tokens", "used_usd_micros", "used_tokens", "attempt_usd_micros", "reserved_usd_micros")
    MARK_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    USED_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    USED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    mark: BudgetMark
    namespace: str
    owner: str
    period: _capacity_pb2.BudgetPeriod
    max_cost_usd_micros: int
    max_tokens: int
    used_usd_micros: int
    used_tokens: int
    attempt_usd_micros: int
    reserved_usd_micros: int
    def __init__(self, mark: _Optional[_Union[BudgetMark, str]] = ..., namespace: _Optional[str] = ..., owner: _Optional[str] = ..., period: _Optional[_Union[_capacity_pb2.BudgetPeriod, str]] = ..., max_cost_usd_micros: _Optional[int] = ..., max_tokens: _Optional[int] = ..., used_usd_micros: _Optional[int] = ..., used_tokens: _Optional[int] = ..., attempt_usd_micros: _Optional[int] = ..., reserved_usd_micros: _Optional[int] = ...) -> None: ...

class CancelRequested(_message.Message):
    __slots__ = ("reason", "actor", "cause", "superseded_by_job_id")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_BY_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    reason: str
    actor: str
    cause: _job_pb2.CancelCause
    superseded_by_job_id: str
    def __init__(self, reason: _Optional[str] = ..., actor: _Optional[str] = ..., cause: _Optional[_Union[_job_pb2.CancelCause, str]] = ..., superseded_by_job_id: _Optional[str] = ...) -> None: ...

class CancelStepped(_message.Message):
    __slots__ = ("step", "message", "survivors")
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SURVIVORS_FIELD_NUMBER: _ClassVar[int]
    step: CancelStep
    message: str
    survivors: int
    def __init__(self, step: _Optional[_Union[CancelStep, str]] = ..., message: _Optional[str] = ..., survivors: _Optional[int] = ...) -> None: ...

class JobUpdated(_message.Message):
    __slots__ = ("actor", "update_mask", "spec", "state", "start_deadline_time", "end_deadline_time")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    START_DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_DEADLINE_TIME_FIELD_NUMBER: _ClassVar[int]
    actor: str
    update_mask: _field_mask_pb2.FieldMask
    spec: _job_pb2.JobSpec
    state: _job_pb2.JobState
    start_deadline_time: _timestamp_pb2.Timestamp
    end_deadline_time: _timestamp_pb2.Timestamp
    def __init__(self, actor: _Optional[str] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., spec: _Optional[_Union[_job_pb2.JobSpec, _Mapping]] = ..., state: _Optional[_Union[_job_pb2.JobState, str]] = ..., start_deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_deadline_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class OutputTruncated(_message.Message):
    __slots__ = ("output_bytes_max",)
    OUTPUT_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    output_bytes_max: int
    def __init__(self, output_bytes_max: _Optional[int] = ...) -> None: ...

class JobSucceeded(_message.Message):
    __slots__ = ("result", "usage")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    result: _outcome_pb2.Result
    usage: _outcome_pb2.Usage
    def __init__(self, result: _Optional[_Union[_outcome_pb2.Result, _Mapping]] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ...) -> None: ...

class JobFailed(_message.Message):
    __slots__ = ("failure",)
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    failure: _outcome_pb2.Failure
    def __init__(self, failure: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ...) -> None: ...

class JobCancelled(_message.Message):
    __slots__ = ("cancellation", "usage")
    CANCELLATION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    cancellation: _job_pb2.Cancellation
    usage: _outcome_pb2.Usage
    def __init__(self, cancellation: _Optional[_Union[_job_pb2.Cancellation, _Mapping]] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ...) -> None: ...

class JobExpired(_message.Message):
    __slots__ = ("failure",)
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    failure: _outcome_pb2.Failure
    def __init__(self, failure: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ...) -> None: ...

class JobSkipped(_message.Message):
    __slots__ = ("failure", "dependency_job_id")
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCY_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    failure: _outcome_pb2.Failure
    dependency_job_id: str
    def __init__(self, failure: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ..., dependency_job_id: _Optional[str] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("producer_sequence", "time", "dirty", "chunk", "claude", "progress", "usage", "checkpoint", "artifact_part", "artifact", "snapshot")
    PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    DIRTY_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    CLAUDE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_PART_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    producer_sequence: int
    time: _timestamp_pb2.Timestamp
    dirty: bool
    chunk: Chunk
    claude: ClaudeFrame
    progress: _job_pb2.Progress
    usage: _outcome_pb2.Usage
    checkpoint: Checkpoint
    artifact_part: ArtifactPart
    artifact: _outcome_pb2.Artifact
    snapshot: SnapshotNote
    def __init__(self, producer_sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., dirty: _Optional[bool] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., claude: _Optional[_Union[ClaudeFrame, _Mapping]] = ..., progress: _Optional[_Union[_job_pb2.Progress, _Mapping]] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., artifact_part: _Optional[_Union[ArtifactPart, _Mapping]] = ..., artifact: _Optional[_Union[_outcome_pb2.Artifact, _Mapping]] = ..., snapshot: _Optional[_Union[SnapshotNote, _Mapping]] = ...) -> None: ...

class SnapshotNote(_message.Message):
    __slots__ = ("action", "snapshot", "message")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    action: SnapshotAction
    snapshot: _session_pb2.SessionSnapshot
    message: str
    def __init__(self, action: _Optional[_Union[SnapshotAction, str]] = ..., snapshot: _Optional[_Union[_session_pb2.SessionSnapshot, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class ArtifactPart(_message.Message):
    __slots__ = ("name", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    data: bytes
    def __init__(self, name: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _struct_pb2.Value
    def __init__(self, value: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("stream", "data")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    stream: OutputStream
    data: bytes
    def __init__(self, stream: _Optional[_Union[OutputStream, str]] = ..., data: _Optional[bytes] = ...) -> None: ...

class ClaudeFrame(_message.Message):
    __slots__ = ("raw_json", "stored", "raw_bytes", "simulated", "cached", "init", "assistant", "user", "api_retry", "rate_limit", "turn_result", "system", "tool_progress", "control", "unknown")
    RAW_JSON_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    RAW_BYTES_FIELD_NUMBER: _ClassVar[int]
    SIMULATED_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    INIT_FIELD_NUMBER: _ClassVar[int]
    ASSISTANT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    API_RETRY_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    TURN_RESULT_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    TOOL_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    raw_json: str
    stored: StoredFrame
    raw_bytes: bytes
    simulated: bool
    cached: bool
    init: ClaudeInit
    assistant: ClaudeMessage
    user: ClaudeMessage
    api_retry: ClaudeApiRetry
    rate_limit: ClaudeRateLimit
    turn_result: ClaudeTurnResult
    system: ClaudeSystem
    tool_progress: ClaudeToolProgress
    control: ClaudeControl
    unknown: ClaudeUnknown
    def __init__(self, raw_json: _Optional[str] = ..., stored: _Optional[_Union[StoredFrame, _Mapping]] = ..., raw_bytes: _Optional[bytes] = ..., simulated: _Optional[bool] = ..., cached: _Optional[bool] = ..., init: _Optional[_Union[ClaudeInit, _Mapping]] = ..., assistant: _Optional[_Union[ClaudeMessage, _Mapping]] = ..., user: _Optional[_Union[ClaudeMessage, _Mapping]] = ..., api_retry: _Optional[_Union[ClaudeApiRetry, _Mapping]] = ..., rate_limit: _Optional[_Union[ClaudeRateLimit, _Mapping]] = ..., turn_result: _Optional[_Union[ClaudeTurnResult, _Mapping]] = ..., system: _Optional[_Union[ClaudeSystem, _Mapping]] = ..., tool_progress: _Optional[_Union[ClaudeToolProgress, _Mapping]] = ..., control: _Optional[_Union[ClaudeControl, _Mapping]] = ..., unknown: _Optional[_Union[ClaudeUnknown, _Mapping]] = ...) -> None: ...

class StoredFrame(_message.Message):
    __slots__ = ("first_producer_sequence", "last_producer_sequence", "size_bytes", "sha256", "cut")
    FIRST_PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    first_producer_sequence: int
    last_producer_sequence: int
    size_bytes: int
    sha256: str
    cut: bool
    def __init__(self, first_producer_sequence: _Optional[int] = ..., last_producer_sequence: _Optional[int] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., cut: _Optional[bool] = ...) -> None: ...

class ClaudeInit(_message.Message):
    __slots__ = ("claude_session_id", "model", "version", "tools", "permission_mode", "folder")
    CLAUDE_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_MODE_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    claude_session_id: str
    model: str
    version: str
    tools: _containers.RepeatedScalarFieldContainer[str]
    permission_mode: str
    folder: str
    def __init__(self, claude_session_id: _Optional[str] = ..., model: _Optional[str] = ..., version: _Optional[str] = ..., tools: _Optional[_Iterable[str]] = ..., permission_mode: _Optional[str] = ..., folder: _Optional[str] = ...) -> None: ...

class ClaudeMessage(_message.Message):
    __slots__ = ("message_id", "model", "blocks", "parent_tool_use_id", "error")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    PARENT_TOOL_USE_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    model: str
    blocks: _containers.RepeatedCompositeFieldContainer[ContentBlock]
    parent_tool_use_id: str
    error: str
    def __init__(self, message_id: _Optional[str] = ..., model: _Optional[str] = ..., blocks: _Optional[_Iterable[_Union[ContentBlock, _Mapping]]] = ..., parent_tool_use_id: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class ContentBlock(_message.Message):
    __slots__ = ("text", "thinking", "tool_use", "tool_result", "other", "cut")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    TOOL_USE_FIELD_NUMBER: _ClassVar[int]
    TOOL_RESULT_FIELD_NUMBER: _ClassVar[int]
    OTHER_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    text: str
    thinking: str
    tool_use: ToolUse
    tool_result: ToolResult
    other: str
    cut: bool
    def __init__(self, text: _Optional[str] = ..., thinking: _Optional[str] = ..., tool_use: _Optional[_Union[ToolUse, _Mapping]] = ..., tool_result: _Optional[_Union[ToolResult, _Mapping]] = ..., other: _Optional[str] = ..., cut: _Optional[bool] = ...) -> None: ...

class ToolUse(_message.Message):
    __slots__ = ("tool_use_id", "name", "input_json")
    TOOL_USE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    tool_use_id: str
    name: str
    input_json: str
    def __init__(self, tool_use_id: _Optional[str] = ..., name: _Optional[str] = ..., input_json: _Optional[str] = ...) -> None: ...

class ToolResult(_message.Message):
    __slots__ = ("tool_use_id", "text", "is_error")
    TOOL_USE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_ERROR_FIELD_NUMBER: _ClassVar[int]
    tool_use_id: str
    text: str
    is_error: bool
    def __init__(self, tool_use_id: _Optional[str] = ..., text: _Optional[str] = ..., is_error: _Optional[bool] = ...) -> None: ...

class ClaudeApiRetry(_message.Message):
    __slots__ = ("attempt", "max_retries", "retry_delay_millis", "error_status", "error")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRIES_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_MILLIS_FIELD_NUMBER: _ClassVar[int]
    ERROR_STATUS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    max_retries: int
    retry_delay_millis: int
    error_status: int
    error: str
    def __init__(self, attempt: _Optional[int] = ..., max_retries: _Optional[int] = ..., retry_delay_millis: _Optional[int] = ..., error_status: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class ClaudeRateLimit(_message.Message):
    __slots__ = ("status", "limit_type", "reset_time")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESET_TIME_FIELD_NUMBER: _ClassVar[int]
    status: str
    limit_type: str
    reset_time: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[str] = ..., limit_type: _Optional[str] = ..., reset_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ClaudeTurnResult(_message.Message):
    __slots__ = ("subtype", "is_error", "text", "api_error_status", "terminal_reason", "usage")
    SUBTYPE_FIELD_NUMBER: _ClassVar[int]
    IS_ERROR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    API_ERROR_STATUS_FIELD_NUMBER: _ClassVar[int]
    TERMINAL_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    subtype: str
    is_error: bool
    text: str
    api_error_status: int
    terminal_reason: str
    usage: _outcome_pb2.Usage
    def __init__(self, subtype: _Optional[str] = ..., is_error: _Optional[bool] = ..., text: _Optional[str] = ..., api_error_status: _Optional[int] = ..., terminal_reason: _Optional[str] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ...) -> None: ...

class ClaudeSystem(_message.Message):
    __slots__ = ("subtype", "message")
    SUBTYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    subtype: str
    message: str
    def __init__(self, subtype: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ClaudeToolProgress(_message.Message):
    __slots__ = ("tool_use_id", "tool_name", "elapsed_seconds")
    TOOL_USE_ID_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    tool_use_id: str
    tool_name: str
    elapsed_seconds: float
    def __init__(self, tool_use_id: _Optional[str] = ..., tool_name: _Optional[str] = ..., elapsed_seconds: _Optional[float] = ...) -> None: ...

class ClaudeControl(_message.Message):
    __slots__ = ("subtype", "tool_name")
    SUBTYPE_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    subtype: str
    tool_name: str
    def __init__(self, subtype: _Optional[str] = ..., tool_name: _Optional[str] = ...) -> None: ...

class ClaudeUnknown(_message.Message):
    __slots__ = ("type",)
    TYPE_FIELD_NUMBER: _ClassVar[int]
    type: str
    def __init__(self, type: _Optional[str] = ...) -> None: ...

class Delta(_message.Message):
    __slots__ = ("attempt", "after_sequence", "message_id", "block_index", "text", "thinking", "tool_input_json", "dropped", "tool_name", "parent_tool_use_id")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    BLOCK_INDEX_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    THINKING_FIELD_NUMBER: _ClassVar[int]
    TOOL_INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    PARENT_TOOL_USE_ID_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    after_sequence: int
    message_id: str
    block_index: int
    text: str
    thinking: str
    tool_input_json: str
    dropped: int
    tool_name: str
    parent_tool_use_id: str
    def __init__(self, attempt: _Optional[int] = ..., after_sequence: _Optional[int] = ..., message_id: _Optional[str] = ..., block_index: _Optional[int] = ..., text: _Optional[str] = ..., thinking: _Optional[str] = ..., tool_input_json: _Optional[str] = ..., dropped: _Optional[int] = ..., tool_name: _Optional[str] = ..., parent_tool_use_id: _Optional[str] = ...) -> None: ...
