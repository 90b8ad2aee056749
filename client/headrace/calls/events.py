"""The calls of EventService, and the request of its stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from headrace import tasks, words
from headrace.calls.call import Call, Page
from headrace.v1 import event_service_pb2

Scope: TypeAlias = "str | event_service_pb2.FeedScope"
"""`own` for the jobs that the caller owns, `namespace` for all."""


@dataclass(frozen=True, slots=True)
class Range:
    """What of the feed is listed, and in which order."""

    filter: str
    scope: Scope | None
    start: datetime | None
    end: datetime | None
    oldest_first: bool


def page(namespace: str, wanted: Range, page_size: int, page_token: str) -> Call[Page[event_service_pb2.FeedEvent]]:
    request = event_service_pb2.ListEventsRequest(
        namespace=namespace,
        scope=words.chosen(event_service_pb2.FeedScope, wanted.scope),
        filter=wanted.filter,
        start_time=None if wanted.start is None else tasks.timestamp(wanted.start),
        end_time=None if wanted.end is None else tasks.timestamp(wanted.end),
        oldest_first=wanted.oldest_first,
        page_size=page_size,
        page_token=page_token,
    )
    return Call(
        lambda s: s.events.ListEvents, request, lambda response: Page(response.events, response.next_page_token)
    )


def following(
    namespace: str,
    filter: str,
    scope: Scope | None,
    cursor: str,
    start: datetime | None,
    from_beginning: bool,
    no_follow: bool,
    max_bytes_per_second: int,
) -> event_service_pb2.WatchEventsRequest:
    """The request that follows the feed from a cursor, a time, the beginning or now."""
    request = event_service_pb2.WatchEventsRequest(
        namespace=namespace,
        scope=words.chosen(event_service_pb2.FeedScope, scope),
        filter=filter,
        cursor=cursor,
        no_follow=no_follow,
        max_bytes_per_second=max_bytes_per_second,
    )
    if start is not None:
        request.start_time.CopyFrom(tasks.timestamp(start))
    elif from_beginning:
        request.from_beginning = True
    return request
