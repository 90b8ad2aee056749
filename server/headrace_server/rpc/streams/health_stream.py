"""WatchHealth: the latest look at the server, again and again. A reader that is slow skips looks, and is still told of
each alert that began and cleared meanwhile."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import worker_pb2
from headrace.v1.admin_service_pb2 import Alert as AlertMessage
from headrace.v1.admin_service_pb2 import WatchHealthRequest, WatchHealthResponse, WorkerStateCount
from headrace_server.core.alerts import Alert
from headrace_server.core.health import WorkerCounts
from headrace_server.core.limits import HEALTH_SECONDS_DEFAULT, HEALTH_SECONDS_MAX, HEALTH_SECONDS_MIN
from headrace_server.core.refusal import Refused
from headrace_server.rpc.admission import draining_refusal
from headrace_server.rpc.call import Call
from headrace_server.rpc.checks.violations import Violations
from headrace_server.rpc.messages.job_message import state_count
from headrace_server.rpc.messages.worker_message import seconds_message
from headrace_server.runtime.health import LOOK_SECONDS, HealthMonitor, Span
from headrace_server.store.codec import number, set_time


@dataclass(frozen=True, slots=True)
class HealthWatching:
    """What every watcher of this node shares."""

    monitor: HealthMonitor
    draining: asyncio.Event
    """Set, and the monitor's watchers are woken, when streams have to end."""
    serving: Callable[[], bool]


def health_interval(value: Duration, path: str, violations: Violations) -> None:
    """How often a watcher is told."""
    if not HEALTH_SECONDS_MIN <= _seconds(value) <= HEALTH_SECONDS_MAX:
        violations.add(path, f"has to be from {HEALTH_SECONDS_MIN} to {HEALTH_SECONDS_MAX} seconds")


async def watch_health(watching: HealthWatching, request: WatchHealthRequest, call: Call) -> None:
    """Serves one WatchHealth stream to its end."""
    interval = _seconds(request.interval) if request.HasField("interval") else HEALTH_SECONDS_DEFAULT
    monitor, loop = watching.monitor, asyncio.get_running_loop()
    told, window = monitor.alerts.number, monitor.window - 1
    while True:
        response = _message(watching, monitor.span(window), monitor.alerts.since(told))
        told, window = monitor.alerts.number, monitor.window
        # Looks come once a second, a little late: the one that is nearest to the interval's end is the next.
        due = loop.time() + interval - LOOK_SECONDS / 2
        await call.write(response)
        while monitor.alerts.number == told and (loop.time() < due or monitor.window == window):
            if watching.draining.is_set():
                raise Refused(draining_refusal())
            await monitor.looked.wait()


def _message(watching: HealthWatching, span: Span, alerts: list[Alert]) -> WatchHealthResponse:
    sample = watching.monitor.sample
    response = WatchHealthResponse(
        serving=watching.serving(),
        state_counts=[state_count(state, jobs) for state, jobs in sample.jobs.items()],
        queue_saturation=sample.fullest[0].saturation if sample.fullest else 0.0,
        slots=sample.slots,
        slots_used=sample.slots_used,
        worker_counts=_worker_counts(sample.workers),
        event_loop_lag=seconds_message(span.lag_seconds),
        waiting_writes=sample.waiting_writes,
        followers=sample.followers,
        disk_free_bytes=sample.disk_free_bytes or 0,
        memory_bytes=sample.memory_bytes,
        alerts=[_alert(alert) for alert in alerts],
    )
    set_time(response.time, sample.time)
    if span.commit_p50_seconds is not None and span.commit_max_seconds is not None:
        response.commit_p50.CopyFrom(seconds_message(span.commit_p50_seconds))
        response.commit_max.CopyFrom(seconds_message(span.commit_max_seconds))
    return response


def _worker_counts(workers: WorkerCounts) -> list[WorkerStateCount]:
    counts = (
        (worker_pb2.WORKER_STATE_READY, workers.ready),
        (worker_pb2.WORKER_STATE_DRAINING, workers.draining),
        (worker_pb2.WORKER_STATE_DISCONNECTED, workers.disconnected),
        (worker_pb2.WORKER_STATE_LOST, workers.lost),
    )
    return [WorkerStateCount(state=state, count=count) for state, count in counts if count]


def _alert(alert: Alert) -> AlertMessage:
    message = AlertMessage(name=alert.name.value, severity=number(alert.severity), message=alert.message)
    set_time(message.start_time, alert.start)
    set_time(message.update_time, alert.update)
    set_time(message.clear_time, alert.clear)
    return message


def _seconds(value: Duration) -> float:
    return value.seconds + value.nanos / 1e9
