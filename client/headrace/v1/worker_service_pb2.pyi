import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import error_pb2 as _error_pb2
from headrace.v1 import event_pb2 as _event_pb2
from headrace.v1 import input_pb2 as _input_pb2
from headrace.v1 import outcome_pb2 as _outcome_pb2
from headrace.v1 import session_pb2 as _session_pb2
from headrace.v1 import task_pb2 as _task_pb2
from headrace.v1 import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HeldPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HELD_PHASE_UNSPECIFIED: _ClassVar[HeldPhase]
    HELD_PHASE_ACCEPTED: _ClassVar[HeldPhase]
    HELD_PHASE_STARTED: _ClassVar[HeldPhase]
    HELD_PHASE_FINISHED: _ClassVar[HeldPhase]

class WantedWorker(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WANTED_WORKER_UNSPECIFIED: _ClassVar[WantedWorker]
    WANTED_WORKER_RUN: _ClassVar[WantedWorker]
    WANTED_WORKER_DRAIN: _ClassVar[WantedWorker]
    WANTED_WORKER_EXIT: _ClassVar[WantedWorker]

class StopCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STOP_CAUSE_UNSPECIFIED: _ClassVar[StopCause]
    STOP_CAUSE_CANCEL: _ClassVar[StopCause]
    STOP_CAUSE_TIMEOUT: _ClassVar[StopCause]
    STOP_CAUSE_BUDGET: _ClassVar[StopCause]
    STOP_CAUSE_STALE_LEASE: _ClassVar[StopCause]
    STOP_CAUSE_DRAIN: _ClassVar[StopCause]

class WantedState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WANTED_STATE_UNSPECIFIED: _ClassVar[WantedState]
    WANTED_STATE_RUN: _ClassVar[WantedState]
    WANTED_STATE_CANCEL: _ClassVar[WantedState]
    WANTED_STATE_KILL: _ClassVar[WantedState]
    WANTED_STATE_REVOKE: _ClassVar[WantedState]
    WANTED_STATE_RETURN: _ClassVar[WantedState]

class FinishDisposition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_DISPOSITION_UNSPECIFIED: _ClassVar[FinishDisposition]
    FINISH_DISPOSITION_ACCEPTED: _ClassVar[FinishDisposition]
    FINISH_DISPOSITION_STALE: _ClassVar[FinishDisposition]
    FINISH_DISPOSITION_OUTPUT_MISSING: _ClassVar[FinishDisposition]
    FINISH_DISPOSITION_INVALID: _ClassVar[FinishDisposition]
HELD_PHASE_UNSPECIFIED: HeldPhase
HELD_PHASE_ACCEPTED: HeldPhase
HELD_PHASE_STARTED: HeldPhase
HELD_PHASE_FINISHED: HeldPhase
WANTED_WORKER_UNSPECIFIED: WantedWorker
WANTED_WORKER_RUN: WantedWorker
WANTED_WORKER_DRAIN: WantedWorker
WANTED_WORKER_EXIT: WantedWorker
STOP_CAUSE_UNSPECIFIED: StopCause
STOP_CAUSE_CANCEL: StopCause
STOP_CAUSE_TIMEOUT: StopCause
STOP_CAUSE_BUDGET: StopCause
STOP_CAUSE_STALE_LEASE: StopCause
STOP_CAUSE_DRAIN: StopCause
WANTED_STATE_UNSPECIFIED: WantedState
WANTED_STATE_RUN: WantedState
WANTED_STATE_CANCEL: WantedState
WANTED_STATE_KILL: WantedState
WANTED_STATE_REVOKE: WantedState
WANTED_STATE_RETURN: WantedState
FINISH_DISPOSITION_UNSPECIFIED: FinishDisposition
FINISH_DISPOSITION_ACCEPTED: FinishDisposition
FINISH_DISPOSITION_STALE: FinishDisposition
FINISH_DISPOSITION_OUTPUT_MISSING: FinishDisposition
FINISH_DISPOSITION_INVALID: FinishDisposition

class ConnectRequest(_message.Message):
    __slots__ = ("hello", "starts", "releases", "reports", "finishes", "command_acks", "renewal", "background_turns")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    FINISHES_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ACKS_FIELD_NUMBER: _ClassVar[int]
    RENEWAL_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_TURNS_FIELD_NUMBER: _ClassVar[int]
    hello: WorkerHello
    starts: _containers.RepeatedCompositeFieldContainer[AttemptStart]
    releases: _containers.RepeatedCompositeFieldContainer[AttemptRelease]
    reports: _containers.RepeatedCompositeFieldContainer[AttemptReport]
    finishes: _containers.RepeatedCompositeFieldContainer[AttemptFinish]
    command_acks: _containers.RepeatedCompositeFieldContainer[CommandAck]
    renewal: WorkerRenewal
    background_turns: _containers.RepeatedCompositeFieldContainer[BackgroundTurn]
    def __init__(self, hello: _Optional[_Union[WorkerHello, _Mapping]] = ..., starts: _Optional[_Iterable[_Union[AttemptStart, _Mapping]]] = ..., releases: _Optional[_Iterable[_Union[AttemptRelease, _Mapping]]] = ..., reports: _Optional[_Iterable[_Union[AttemptReport, _Mapping]]] = ..., finishes: _Optional[_Iterable[_Union[AttemptFinish, _Mapping]]] = ..., command_acks: _Optional[_Iterable[_Union[CommandAck, _Mapping]]] = ..., renewal: _Optional[_Union[WorkerRenewal, _Mapping]] = ..., background_turns: _Optional[_Iterable[_Union[BackgroundTurn, _Mapping]]] = ...) -> None: ...

class WorkerHello(_message.Message):
    __slots__ = ("worker_id", "incarnation", "reattach", "protocol_version", "slots", "capabilities", "host_resources", "host", "version")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    REATTACH_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    HOST_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    incarnation: str
    reattach: bool
    protocol_version: int
    slots: int
    capabilities: _worker_pb2.WorkerCapabilities
    host_resources: _worker_pb2.HostResources
    host: str
    version: str
    def __init__(self, worker_id: _Optional[str] = ..., incarnation: _Optional[str] = ..., reattach: _Optional[bool] = ..., protocol_version: _Optional[int] = ..., slots: _Optional[int] = ..., capabilities: _Optional[_Union[_worker_pb2.WorkerCapabilities, _Mapping]] = ..., host_resources: _Optional[_Union[_worker_pb2.HostResources, _Mapping]] = ..., host: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class WorkerRenewal(_message.Message):
    __slots__ = ("counter", "held", "handled_message_number", "host_resources", "draining", "sessions", "response_cache", "kept_session_ids")
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    HANDLED_MESSAGE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    HOST_RESOURCES_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_FIELD_NUMBER: _ClassVar[int]
    KEPT_SESSION_IDS_FIELD_NUMBER: _ClassVar[int]
    counter: int
    held: _containers.RepeatedCompositeFieldContainer[HeldLease]
    handled_message_number: int
    host_resources: _worker_pb2.HostResources
    draining: bool
    sessions: _containers.RepeatedCompositeFieldContainer[HeldSession]
    response_cache: _worker_pb2.ResponseCacheState
    kept_session_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, counter: _Optional[int] = ..., held: _Optional[_Iterable[_Union[HeldLease, _Mapping]]] = ..., handled_message_number: _Optional[int] = ..., host_resources: _Optional[_Union[_worker_pb2.HostResources, _Mapping]] = ..., draining: _Optional[bool] = ..., sessions: _Optional[_Iterable[_Union[HeldSession, _Mapping]]] = ..., response_cache: _Optional[_Union[_worker_pb2.ResponseCacheState, _Mapping]] = ..., kept_session_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class HeldSession(_message.Message):
    __slots__ = ("session_id", "binding_epoch", "process")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    BINDING_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    binding_epoch: int
    process: _session_pb2.SessionProcess
    def __init__(self, session_id: _Optional[str] = ..., binding_epoch: _Optional[int] = ..., process: _Optional[_Union[_session_pb2.SessionProcess, _Mapping]] = ...) -> None: ...

class BackgroundTurn(_message.Message):
    __slots__ = ("session_id", "binding_epoch", "number")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    BINDING_EPOCH_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    binding_epoch: int
    number: int
    def __init__(self, session_id: _Optional[str] = ..., binding_epoch: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class HeldLease(_message.Message):
    __slots__ = ("lease", "phase", "dirty")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DIRTY_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    phase: HeldPhase
    dirty: bool
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., phase: _Optional[_Union[HeldPhase, str]] = ..., dirty: _Optional[bool] = ...) -> None: ...

class AttemptStart(_message.Message):
    __slots__ = ("lease", "time")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    time: _timestamp_pb2.Timestamp
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AttemptRelease(_message.Message):
    __slots__ = ("lease", "cause", "message")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    cause: _event_pb2.ReleaseCause
    message: str
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., cause: _Optional[_Union[_event_pb2.ReleaseCause, str]] = ..., message: _Optional[str] = ...) -> None: ...

class AttemptReport(_message.Message):
    __slots__ = ("lease", "report_number", "after_producer_sequence", "step", "input_requested", "input_withdrawn")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REPORT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    AFTER_PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    INPUT_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    INPUT_WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    report_number: int
    after_producer_sequence: int
    step: _event_pb2.CancelStepped
    input_requested: _input_pb2.InputRequest
    input_withdrawn: InputWithdrawn
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., report_number: _Optional[int] = ..., after_producer_sequence: _Optional[int] = ..., step: _Optional[_Union[_event_pb2.CancelStepped, _Mapping]] = ..., input_requested: _Optional[_Union[_input_pb2.InputRequest, _Mapping]] = ..., input_withdrawn: _Optional[_Union[InputWithdrawn, _Mapping]] = ...) -> None: ...

