"""Events of the feed as lines for a person. Pure."""

from __future__ import annotations

from google.protobuf import json_format

from headrace.cli import amounts, narration
from headrace.cli.parts import one_line
from headrace.v1 import event_pb2, event_service_pb2, job_pb2, watch_pb2

ENDED: dict[str, job_pb2.JobState] = {
    "succeeded": job_pb2.JOB_STATE_SUCCEEDED,
    "failed": job_pb2.JOB_STATE_FAILED,
    "cancelled": job_pb2.JOB_STATE_CANCELLED,
    "expired": job_pb2.JOB_STATE_EXPIRED,
    "skipped": job_pb2.JOB_STATE_SKIPPED,
}


def event_line(one: event_service_pb2.FeedEvent) -> str:
    """When, which job, in which queue, and what happened."""
    event = one.event
    name = f" {one_line(one.display_name, 40)!r}" if one.display_name else ""
    return f"{amounts.clock(event.time)}  {event.job_id}  {one.queue}{name}  {what_happened(event)}"


def what_happened(event: event_pb2.Event) -> str:
    """The event in words."""
    kind = event.WhichOneof("kind") or ""
    if kind in ENDED:
        return _ending(event, kind)
    told = narration.lines(event)
    return "; ".join(line.text for line in told) if told else kind or "something that this version does not know"


def _ending(event: event_pb2.Event, kind: str) -> str:
    """As the outcome of a job is told, of what the event says."""
    job = job_pb2.Job(state=ENDED[kind])
    said = getattr(event, kind)
    for field in ("failure", "cancellation", "usage"):
        if field in said.DESCRIPTOR.fields_by_name and said.HasField(field):
            getattr(job, field).CopyFrom(getattr(said, field))
    return narration.outcome_line(job).text


def gap_line(gap: event_service_pb2.FeedGap) -> str:
    """Events that are gone."""
    if gap.reason == watch_pb2.GAP_REASON_RESTORED:
        return f"the store was restored from a backup: events up to {gap.to_position} may be others than those seen"
    if gap.from_position == gap.to_position:
        return f"event {gap.from_position} is missing: it was removed with its job"
    return f"events of {gap.from_position} to {gap.to_position} are missing: they were removed with their jobs"


def json_line(item: event_service_pb2.FeedEvent | event_service_pb2.FeedGap | event_service_pb2.FeedEnd) -> str:
    """An event as it is; anything else in the words of WatchEventsResponse: `{"gap": …}`, `{"end": …}`."""
    message: event_service_pb2.FeedEvent | event_service_pb2.WatchEventsResponse
    match item:
        case event_service_pb2.FeedGap():
            message = event_service_pb2.WatchEventsResponse(gap=item)
        case event_service_pb2.FeedEnd():
            message = event_service_pb2.WatchEventsResponse(end=item)
        case _:
            message = item
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False)
