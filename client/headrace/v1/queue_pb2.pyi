import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import job_pb2 as _job_pb2
from headrace.v1 import outcome_pb2 as _outcome_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FairnessScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAIRNESS_SCOPE_UNSPECIFIED: _ClassVar[FairnessScope]
    FAIRNESS_SCOPE_NONE: _ClassVar[FairnessScope]
    FAIRNESS_SCOPE_OWNER: _ClassVar[FairnessScope]
    FAIRNESS_SCOPE_KEY: _ClassVar[FairnessScope]
FAIRNESS_SCOPE_UNSPECIFIED: FairnessScope
FAIRNESS_SCOPE_NONE: FairnessScope
FAIRNESS_SCOPE_OWNER: FairnessScope
FAIRNESS_SCOPE_KEY: FairnessScope

class Queue(_message.Message):
    __slots__ = ("name", "namespace", "etag", "create_time", "update_time", "max_queued", "priority_head_start", "max_concurrency", "max_concurrency_per_key", "retry_policy", "timeouts", "fairness", "rate_limit", "executors", "pause", "state_counts", "rate_limit_per_key", "drain")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUED_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_HEAD_START_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_PER_KEY_FIELD_NUMBER: _ClassVar[int]
    RETRY_POLICY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUTS_FIELD_NUMBER: _ClassVar[int]
    FAIRNESS_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    STATE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_PER_KEY_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    name: str
    namespace: str
    etag: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    max_queued: int
    priority_head_start: _duration_pb2.Duration
    max_concurrency: int
    max_concurrency_per_key: int
    retry_policy: _job_pb2.RetryPolicy
    timeouts: _job_pb2.Timeouts
    fairness: Fairness
    rate_limit: RateLimit
    executors: _containers.RepeatedScalarFieldContainer[str]
    pause: QueuePause
    state_counts: _containers.RepeatedCompositeFieldContainer[_job_pb2.StateCount]
    rate_limit_per_key: RateLimit
    drain: QueueDrain
    def __init__(self, name: _Optional[str] = ..., namespace: _Optional[str] = ..., etag: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_queued: _Optional[int] = ..., priority_head_start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_concurrency: _Optional[int] = ..., max_concurrency_per_key: _Optional[int] = ..., retry_policy: _Optional[_Union[_job_pb2.RetryPolicy, _Mapping]] = ..., timeouts: _Optional[_Union[_job_pb2.Timeouts, _Mapping]] = ..., fairness: _Optional[_Union[Fairness, _Mapping]] = ..., rate_limit: _Optional[_Union[RateLimit, _Mapping]] = ..., executors: _Optional[_Iterable[str]] = ..., pause: _Optional[_Union[QueuePause, _Mapping]] = ..., state_counts: _Optional[_Iterable[_Union[_job_pb2.StateCount, _Mapping]]] = ..., rate_limit_per_key: _Optional[_Union[RateLimit, _Mapping]] = ..., drain: _Optional[_Union[QueueDrain, _Mapping]] = ...) -> None: ...

class Fairness(_message.Message):
    __slots__ = ("scope", "weights")
    class WeightsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    scope: FairnessScope
    weights: _containers.ScalarMap[str, float]
    def __init__(self, scope: _Optional[_Union[FairnessScope, str]] = ..., weights: _Optional[_Mapping[str, float]] = ...) -> None: ...

class RateLimit(_message.Message):
    __slots__ = ("count", "period", "burst")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    count: int
    period: _duration_pb2.Duration
    burst: int
    def __init__(self, count: _Optional[int] = ..., period: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., burst: _Optional[int] = ...) -> None: ...

class QueueDrain(_message.Message):
    __slots__ = ("actor", "reason", "time", "return_time")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    RETURN_TIME_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    time: _timestamp_pb2.Timestamp
    return_time: _timestamp_pb2.Timestamp
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., return_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class QueueStatistics(_message.Message):
    __slots__ = ("name", "window", "state_counts", "submitted_count", "started_count", "ended_counts", "failure_counts", "submit_rate", "start_rate", "end_rate", "wait", "run", "oldest_queued_job_id", "oldest_queued_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    STATE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    STARTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ENDED_COUNTS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_RATE_FIELD_NUMBER: _ClassVar[int]
    START_RATE_FIELD_NUMBER: _ClassVar[int]
    END_RATE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    OLDEST_QUEUED_JOB_ID_FIELD_NUMBER: _ClassVar[int]
    OLDEST_QUEUED_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    window: _duration_pb2.Duration
    state_counts: _containers.RepeatedCompositeFieldContainer[_job_pb2.StateCount]
    submitted_count: int
    started_count: int
    ended_counts: _containers.RepeatedCompositeFieldContainer[_job_pb2.StateCount]
    failure_counts: _containers.RepeatedCompositeFieldContainer[FailureCount]
    submit_rate: float
    start_rate: float
    end_rate: float
    wait: Quantiles
    run: Quantiles
    oldest_queued_job_id: str
    oldest_queued_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., window: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., state_counts: _Optional[_Iterable[_Union[_job_pb2.StateCount, _Mapping]]] = ..., submitted_count: _Optional[int] = ..., started_count: _Optional[int] = ..., ended_counts: _Optional[_Iterable[_Union[_job_pb2.StateCount, _Mapping]]] = ..., failure_counts: _Optional[_Iterable[_Union[FailureCount, _Mapping]]] = ..., submit_rate: _Optional[float] = ..., start_rate: _Optional[float] = ..., end_rate: _Optional[float] = ..., wait: _Optional[_Union[Quantiles, _Mapping]] = ..., run: _Optional[_Union[Quantiles, _Mapping]] = ..., oldest_queued_job_id: _Optional[str] = ..., oldest_queued_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FailureCount(_message.Message):
    __slots__ = ("failure_class", "count")
    FAILURE_CLASS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    failure_class: _outcome_pb2.FailureClass
    count: int
    def __init__(self, failure_class: _Optional[_Union[_outcome_pb2.FailureClass, str]] = ..., count: _Optional[int] = ...) -> None: ...

class Quantiles(_message.Message):
    __slots__ = ("p50", "p90", "p99", "max", "count")
    P50_FIELD_NUMBER: _ClassVar[int]
    P90_FIELD_NUMBER: _ClassVar[int]
    P99_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    p50: _duration_pb2.Duration
    p90: _duration_pb2.Duration
    p99: _duration_pb2.Duration
    max: _duration_pb2.Duration
    count: int
    def __init__(self, p50: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., p90: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., p99: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., count: _Optional[int] = ...) -> None: ...

class QueuePause(_message.Message):
    __slots__ = ("actor", "reason", "time", "expire_time")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
