import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import event_pb2 as _event_pb2
from headrace.v1 import job_pb2 as _job_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GapReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GAP_REASON_UNSPECIFIED: _ClassVar[GapReason]
    GAP_REASON_RETENTION: _ClassVar[GapReason]
    GAP_REASON_RESTORED: _ClassVar[GapReason]

class EndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_REASON_UNSPECIFIED: _ClassVar[EndReason]
    END_REASON_JOB_ENDED: _ClassVar[EndReason]
    END_REASON_CAUGHT_UP: _ClassVar[EndReason]
    END_REASON_DRAINING: _ClassVar[EndReason]
    END_REASON_JOB_DELETED: _ClassVar[EndReason]
    END_REASON_PERMISSION_REVOKED: _ClassVar[EndReason]
    END_REASON_SESSION_ENDED: _ClassVar[EndReason]
GAP_REASON_UNSPECIFIED: GapReason
GAP_REASON_RETENTION: GapReason
GAP_REASON_RESTORED: GapReason
END_REASON_UNSPECIFIED: EndReason
END_REASON_JOB_ENDED: EndReason
END_REASON_CAUGHT_UP: EndReason
END_REASON_DRAINING: EndReason
END_REASON_JOB_DELETED: EndReason
END_REASON_PERMISSION_REVOKED: EndReason
END_REASON_SESSION_ENDED: EndReason

class WatchOpened(_message.Message):
    __slots__ = ("job", "generation", "deltas_available")
    JOB_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DELTAS_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    generation: int
    deltas_available: bool
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ..., generation: _Optional[int] = ..., deltas_available: _Optional[bool] = ...) -> None: ...

class EventBatch(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ...) -> None: ...

class DeltaBatch(_message.Message):
    __slots__ = ("deltas",)
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    deltas: _containers.RepeatedCompositeFieldContainer[_event_pb2.Delta]
    def __init__(self, deltas: _Optional[_Iterable[_Union[_event_pb2.Delta, _Mapping]]] = ...) -> None: ...

class WatchHeartbeat(_message.Message):
    __slots__ = ("time",)
    TIME_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class WatchGap(_message.Message):
    __slots__ = ("from_sequence", "to_sequence", "reason", "earliest_sequence")
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TO_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    from_sequence: int
    to_sequence: int
    reason: GapReason
    earliest_sequence: int
    def __init__(self, from_sequence: _Optional[int] = ..., to_sequence: _Optional[int] = ..., reason: _Optional[_Union[GapReason, str]] = ..., earliest_sequence: _Optional[int] = ...) -> None: ...

class WatchEnd(_message.Message):
    __slots__ = ("reason", "job")
    REASON_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    reason: EndReason
    job: _job_pb2.Job
    def __init__(self, reason: _Optional[_Union[EndReason, str]] = ..., job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...
