import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import capacity_pb2 as _capacity_pb2
from headrace.v1 import job_pb2 as _job_pb2
from headrace.v1 import settings_pb2 as _settings_pb2
from headrace.v1 import worker_pb2 as _worker_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AlertSeverity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALERT_SEVERITY_UNSPECIFIED: _ClassVar[AlertSeverity]
    ALERT_SEVERITY_WARNING: _ClassVar[AlertSeverity]
    ALERT_SEVERITY_CRITICAL: _ClassVar[AlertSeverity]

class CapacityOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPACITY_ORDER_UNSPECIFIED: _ClassVar[CapacityOrder]
    CAPACITY_ORDER_OPEN: _ClassVar[CapacityOrder]
    CAPACITY_ORDER_CLOSE: _ClassVar[CapacityOrder]
ALERT_SEVERITY_UNSPECIFIED: AlertSeverity
ALERT_SEVERITY_WARNING: AlertSeverity
ALERT_SEVERITY_CRITICAL: AlertSeverity
CAPACITY_ORDER_UNSPECIFIED: CapacityOrder
CAPACITY_ORDER_OPEN: CapacityOrder
CAPACITY_ORDER_CLOSE: CapacityOrder

class GetResponseCacheRequest(_message.Message):
    __slots__ = ("namespace",)
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    def __init__(self, namespace: _Optional[str] = ...) -> None: ...

class GetResponseCacheResponse(_message.Message):
    __slots__ = ("workers", "total", "invalidate_time", "invalidate_actor")
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    INVALIDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    INVALIDATE_ACTOR_FIELD_NUMBER: _ClassVar[int]
    workers: int
    total: _worker_pb2.ResponseCacheState
    invalidate_time: _timestamp_pb2.Timestamp
    invalidate_actor: str
    def __init__(self, workers: _Optional[int] = ..., total: _Optional[_Union[_worker_pb2.ResponseCacheState, _Mapping]] = ..., invalidate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., invalidate_actor: _Optional[str] = ...) -> None: ...