class InputWithdrawn(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class AttemptFinish(_message.Message):
    __slots__ = ("lease", "succeeded", "failed", "cancelled", "returned", "snoozed", "usage", "last_producer_sequence", "last_report_number")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    SUCCEEDED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    SNOOZED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_REPORT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    succeeded: _outcome_pb2.Result
    failed: _outcome_pb2.Failure
    cancelled: AttemptCancelled
    returned: AttemptReturned
    snoozed: AttemptSnooze
    usage: _outcome_pb2.Usage
    last_producer_sequence: int
    last_report_number: int
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., succeeded: _Optional[_Union[_outcome_pb2.Result, _Mapping]] = ..., failed: _Optional[_Union[_outcome_pb2.Failure, _Mapping]] = ..., cancelled: _Optional[_Union[AttemptCancelled, _Mapping]] = ..., returned: _Optional[_Union[AttemptReturned, _Mapping]] = ..., snoozed: _Optional[_Union[AttemptSnooze, _Mapping]] = ..., usage: _Optional[_Union[_outcome_pb2.Usage, _Mapping]] = ..., last_producer_sequence: _Optional[int] = ..., last_report_number: _Optional[int] = ...) -> None: ...

class AttemptCancelled(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AttemptReturned(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AttemptSnooze(_message.Message):
    __slots__ = ("delay", "reason")
    DELAY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    delay: _duration_pb2.Duration
    reason: str
    def __init__(self, delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class CommandAck(_message.Message):
    __slots__ = ("lease", "command_number", "error")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    command_number: int
    error: _error_pb2.ItemError
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., command_number: _Optional[int] = ..., error: _Optional[_Union[_error_pb2.ItemError, _Mapping]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("message_number", "welcome", "renewed_counter", "assignments", "wanted", "commands", "report_acks", "finish_acks", "wanted_worker", "ended_session_ids", "background_turn_acks", "response_cache_invalidations")
    MESSAGE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    RENEWED_COUNTER_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENTS_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    REPORT_ACKS_FIELD_NUMBER: _ClassVar[int]
    FINISH_ACKS_FIELD_NUMBER: _ClassVar[int]
    WANTED_WORKER_FIELD_NUMBER: _ClassVar[int]
    ENDED_SESSION_IDS_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_TURN_ACKS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_CACHE_INVALIDATIONS_FIELD_NUMBER: _ClassVar[int]
    message_number: int
    welcome: WorkerWelcome
    renewed_counter: int
    assignments: _containers.RepeatedCompositeFieldContainer[_worker_pb2.Assignment]
    wanted: _containers.RepeatedCompositeFieldContainer[WantedAttempt]
    commands: _containers.RepeatedCompositeFieldContainer[AttemptCommand]
    report_acks: _containers.RepeatedCompositeFieldContainer[ReportAck]
    finish_acks: _containers.RepeatedCompositeFieldContainer[FinishAck]
    wanted_worker: WantedWorker
    ended_session_ids: _containers.RepeatedScalarFieldContainer[str]
    background_turn_acks: _containers.RepeatedCompositeFieldContainer[BackgroundTurnAck]
    response_cache_invalidations: _containers.RepeatedCompositeFieldContainer[_worker_pb2.ResponseCacheInvalidation]
    def __init__(self, message_number: _Optional[int] = ..., welcome: _Optional[_Union[WorkerWelcome, _Mapping]] = ..., renewed_counter: _Optional[int] = ..., assignments: _Optional[_Iterable[_Union[_worker_pb2.Assignment, _Mapping]]] = ..., wanted: _Optional[_Iterable[_Union[WantedAttempt, _Mapping]]] = ..., commands: _Optional[_Iterable[_Union[AttemptCommand, _Mapping]]] = ..., report_acks: _Optional[_Iterable[_Union[ReportAck, _Mapping]]] = ..., finish_acks: _Optional[_Iterable[_Union[FinishAck, _Mapping]]] = ..., wanted_worker: _Optional[_Union[WantedWorker, str]] = ..., ended_session_ids: _Optional[_Iterable[str]] = ..., background_turn_acks: _Optional[_Iterable[_Union[BackgroundTurnAck, _Mapping]]] = ..., response_cache_invalidations: _Optional[_Iterable[_Union[_worker_pb2.ResponseCacheInvalidation, _Mapping]]] = ...) -> None: ...

class BackgroundTurnAck(_message.Message):
    __slots__ = ("turn", "job_id")
    TURN_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    turn: BackgroundTurn
    job_id: str
    def __init__(self, turn: _Optional[_Union[BackgroundTurn, _Mapping]] = ..., job_id: _Optional[str] = ...) -> None: ...

class WorkerWelcome(_message.Message):
    __slots__ = ("lease_duration", "renewal_interval", "held", "connection_id", "server_version", "generation")
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    RENEWAL_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    lease_duration: _duration_pb2.Duration
    renewal_interval: _duration_pb2.Duration
    held: _containers.RepeatedCompositeFieldContainer[HeldAttempt]
    connection_id: str
    server_version: str
    generation: int
    def __init__(self, lease_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., renewal_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., held: _Optional[_Iterable[_Union[HeldAttempt, _Mapping]]] = ..., connection_id: _Optional[str] = ..., server_version: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class HeldAttempt(_message.Message):
    __slots__ = ("lease", "committed_producer_sequence", "wanted", "committed_report_number")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_REPORT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    committed_producer_sequence: int
    wanted: WantedState
    committed_report_number: int
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., committed_producer_sequence: _Optional[int] = ..., wanted: _Optional[_Union[WantedState, str]] = ..., committed_report_number: _Optional[int] = ...) -> None: ...

class WantedAttempt(_message.Message):
    __slots__ = ("lease", "wanted", "cancel_grace", "cause")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_GRACE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    wanted: WantedState
    cancel_grace: _duration_pb2.Duration
    cause: StopCause
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., wanted: _Optional[_Union[WantedState, str]] = ..., cancel_grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cause: _Optional[_Union[StopCause, str]] = ...) -> None: ...

class AttemptCommand(_message.Message):
    __slots__ = ("lease", "command_number", "answer", "settings")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    command_number: int
    answer: _input_pb2.InputAnswer
    settings: SettingsCommand
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., command_number: _Optional[int] = ..., answer: _Optional[_Union[_input_pb2.InputAnswer, _Mapping]] = ..., settings: _Optional[_Union[SettingsCommand, _Mapping]] = ...) -> None: ...

class SettingsCommand(_message.Message):
    __slots__ = ("model", "permission_mode")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PERMISSION_MODE_FIELD_NUMBER: _ClassVar[int]
    model: str
    permission_mode: _task_pb2.PermissionMode
    def __init__(self, model: _Optional[str] = ..., permission_mode: _Optional[_Union[_task_pb2.PermissionMode, str]] = ...) -> None: ...

class ReportAck(_message.Message):
    __slots__ = ("lease", "committed_report_number")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_REPORT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    committed_report_number: int
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., committed_report_number: _Optional[int] = ...) -> None: ...

class FinishAck(_message.Message):
    __slots__ = ("lease", "disposition", "committed_producer_sequence")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    DISPOSITION_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    disposition: FinishDisposition
    committed_producer_sequence: int
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., disposition: _Optional[_Union[FinishDisposition, str]] = ..., committed_producer_sequence: _Optional[int] = ...) -> None: ...

