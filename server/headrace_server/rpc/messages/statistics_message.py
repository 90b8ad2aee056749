"""How a queue does as the contract's message; the definitions are those of `QueueStatistics` in queue.proto."""

from collections.abc import Mapping

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import queue_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.quantiles import quantiles
from headrace_server.rpc.messages.job_message import state_count
from headrace_server.runtime.statistics import Window
from headrace_server.store.codec import number, set_time
from headrace_server.store.queueing.queues import StoredQueue


def statistics_message(
    queue: StoredQueue, window: Window, oldest: tuple[JobId, Micros] | None
) -> queue_pb2.QueueStatistics:
    """What happened in a queue in a window, how many jobs it has, and which has waited the longest."""
    totals, seconds = window.totals, window.seconds
    message = queue_pb2.QueueStatistics(
        name=queue.name,
        window=_duration(window.end - window.begin),
        state_counts=[state_count(state, jobs) for state, jobs in queue.state_counts],
        submitted_count=totals.submitted,
        started_count=totals.started,
        ended_counts=[state_count(state, jobs) for state, jobs in sorted(totals.ended.items())],
        failure_counts=[
            queue_pb2.FailureCount(failure_class=number(FailureClass(one)), count=count)
            for one, count in sorted(totals.failed.items())
        ],
        wait=_quantiles(totals.waits),
        run=_quantiles(totals.runs),
    )
    if seconds > 0:
        message.submit_rate = totals.submitted / seconds
        message.start_rate = totals.started / seconds
        message.end_rate = sum(totals.ended.values()) / seconds
    if oldest is not None:
        job_id, created = oldest
        message.oldest_queued_job_id = job_id_text(job_id)
        set_time(message.oldest_queued_time, created)
    return message


def _quantiles(counts: Mapping[int, int]) -> queue_pb2.Quantiles | None:
    found = quantiles(counts)
    if found is None:
        return None
    return queue_pb2.Quantiles(
        p50=_duration(found.p50),
        p90=_duration(found.p90),
        p99=_duration(found.p99),
        max=_duration(found.longest),
        count=found.count,
    )


def _duration(micros: int) -> Duration:
    duration = Duration()
    duration.FromMicroseconds(micros)
    return duration
