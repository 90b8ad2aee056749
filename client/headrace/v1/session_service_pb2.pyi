import datetime

from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import error_pb2 as _error_pb2
from headrace.v1 import event_pb2 as _event_pb2
from headrace.v1 import input_pb2 as _input_pb2
from headrace.v1 import job_pb2 as _job_pb2
from headrace.v1 import session_pb2 as _session_pb2
from headrace.v1 import watch_pb2 as _watch_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CreateSessionRequest(_message.Message):
    __slots__ = ("namespace", "request_id", "spec")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    request_id: str
    spec: _session_pb2.SessionSpec
    def __init__(self, namespace: _Optional[str] = ..., request_id: _Optional[str] = ..., spec: _Optional[_Union[_session_pb2.SessionSpec, _Mapping]] = ...) -> None: ...

class CreateSessionResponse(_message.Message):
    __slots__ = ("session", "deduplicated")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATED_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    deduplicated: bool
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ..., deduplicated: _Optional[bool] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("namespace", "session_id")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    session_id: str
    def __init__(self, namespace: _Optional[str] = ..., session_id: _Optional[str] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("namespace", "filter", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    filter: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., filter: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[_session_pb2.Session]
    next_page_token: str
    def __init__(self, sessions: _Optional[_Iterable[_Union[_session_pb2.Session, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateSessionRequest(_message.Message):
    __slots__ = ("namespace", "session_id", "update_mask", "spec", "etag")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    session_id: str
    update_mask: _field_mask_pb2.FieldMask
    spec: _session_pb2.SessionSpec
    etag: str
    def __init__(self, namespace: _Optional[str] = ..., session_id: _Optional[str] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., spec: _Optional[_Union[_session_pb2.SessionSpec, _Mapping]] = ..., etag: _Optional[str] = ...) -> None: ...

class UpdateSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ...) -> None: ...

class SendMessageRequest(_message.Message):
    __slots__ = ("namespace", "session_id", "request_id", "text")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    session_id: str
    request_id: str
    text: str
    def __init__(self, namespace: _Optional[str] = ..., session_id: _Optional[str] = ..., request_id: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class SendMessageResponse(_message.Message):
    __slots__ = ("job", "deduplicated")
    JOB_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATED_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    deduplicated: bool
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ..., deduplicated: _Optional[bool] = ...) -> None: ...

class AnswerRequestRequest(_message.Message):
    __slots__ = ("namespace", "job_id", "session_id", "answer")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    job_id: str
    session_id: str
    answer: _input_pb2.InputAnswer
    def __init__(self, namespace: _Optional[str] = ..., job_id: _Optional[str] = ..., session_id: _Optional[str] = ..., answer: _Optional[_Union[_input_pb2.InputAnswer, _Mapping]] = ...) -> None: ...

class AnswerRequestResponse(_message.Message):
    __slots__ = ("resolution",)
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    resolution: _input_pb2.InputResolution
    def __init__(self, resolution: _Optional[_Union[_input_pb2.InputResolution, str]] = ...) -> None: ...

class InterruptSessionRequest(_message.Message):
    __slots__ = ("namespace", "session_id", "reason")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    session_id: str
    reason: str
    def __init__(self, namespace: _Optional[str] = ..., session_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class InterruptSessionResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class ForkSessionRequest(_message.Message):
    __slots__ = ("namespace", "session_id", "request_id", "display_name", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    session_id: str
    request_id: str
    display_name: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, namespace: _Optional[str] = ..., session_id: _Optional[str] = ..., request_id: _Optional[str] = ..., display_name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ForkSessionResponse(_message.Message):
    __slots__ = ("session", "deduplicated")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATED_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    deduplicated: bool
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ..., deduplicated: _Optional[bool] = ...) -> None: ...

class CloseSessionRequest(_message.Message):
    __slots__ = ("namespace", "session_id", "reason", "finish_turn")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FINISH_TURN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    session_id: str
    reason: str
    finish_turn: bool
    def __init__(self, namespace: _Optional[str] = ..., session_id: _Optional[str] = ..., reason: _Optional[str] = ..., finish_turn: _Optional[bool] = ...) -> None: ...

class CloseSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ...) -> None: ...

class ConverseRequest(_message.Message):
    __slots__ = ("number", "open", "message", "answer", "interrupt", "settings", "credit")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    number: int
    open: ConverseOpen
    message: ConverseMessage
    answer: _input_pb2.InputAnswer
    interrupt: ConverseInterrupt
    settings: ConverseSettings
    credit: ConverseCredit
    def __init__(self, number: _Optional[int] = ..., open: _Optional[_Union[ConverseOpen, _Mapping]] = ..., message: _Optional[_Union[ConverseMessage, _Mapping]] = ..., answer: _Optional[_Union[_input_pb2.InputAnswer, _Mapping]] = ..., interrupt: _Optional[_Union[ConverseInterrupt, _Mapping]] = ..., settings: _Optional[_Union[ConverseSettings, _Mapping]] = ..., credit: _Optional[_Union[ConverseCredit, _Mapping]] = ...) -> None: ...

class ConverseOpen(_message.Message):
    __slots__ = ("namespace", "session_id", "create", "request_id", "cursor", "last_turns", "deltas", "without_raw_frames", "credit")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LAST_TURNS_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_RAW_FRAMES_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    session_id: str
    create: _session_pb2.SessionSpec
    request_id: str
    cursor: str
    last_turns: int
    deltas: bool
    without_raw_frames: bool
    credit: int
    def __init__(self, namespace: _Optional[str] = ..., session_id: _Optional[str] = ..., create: _Optional[_Union[_session_pb2.SessionSpec, _Mapping]] = ..., request_id: _Optional[str] = ..., cursor: _Optional[str] = ..., last_turns: _Optional[int] = ..., deltas: _Optional[bool] = ..., without_raw_frames: _Optional[bool] = ..., credit: _Optional[int] = ...) -> None: ...

class ConverseMessage(_message.Message):
    __slots__ = ("text", "request_id")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    text: str
    request_id: str
    def __init__(self, text: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ConverseInterrupt(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class ConverseSettings(_message.Message):
    __slots__ = ("update_mask", "spec")
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    update_mask: _field_mask_pb2.FieldMask
    spec: _session_pb2.SessionSpec
    def __init__(self, update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., spec: _Optional[_Union[_session_pb2.SessionSpec, _Mapping]] = ...) -> None: ...

class ConverseCredit(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: int
    def __init__(self, events: _Optional[int] = ...) -> None: ...

class ConverseResponse(_message.Message):
    __slots__ = ("cursor", "opened", "batch", "deltas", "inputs", "session", "done", "heartbeat", "gap", "end")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    opened: ConverseOpened
    batch: ConverseBatch
    deltas: ConverseDeltas
    inputs: ConverseInputs
    session: _session_pb2.Session
    done: ConverseDone
    heartbeat: _watch_pb2.WatchHeartbeat
    gap: ConverseGap
    end: ConverseEnd
    def __init__(self, cursor: _Optional[str] = ..., opened: _Optional[_Union[ConverseOpened, _Mapping]] = ..., batch: _Optional[_Union[ConverseBatch, _Mapping]] = ..., deltas: _Optional[_Union[ConverseDeltas, _Mapping]] = ..., inputs: _Optional[_Union[ConverseInputs, _Mapping]] = ..., session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ..., done: _Optional[_Union[ConverseDone, _Mapping]] = ..., heartbeat: _Optional[_Union[_watch_pb2.WatchHeartbeat, _Mapping]] = ..., gap: _Optional[_Union[ConverseGap, _Mapping]] = ..., end: _Optional[_Union[ConverseEnd, _Mapping]] = ...) -> None: ...

class ConverseOpened(_message.Message):
    __slots__ = ("session", "generation")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    session: _session_pb2.Session
    generation: int
    def __init__(self, session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ..., generation: _Optional[int] = ...) -> None: ...

class ConverseBatch(_message.Message):
    __slots__ = ("job_id", "turn", "events")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    TURN_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    turn: int
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    def __init__(self, job_id: _Optional[str] = ..., turn: _Optional[int] = ..., events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ...) -> None: ...

class ConverseDeltas(_message.Message):
    __slots__ = ("job_id", "deltas")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    deltas: _containers.RepeatedCompositeFieldContainer[_event_pb2.Delta]
    def __init__(self, job_id: _Optional[str] = ..., deltas: _Optional[_Iterable[_Union[_event_pb2.Delta, _Mapping]]] = ...) -> None: ...

class ConverseInputs(_message.Message):
    __slots__ = ("open",)
    OPEN_FIELD_NUMBER: _ClassVar[int]
    open: _containers.RepeatedCompositeFieldContainer[_session_pb2.OpenInput]
    def __init__(self, open: _Optional[_Iterable[_Union[_session_pb2.OpenInput, _Mapping]]] = ...) -> None: ...

class ConverseDone(_message.Message):
    __slots__ = ("number", "error", "job_id", "resolution", "time")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    number: int
    error: _error_pb2.ItemError
    job_id: str
    resolution: _input_pb2.InputResolution
    time: _timestamp_pb2.Timestamp
    def __init__(self, number: _Optional[int] = ..., error: _Optional[_Union[_error_pb2.ItemError, _Mapping]] = ..., job_id: _Optional[str] = ..., resolution: _Optional[_Union[_input_pb2.InputResolution, str]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ConverseGap(_message.Message):
    __slots__ = ("job_id", "gap")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    gap: _watch_pb2.WatchGap
    def __init__(self, job_id: _Optional[str] = ..., gap: _Optional[_Union[_watch_pb2.WatchGap, _Mapping]] = ...) -> None: ...

class ConverseEnd(_message.Message):
    __slots__ = ("reason", "session")
    REASON_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    reason: _watch_pb2.EndReason
    session: _session_pb2.Session
    def __init__(self, reason: _Optional[_Union[_watch_pb2.EndReason, str]] = ..., session: _Optional[_Union[_session_pb2.Session, _Mapping]] = ...) -> None: ...
