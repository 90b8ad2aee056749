"""Protobuf's wire format, as far as joining messages that are already serialised needs it.

Events are serialised once, when they are written; pages of them go to every follower as those bytes.
"""

from collections.abc import Iterable
from functools import lru_cache

from headrace.v1 import event_pb2, event_service_pb2, job_service_pb2, session_service_pb2, watch_pb2

_EVENT_OUTPUT = event_pb2.Event.DESCRIPTOR.fields_by_name["output"].number << 3 | 2
_BATCH_EVENTS = watch_pb2.EventBatch.DESCRIPTOR.fields_by_name["events"].number << 3 | 2
_WATCH_CURSOR = job_service_pb2.WatchJobResponse.DESCRIPTOR.fields_by_name["cursor"].number << 3 | 2
_WATCH_BATCH = job_service_pb2.WatchJobResponse.DESCRIPTOR.fields_by_name["batch"].number << 3 | 2
_FEED_CURSOR = event_service_pb2.WatchEventsResponse.DESCRIPTOR.fields_by_name["cursor"].number << 3 | 2
_FEED_BATCH = event_service_pb2.WatchEventsResponse.DESCRIPTOR.fields_by_name["batch"].number << 3 | 2
_CONVERSE_CURSOR = session_service_pb2.ConverseResponse.DESCRIPTOR.fields_by_name["cursor"].number << 3 | 2
_CONVERSE_BATCH = session_service_pb2.ConverseResponse.DESCRIPTOR.fields_by_name["batch"].number << 3 | 2
_TURN_EVENTS = session_service_pb2.ConverseBatch.DESCRIPTOR.fields_by_name["events"].number << 3 | 2


def varint(value: int) -> bytes:
    """An unsigned number."""
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_FEED_TAG = varint(event_service_pb2.FeedBatch.DESCRIPTOR.fields_by_name["events"].number << 3 | 2)
_EVENT_TAG = varint(event_service_pb2.FeedEvent.DESCRIPTOR.fields_by_name["event"].number << 3 | 2)


def output_event(header: bytes, output: bytes) -> bytes:
    """An `Event` of a serialised event without its kind and a serialised `Output`."""
    return b"".join((header, varint(_EVENT_OUTPUT), varint(len(output)), output))


def batch_field(events: Iterable[bytes]) -> bytes:
    """The field of a `WatchJobResponse` that holds a batch of serialised events."""
    tag = varint(_BATCH_EVENTS)
    batch = b"".join(part for event in events for part in (tag, varint(len(event)), event))
    return b"".join((varint(_WATCH_BATCH), varint(len(batch)), batch))


def events_of(batch: bytes) -> list[bytes]:
    """The serialised events of a `batch_field`; none of an empty one."""
    events: list[bytes] = []
    if not batch:
        return events
    _, place = _read_varint(batch, 0)
    _, place = _read_varint(batch, place)
    while place < len(batch):
        _, place = _read_varint(batch, place)
        size, place = _read_varint(batch, place)
        events.append(batch[place : place + size])
        place += size
    return events


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """An unsigned number, and the place after it."""
    value = shift = 0
    while (byte := data[place]) & 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
        place += 1
    return value | byte << shift, place + 1


def watch_batch(cursor: str, batch: bytes) -> bytes:
    """A `WatchJobResponse` with a cursor and a `batch_field`."""
    text = cursor.encode()
    return b"".join((varint(_WATCH_CURSOR), varint(len(text)), text, batch))


def turn_batch(cursor: str, turn: session_service_pb2.ConverseBatch, events: Iterable[bytes]) -> bytes:
    """A `ConverseResponse` with a cursor and a batch of serialised events of a turn, which `turn` names."""
    tag = varint(_TURN_EVENTS)
    batch = turn.SerializeToString() + b"".join(part for event in events for part in (tag, varint(len(event)), event))
    text = cursor.encode()
    return b"".join(
        (varint(_CONVERSE_CURSOR), varint(len(text)), text, varint(_CONVERSE_BATCH), varint(len(batch)), batch)
    )


@lru_cache(maxsize=1024)
def feed_job_fields(queue: str, owner: str, display_name: str) -> bytes:
    """The fields of a `FeedEvent` after its event."""
    return event_service_pb2.FeedEvent(queue=queue, owner=owner, display_name=display_name).SerializeToString()


def feed_entry(event: bytes, job: bytes) -> bytes:
    """A `FeedBatch` of one serialised event with its `feed_job_fields`; several, joined, are a batch of all of them."""
    size = varint(len(event))
    length = varint(len(_EVENT_TAG) + len(size) + len(event) + len(job))
    return b"".join((_FEED_TAG, length, _EVENT_TAG, size, event, job))


def feed_batch(cursor: str, entries: Iterable[bytes]) -> bytes:
    """A `WatchEventsResponse` that holds a batch of entries."""
    batch = b"".join(entries)
    text = cursor.encode()
    return b"".join((varint(_FEED_CURSOR), varint(len(text)), text, varint(_FEED_BATCH), varint(len(batch)), batch))
