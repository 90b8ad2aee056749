"""The rules of EventService's requests."""

from headrace.v1 import event_service_pb2 as pb
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    anything,
    at_least_zero,
    bytes_within,
    check_fields,
    enum,
    namespace,
    timestamp,
)
from headrace_server.rpc.event_filters import check_event_filter
from headrace_server.store.codec import time_of

CURSOR_BYTES_MAX = 1024

_READER: Rules = {"namespace": namespace, "scope": enum(pb.FeedScope), "filter": check_event_filter}
LIST: Rules = _READER | {
    "start_time": timestamp,
    "end_time": timestamp,
    "oldest_first": anything,
    "page_size": at_least_zero,
    "page_token": bytes_within(CURSOR_BYTES_MAX),
}
WATCH: Rules = _READER | {
    "cursor": bytes_within(CURSOR_BYTES_MAX),
    "start_time": timestamp,
    "from_beginning": anything,
    "no_follow": anything,
    "max_bytes_per_second": at_least_zero,
}


def check_list(request: pb.ListEventsRequest) -> Refusal | None:
    """Of ListEvents: a range has to have a length."""
    violations = Violations()
    check_fields(request, LIST, "", violations)
    if request.HasField("end_time") and time_of(request.end_time) <= time_of(request.start_time):
        violations.add("end_time", "has to be later than start_time")
    return violations.refusal()


def check_watch(request: pb.WatchEventsRequest) -> Refusal | None:
    """Of WatchEvents."""
    violations = Violations()
    check_fields(request, WATCH, "", violations)
    return violations.refusal()
