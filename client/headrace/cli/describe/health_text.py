"""The health of a server as text: in full, and a line each time. Pure."""

from __future__ import annotations

from headrace.cli import amounts
from headrace.cli.describe import job_text, tables
from headrace.v1 import admin_service_pb2, worker_pb2

WORD = {
    admin_service_pb2.ALERT_SEVERITY_WARNING: "WARNING",
    admin_service_pb2.ALERT_SEVERITY_CRITICAL: "CRITICAL",
}


def lines(health: admin_service_pb2.WatchHealthResponse) -> list[str]:
    """Everything that a message says."""
    commits = (
        f"half of them within {_brief(health, 'commit_p50')}, all within {_brief(health, 'commit_max')}"
        if health.HasField("commit_max")
        else "none lately"
    )
    values = {
        "server": _serving(health),
        "time": amounts.clock(health.time),
        "jobs": job_text.counts_line(health.state_counts) or "none",
        "queues": f"the fullest is {health.queue_saturation * 100:.0f} % full",
        "slots": f"{health.slots_used} of {health.slots} in use",
        "workers": _workers(health) or "none",
        "commits": f"{commits}; {amounts.plural(health.waiting_writes, 'write')} waiting",
        "event loop": f"{_brief(health, 'event_loop_lag')} late at most",
        "followers": str(health.followers),
        "disk": f"{amounts.size(health.disk_free_bytes)} free",
        "memory": amounts.size(health.memory_bytes),
    }
    standing = [alert for alert in health.alerts if not alert.HasField("clear_time")]
    values["alerts"] = "" if standing else "none"
    return tables.fields(values) + [alert_line(alert) for alert in standing]


def alert_line(alert: admin_service_pb2.Alert) -> str:
    """An alert that stands, or its end."""
    since = amounts.clock(alert.start_time)
    if alert.HasField("clear_time"):
        return f"CLEARED {alert.name} at {amounts.clock(alert.clear_time)}, since {since}: {alert.message}"
    return f"{severity(alert)} {alert.name} since {since}: {alert.message}"


def severity(alert: admin_service_pb2.Alert) -> str:
    """`CRITICAL` of `ALERT_SEVERITY_CRITICAL`."""
    return WORD.get(alert.severity, "ALERT")


class Told:
    """What a reader was told already of alerts that stand."""

    def __init__(self) -> None:
        self._alerts: dict[str, str] = {}

    def lines(self, health: admin_service_pb2.WatchHealthResponse) -> list[str]:
        """A message as one line, and one more for each alert that began, changed or cleared since the one before."""
        said = [_line(health)]
        standing: dict[str, str] = {}
        for alert in health.alerts:
            text = alert_line(alert)
            if alert.HasField("clear_time"):
                said.append(text)
                continue
            standing[alert.name] = text
            if self._alerts.get(alert.name) != text:
                said.append(text)
        self._alerts = standing
        return said


def _line(health: admin_service_pb2.WatchHealthResponse) -> str:
    parts = [
        f"{amounts.clock(health.time)} {_serving(health)}",
        job_text.counts_line(health.state_counts) or "no jobs",
        f"slots {health.slots_used}/{health.slots}",
        f"workers {_workers(health) or 'none'}",
        f"loop {_brief(health, 'event_loop_lag')}",
        f"disk {amounts.size(health.disk_free_bytes)}",
    ]
    if health.HasField("commit_max"):
        parts.insert(4, f"commits {_brief(health, 'commit_p50')}/{_brief(health, 'commit_max')}")
    return "  |  ".join(parts)


def _serving(health: admin_service_pb2.WatchHealthResponse) -> str:
    return "serving" if health.serving else "NOT SERVING"


def _workers(health: admin_service_pb2.WatchHealthResponse) -> str:
    names = [(one.count, worker_pb2.WorkerState.Name(one.state)) for one in health.worker_counts]
    return ", ".join(f"{count} {name.removeprefix('WORKER_STATE_').lower()}" for count, name in names)


def _brief(health: admin_service_pb2.WatchHealthResponse, field: str) -> str:
    return amounts.brief(amounts.seconds_of(getattr(health, field)))
