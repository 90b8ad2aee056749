"""What the request of a follow stream means: which events it wants, and after which sequence it begins."""

from headrace.v1.job_service_pb2 import WatchJobRequest
from headrace_server.core.job import Job
from headrace_server.core.log_filter import LogFilter
from headrace_server.rpc.streams.log_cursor import decode_cursor
from headrace_server.store.codec import time_of
from headrace_server.store.records.log_pages import place_before_last, place_before_time
from headrace_server.store.store import Store


def wanted_of(request: WatchJobRequest) -> LogFilter:
    """The events that the reader wants."""
    kinds = frozenset(int(kind) for kind in request.outputs if kind)
    return LogFilter(not request.without_output, kinds, request.attempt)


async def first_place(store: Store, request: WatchJobRequest, job: Job, wanted: LogFilter) -> int:
    """The sequence after which the stream begins. Raises Refused (INVALID_TOKEN).

    A start time that has not come begins with what comes next.
    """
    if request.cursor:
        return decode_cursor(request.cursor, store.generation, job.sequence, job.id)
    place = 0
    if request.HasField("start_time"):
        place = await store.read(place_before_time, job.row, time_of(request.start_time))
    if request.last:
        place = max(place, await _before_last(store, request.last, job, wanted))
    return place


async def _before_last(store: Store, count: int, job: Job, wanted: LogFilter) -> int:
    """Looks backwards in bounded steps, so that a long log holds up nobody else's reads."""
    before = job.sequence + 1
    while before > 1:
        before, found = await store.read(place_before_last, job.row, before, count, wanted)
        count -= found
        if not count:
            break
    return before - 1
