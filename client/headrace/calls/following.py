"""The request that follows a job: from where, what of it, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from headrace import tasks, words
from headrace.options import check_names
from headrace.v1 import job_service_pb2


class FollowOptions(TypedDict, total=False):
    """What of a job's log is read; all of it, from the beginning, unless said otherwise."""

    cursor: str
    """Go on after this place."""
    deltas: bool
    """Also pieces of messages as they are said, which may be lost; the whole message always follows as an event."""
    no_follow: bool
    """End when everything up to now was read."""
    output: bool | Sequence[str | job_service_pb2.OutputKind]
    """False leaves output out; or only these kinds of it: `stdout`, `stderr`, `messages`, `progress`."""
    last: int
    """Begin with the last so many events of those that are wanted."""
    start: datetime
    """Begin with what was committed at this time or later."""
    attempt: int
    """Only events of this attempt, and those that belong to none."""
    max_bytes_per_second: int
    """At most so many bytes of events a second."""


def of_job(namespace: str, job_id: str, options: FollowOptions) -> job_service_pb2.WatchJobRequest:
    """The request for a job by id."""
    return _filled(job_service_pb2.WatchJobRequest(namespace=namespace, job_id=job_id), options)


def of_unique_key(
    namespace: str, key: str, queue: str, wait: bool, options: FollowOptions
) -> job_service_pb2.WatchJobRequest:
    """The request for the newest job with a unique key."""
    subject = job_service_pb2.WatchUniqueKey(queue=queue, key=key, wait=wait)
    return _filled(job_service_pb2.WatchJobRequest(namespace=namespace, unique_key=subject), options)


def _filled(request: job_service_pb2.WatchJobRequest, options: FollowOptions) -> job_service_pb2.WatchJobRequest:
    check_names(options, FollowOptions)
    request.cursor = options.get("cursor", "")
    request.deltas = options.get("deltas", False)
    request.no_follow = options.get("no_follow", False)
    output = options.get("output", True)
    request.without_output = output is False
    if not isinstance(output, bool):
        request.without_output = not output
        request.outputs.extend(words.chosen(job_service_pb2.OutputKind, kind) for kind in output)
    request.last = options.get("last", 0)
    if "start" in options:
        request.start_time.CopyFrom(tasks.timestamp(options["start"]))
    request.attempt = options.get("attempt", 0)
    request.max_bytes_per_second = options.get("max_bytes_per_second", 0)
    return request