class StreamOutputRequest(_message.Message):
    __slots__ = ("open", "batches", "deltas")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    open: StreamOutputOpen
    batches: _containers.RepeatedCompositeFieldContainer[OutputBatch]
    deltas: _containers.RepeatedCompositeFieldContainer[AttemptDeltas]
    def __init__(self, open: _Optional[_Union[StreamOutputOpen, _Mapping]] = ..., batches: _Optional[_Iterable[_Union[OutputBatch, _Mapping]]] = ..., deltas: _Optional[_Iterable[_Union[AttemptDeltas, _Mapping]]] = ...) -> None: ...

class StreamOutputOpen(_message.Message):
    __slots__ = ("worker_id", "incarnation", "connection_id")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CONNECTION_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    incarnation: str
    connection_id: str
    def __init__(self, worker_id: _Optional[str] = ..., incarnation: _Optional[str] = ..., connection_id: _Optional[str] = ...) -> None: ...

class OutputBatch(_message.Message):
    __slots__ = ("lease", "outputs")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    outputs: _containers.RepeatedCompositeFieldContainer[_event_pb2.Output]
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., outputs: _Optional[_Iterable[_Union[_event_pb2.Output, _Mapping]]] = ...) -> None: ...

class AttemptDeltas(_message.Message):
    __slots__ = ("lease", "deltas", "after_producer_sequence")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    AFTER_PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    deltas: _containers.RepeatedCompositeFieldContainer[_event_pb2.Delta]
    after_producer_sequence: int
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., deltas: _Optional[_Iterable[_Union[_event_pb2.Delta, _Mapping]]] = ..., after_producer_sequence: _Optional[int] = ...) -> None: ...

