import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from headrace.v1 import event_pb2 as _event_pb2
from headrace.v1 import watch_pb2 as _watch_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeedScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEED_SCOPE_UNSPECIFIED: _ClassVar[FeedScope]
    FEED_SCOPE_OWN: _ClassVar[FeedScope]
    FEED_SCOPE_NAMESPACE: _ClassVar[FeedScope]
FEED_SCOPE_UNSPECIFIED: FeedScope
FEED_SCOPE_OWN: FeedScope
FEED_SCOPE_NAMESPACE: FeedScope

class FeedEvent(_message.Message):
    __slots__ = ("event", "queue", "owner", "display_name")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    event: _event_pb2.Event
    queue: str
    owner: str
    display_name: str
    def __init__(self, event: _Optional[_Union[_event_pb2.Event, _Mapping]] = ..., queue: _Optional[str] = ..., owner: _Optional[str] = ..., display_name: _Optional[str] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("namespace", "scope", "filter", "start_time", "end_time", "oldest_first", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIRST_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    scope: FeedScope
    filter: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    oldest_first: bool
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., scope: _Optional[_Union[FeedScope, str]] = ..., filter: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., oldest_first: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[FeedEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[FeedEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("namespace", "scope", "filter", "cursor", "start_time", "from_beginning", "no_follow", "max_bytes_per_second")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    FROM_BEGINNING_FIELD_NUMBER: _ClassVar[int]
    NO_FOLLOW_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    scope: FeedScope
    filter: str
    cursor: str
    start_time: _timestamp_pb2.Timestamp
    from_beginning: bool
    no_follow: bool
    max_bytes_per_second: int
    def __init__(self, namespace: _Optional[str] = ..., scope: _Optional[_Union[FeedScope, str]] = ..., filter: _Optional[str] = ..., cursor: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., from_beginning: _Optional[bool] = ..., no_follow: _Optional[bool] = ..., max_bytes_per_second: _Optional[int] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("cursor", "opened", "batch", "bookmark", "gap", "end")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    BOOKMARK_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    opened: FeedOpened
    batch: FeedBatch
    bookmark: FeedBookmark
    gap: FeedGap
    end: FeedEnd
    def __init__(self, cursor: _Optional[str] = ..., opened: _Optional[_Union[FeedOpened, _Mapping]] = ..., batch: _Optional[_Union[FeedBatch, _Mapping]] = ..., bookmark: _Optional[_Union[FeedBookmark, _Mapping]] = ..., gap: _Optional[_Union[FeedGap, _Mapping]] = ..., end: _Optional[_Union[FeedEnd, _Mapping]] = ...) -> None: ...

class FeedOpened(_message.Message):
    __slots__ = ("generation", "last_position")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    last_position: int
    def __init__(self, generation: _Optional[int] = ..., last_position: _Optional[int] = ...) -> None: ...

class FeedBatch(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[FeedEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[FeedEvent, _Mapping]]] = ...) -> None: ...

class FeedBookmark(_message.Message):
    __slots__ = ("time",)
    TIME_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FeedGap(_message.Message):
    __slots__ = ("from_position", "to_position", "reason", "earliest_position")
    FROM_POSITION_FIELD_NUMBER: _ClassVar[int]
    TO_POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EARLIEST_POSITION_FIELD_NUMBER: _ClassVar[int]
    from_position: int
    to_position: int
    reason: _watch_pb2.GapReason
    earliest_position: int
    def __init__(self, from_position: _Optional[int] = ..., to_position: _Optional[int] = ..., reason: _Optional[_Union[_watch_pb2.GapReason, str]] = ..., earliest_position: _Optional[int] = ...) -> None: ...

class FeedEnd(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: _watch_pb2.EndReason
    def __init__(self, reason: _Optional[_Union[_watch_pb2.EndReason, str]] = ...) -> None: ...