class InvalidateResponseCacheRequest(_message.Message):
    __slots__ = ("namespace", "reason")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    reason: str
    def __init__(self, namespace: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class InvalidateResponseCacheResponse(_message.Message):
    __slots__ = ("invalidate_time",)
    INVALIDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    invalidate_time: _timestamp_pb2.Timestamp
    def __init__(self, invalidate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetSettingsRequest(_message.Message):
    __slots__ = ("namespace",)
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    def __init__(self, namespace: _Optional[str] = ...) -> None: ...

class GetSettingsResponse(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: _settings_pb2.NamespaceSettings
    def __init__(self, settings: _Optional[_Union[_settings_pb2.NamespaceSettings, _Mapping]] = ...) -> None: ...

class UpdateSettingsRequest(_message.Message):
    __slots__ = ("namespace", "settings", "validate_only")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    settings: _settings_pb2.NamespaceSettings
    validate_only: bool
    def __init__(self, namespace: _Optional[str] = ..., settings: _Optional[_Union[_settings_pb2.NamespaceSettings, _Mapping]] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class UpdateSettingsResponse(_message.Message):
    __slots__ = ("settings",)
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    settings: _settings_pb2.NamespaceSettings
    def __init__(self, settings: _Optional[_Union[_settings_pb2.NamespaceSettings, _Mapping]] = ...) -> None: ...

class AuditEntry(_message.Message):
    __slots__ = ("number", "time", "actor", "action", "namespace", "resource_type", "resource_name", "detail")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    number: int
    time: _timestamp_pb2.Timestamp
    actor: str
    action: str
    namespace: str
    resource_type: str
    resource_name: str
    detail: str
    def __init__(self, number: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., action: _Optional[str] = ..., namespace: _Optional[str] = ..., resource_type: _Optional[str] = ..., resource_name: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class ListAuditEntriesRequest(_message.Message):
    __slots__ = ("namespace", "resource_type", "resource_name", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_NAME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    resource_type: str
    resource_name: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., resource_type: _Optional[str] = ..., resource_name: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuditEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[AuditEntry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[AuditEntry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchHealthRequest(_message.Message):
    __slots__ = ("interval",)
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    interval: _duration_pb2.Duration
    def __init__(self, interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchHealthResponse(_message.Message):
    __slots__ = ("time", "serving", "state_counts", "queue_saturation", "slots", "slots_used", "worker_counts", "event_loop_lag", "commit_p50", "commit_max", "waiting_writes", "followers", "disk_free_bytes", "memory_bytes", "alerts")
    TIME_FIELD_NUMBER: _ClassVar[int]
    SERVING_FIELD_NUMBER: _ClassVar[int]
    STATE_COUNTS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_SATURATION_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_USED_FIELD_NUMBER: _ClassVar[int]
    WORKER_COUNTS_FIELD_NUMBER: _ClassVar[int]
    EVENT_LOOP_LAG_FIELD_NUMBER: _ClassVar[int]
    COMMIT_P50_FIELD_NUMBER: _ClassVar[int]
    COMMIT_MAX_FIELD_NUMBER: _ClassVar[int]
    WAITING_WRITES_FIELD_NUMBER: _ClassVar[int]
    FOLLOWERS_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    ALERTS_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    serving: bool
    state_counts: _containers.RepeatedCompositeFieldContainer[_job_pb2.StateCount]
    queue_saturation: float
    slots: int
    slots_used: int
    worker_counts: _containers.RepeatedCompositeFieldContainer[WorkerStateCount]
    event_loop_lag: _duration_pb2.Duration
    commit_p50: _duration_pb2.Duration
    commit_max: _duration_pb2.Duration
    waiting_writes: int
    followers: int
    disk_free_bytes: int
    memory_bytes: int
    alerts: _containers.RepeatedCompositeFieldContainer[Alert]
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., serving: _Optional[bool] = ..., state_counts: _Optional[_Iterable[_Union[_job_pb2.StateCount, _Mapping]]] = ..., queue_saturation: _Optional[float] = ..., slots: _Optional[int] = ..., slots_used: _Optional[int] = ..., worker_counts: _Optional[_Iterable[_Union[WorkerStateCount, _Mapping]]] = ..., event_loop_lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., commit_p50: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., commit_max: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., waiting_writes: _Optional[int] = ..., followers: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., alerts: _Optional[_Iterable[_Union[Alert, _Mapping]]] = ...) -> None: ...

class WorkerStateCount(_message.Message):
    __slots__ = ("state", "count")
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    state: _worker_pb2.WorkerState
    count: int
    def __init__(self, state: _Optional[_Union[_worker_pb2.WorkerState, str]] = ..., count: _Optional[int] = ...) -> None: ...

class Alert(_message.Message):
    __slots__ = ("name", "severity", "message", "start_time", "update_time", "clear_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    CLEAR_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    severity: AlertSeverity
    message: str
    start_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    clear_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., severity: _Optional[_Union[AlertSeverity, str]] = ..., message: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., clear_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListCapacityDomainsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCapacityDomainsResponse(_message.Message):
    __slots__ = ("domains", "next_page_token")
    DOMAINS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    domains: _containers.RepeatedCompositeFieldContainer[_capacity_pb2.CapacityDomain]
    next_page_token: str
    def __init__(self, domains: _Optional[_Iterable[_Union[_capacity_pb2.CapacityDomain, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateCapacityDomainRequest(_message.Message):
    __slots__ = ("name", "order", "reason", "duration")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    order: CapacityOrder
    reason: str
    duration: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., order: _Optional[_Union[CapacityOrder, str]] = ..., reason: _Optional[str] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class UpdateCapacityDomainResponse(_message.Message):
    __slots__ = ("domain",)
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    domain: _capacity_pb2.CapacityDomain
    def __init__(self, domain: _Optional[_Union[_capacity_pb2.CapacityDomain, _Mapping]] = ...) -> None: ...

class SetBudgetRequest(_message.Message):
    __slots__ = ("budget",)
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    budget: _capacity_pb2.Budget
    def __init__(self, budget: _Optional[_Union[_capacity_pb2.Budget, _Mapping]] = ...) -> None: ...

class SetBudgetResponse(_message.Message):
    __slots__ = ("budget",)
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    budget: _capacity_pb2.Budget
    def __init__(self, budget: _Optional[_Union[_capacity_pb2.Budget, _Mapping]] = ...) -> None: ...

class ListBudgetsRequest(_message.Message):
    __slots__ = ("namespace", "owner", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    owner: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., owner: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBudgetsResponse(_message.Message):
    __slots__ = ("budgets", "next_page_token")
    BUDGETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    budgets: _containers.RepeatedCompositeFieldContainer[_capacity_pb2.Budget]
    next_page_token: str
    def __init__(self, budgets: _Optional[_Iterable[_Union[_capacity_pb2.Budget, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteBudgetRequest(_message.Message):
    __slots__ = ("namespace", "owner", "period")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    owner: str
    period: _capacity_pb2.BudgetPeriod
    def __init__(self, namespace: _Optional[str] = ..., owner: _Optional[str] = ..., period: _Optional[_Union[_capacity_pb2.BudgetPeriod, str]] = ...) -> None: ...

class DeleteBudgetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