class StreamOutputResponse(_message.Message):
    __slots__ = ("acks", "credit_bytes")
    ACKS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    acks: _containers.RepeatedCompositeFieldContainer[OutputAck]
    credit_bytes: int
    def __init__(self, acks: _Optional[_Iterable[_Union[OutputAck, _Mapping]]] = ..., credit_bytes: _Optional[int] = ...) -> None: ...

class OutputAck(_message.Message):
    __slots__ = ("lease", "committed_producer_sequence", "stale")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_PRODUCER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    lease: _worker_pb2.Lease
    committed_producer_sequence: int
    stale: bool
    def __init__(self, lease: _Optional[_Union[_worker_pb2.Lease, _Mapping]] = ..., committed_producer_sequence: _Optional[int] = ..., stale: _Optional[bool] = ...) -> None: ...

class ListWorkersRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListWorkersResponse(_message.Message):
    __slots__ = ("workers", "next_page_token")
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    workers: _containers.RepeatedCompositeFieldContainer[_worker_pb2.Worker]
    next_page_token: str
    def __init__(self, workers: _Optional[_Iterable[_Union[_worker_pb2.Worker, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetWorkerRequest(_message.Message):
    __slots__ = ("worker_id",)
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    def __init__(self, worker_id: _Optional[str] = ...) -> None: ...

class GetWorkerResponse(_message.Message):
    __slots__ = ("worker",)
    WORKER_FIELD_NUMBER: _ClassVar[int]
    worker: _worker_pb2.Worker
    def __init__(self, worker: _Optional[_Union[_worker_pb2.Worker, _Mapping]] = ...) -> None: ...

class DrainWorkerRequest(_message.Message):
    __slots__ = ("worker_id", "wanted", "grace")
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    worker_id: str
    wanted: WantedWorker
    grace: _duration_pb2.Duration
    def __init__(self, worker_id: _Optional[str] = ..., wanted: _Optional[_Union[WantedWorker, str]] = ..., grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DrainWorkerResponse(_message.Message):
    __slots__ = ("worker",)
    WORKER_FIELD_NUMBER: _ClassVar[int]
    worker: _worker_pb2.Worker
    def __init__(self, worker: _Optional[_Union[_worker_pb2.Worker, _Mapping]] = ...) -> None: ...
