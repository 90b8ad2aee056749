import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CapacityState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPACITY_STATE_UNSPECIFIED: _ClassVar[CapacityState]
    CAPACITY_STATE_OPEN: _ClassVar[CapacityState]
    CAPACITY_STATE_CLOSED: _ClassVar[CapacityState]
    CAPACITY_STATE_HALF_OPEN: _ClassVar[CapacityState]

class CapacityCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPACITY_CAUSE_UNSPECIFIED: _ClassVar[CapacityCause]
    CAPACITY_CAUSE_QUOTA: _ClassVar[CapacityCause]
    CAPACITY_CAUSE_OVERLOADED: _ClassVar[CapacityCause]
    CAPACITY_CAUSE_RATE_LIMITED: _ClassVar[CapacityCause]
    CAPACITY_CAUSE_BILLING: _ClassVar[CapacityCause]
    CAPACITY_CAUSE_AUTH: _ClassVar[CapacityCause]
    CAPACITY_CAUSE_OPERATOR: _ClassVar[CapacityCause]

class BudgetPeriod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUDGET_PERIOD_UNSPECIFIED: _ClassVar[BudgetPeriod]
    BUDGET_PERIOD_DAY: _ClassVar[BudgetPeriod]
    BUDGET_PERIOD_TOTAL: _ClassVar[BudgetPeriod]
CAPACITY_STATE_UNSPECIFIED: CapacityState
CAPACITY_STATE_OPEN: CapacityState
CAPACITY_STATE_CLOSED: CapacityState
CAPACITY_STATE_HALF_OPEN: CapacityState
CAPACITY_CAUSE_UNSPECIFIED: CapacityCause
CAPACITY_CAUSE_QUOTA: CapacityCause
CAPACITY_CAUSE_OVERLOADED: CapacityCause
CAPACITY_CAUSE_RATE_LIMITED: CapacityCause
CAPACITY_CAUSE_BILLING: CapacityCause
CAPACITY_CAUSE_AUTH: CapacityCause
CAPACITY_CAUSE_OPERATOR: CapacityCause
BUDGET_PERIOD_UNSPECIFIED: BudgetPeriod
BUDGET_PERIOD_DAY: BudgetPeriod
BUDGET_PERIOD_TOTAL: BudgetPeriod

class CapacityDomain(_message.Message):
    __slots__ = ("name", "state", "since_time", "until_time", "cause", "reason", "actor", "max_concurrency", "running", "waiting", "refusals", "unused")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    UNTIL_TIME_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENCY_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    UNUSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: CapacityState
    since_time: _timestamp_pb2.Timestamp
    until_time: _timestamp_pb2.Timestamp
    cause: CapacityCause
    reason: str
    actor: str
    max_concurrency: int
    running: int
    waiting: int
    refusals: int
    unused: bool
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[CapacityState, str]] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cause: _Optional[_Union[CapacityCause, str]] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., max_concurrency: _Optional[int] = ..., running: _Optional[int] = ..., waiting: _Optional[int] = ..., refusals: _Optional[int] = ..., unused: _Optional[bool] = ...) -> None: ...

class Budget(_message.Message):
    __slots__ = ("namespace", "owner", "period", "max_cost_usd_micros", "max_tokens", "warn_fraction", "reservation_usd_micros", "spent_usd_micros", "spent_tokens", "reserved_usd_micros", "running_tokens", "left_usd_micros", "left_tokens", "reset_time", "create_time", "update_time", "actor")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    MAX_COST_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WARN_FRACTION_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    SPENT_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    SPENT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESERVED_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LEFT_USD_MICROS_FIELD_NUMBER: _ClassVar[int]
    LEFT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RESET_TIME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    owner: str
    period: BudgetPeriod
    max_cost_usd_micros: int
    max_tokens: int
    warn_fraction: float
    reservation_usd_micros: int
    spent_usd_micros: int
    spent_tokens: int
    reserved_usd_micros: int
    running_tokens: int
    left_usd_micros: int
    left_tokens: int
    reset_time: _timestamp_pb2.Timestamp
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    actor: str
    def __init__(self, namespace: _Optional[str] = ..., owner: _Optional[str] = ..., period: _Optional[_Union[BudgetPeriod, str]] = ..., max_cost_usd_micros: _Optional[int] = ..., max_tokens: _Optional[int] = ..., warn_fraction: _Optional[float] = ..., reservation_usd_micros: _Optional[int] = ..., spent_usd_micros: _Optional[int] = ..., spent_tokens: _Optional[int] = ..., reserved_usd_micros: _Optional[int] = ..., running_tokens: _Optional[int] = ..., left_usd_micros: _Optional[int] = ..., left_tokens: _Optional[int] = ..., reset_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ...) -> None: ...
