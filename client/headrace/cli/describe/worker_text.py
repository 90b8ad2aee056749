"""Workers as text: a table and the full description. Pure; the present time comes in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from headrace.cli import amounts
from headrace.cli.describe import job_text, tables
from headrace.cli.describe.cache_text import cache_summary
from headrace.v1 import worker_pb2

WORKER_COLUMNS = ("ID", "STATE", "SLOTS", "MEMORY FREE", "CPU FREE", "RENEWED", "EXECUTORS", "CLAUDE", "HOST")


def worker_table(workers: Sequence[worker_pb2.Worker], now: datetime) -> list[str]:
    """Workers, a line each."""
    return tables.table(WORKER_COLUMNS, [_worker_row(worker, now) for worker in workers])


def _worker_row(worker: worker_pb2.Worker, now: datetime) -> tuple[str, ...]:
    can = worker.capabilities
    return (
        worker.id,
        worker_state(worker),
        slots_text(worker),
        _share(worker.host_resources.memory_available_bytes, worker.host_resources.memory_bytes, amounts.size),
        _share(worker.host_resources.cpu_available_millis, worker.host_resources.cpu_millis, cpus),
        amounts.age(worker.renew_time, now),
        ",".join(can.executors),
        f"{can.claude_version}{' (simulated)' if can.claude_simulated else ''}" or "-",
        worker.host,
    )


def slots_text(worker: worker_pb2.Worker) -> str:
    """Slots used and in all, and the bounds between which they are scaled: `3/4 (1-8)`."""
    scaled = (worker.slots_min, worker.slots_max) != (worker.slots, worker.slots) and worker.slots_max
    bounds = f" ({worker.slots_min}-{worker.slots_max})" if scaled else ""
    return f"{worker.slots_used}/{worker.slots}{bounds}"


def cpus(millis: int) -> str:
    """CPUs: `1.5`."""
    return f"{millis / 1000:.1f}"


def _share(free: int, whole: int, text: Callable[[int], str]) -> str:
    return f"{text(free)} of {text(whole)}" if whole else "-"


def _free(free: int, whole: int, text: Callable[[int], str]) -> str:
    return f"{_share(free, whole, text)} free" if whole else ""


def drain_text(drain: worker_pb2.WorkerDrain, now: datetime) -> str:
    """Who drained it, and what happens to what it still runs."""
    ends = f"; what runs is returned at {amounts.clock(drain.return_time)}" if drain.HasField("return_time") else ""
    exits = "; it exits once it is empty" if drain.exit else ""
    return f"by {drain.actor or 'unknown'} {amounts.age(drain.time, now)} ago{ends}{exits}"


def worker_state(worker: worker_pb2.Worker) -> str:
    """`READY` of `WORKER_STATE_READY`."""
    return worker_pb2.WorkerState.Name(worker.state).removeprefix("WORKER_STATE_")


def _draining(worker: worker_pb2.Worker, now: datetime) -> str:
    if worker.HasField("drain"):
        return drain_text(worker.drain, now)
    # Its own word is older than that of whoever ended its drain, until it renews.
    return "as it said itself when it last renewed" if worker.state == worker_pb2.WORKER_STATE_DRAINING else ""


def worker_lines(worker: worker_pb2.Worker, now: datetime) -> list[str]:
    """A worker in full."""
    can, host = worker.capabilities, worker.host_resources
    bounds = (
        f", scaled between {worker.slots_min} and {worker.slots_max}" if worker.slots_max > worker.slots_min else ""
    )
    return tables.fields(
        {
            "worker": worker.id,
            "state": worker_state(worker),
            "slots": f"{worker.slots_used} of {worker.slots} in use{bounds}",
            "draining": _draining(worker, now),
            "renewed": f"{amounts.age(worker.renew_time, now)} ago" if worker.HasField("renew_time") else "",
            "connected": amounts.clock(worker.connect_time) if worker.HasField("connect_time") else "",
            "executors": ", ".join(can.executors),
            "labels": job_text.pairs(can.labels),
            "programs": ", ".join(can.programs),
            "handlers": ", ".join(can.handlers),
            "folders": ", ".join(can.workspace_roots),
            "claude": f"{can.claude_version}{' (simulated)' if can.claude_simulated else ''}",
            "answers": cache_summary(worker.response_cache, now) if worker.HasField("response_cache") else "",
            "host": worker.host,
            "memory": _free(host.memory_available_bytes, host.memory_bytes, amounts.size),
            "cpus": _free(host.cpu_available_millis, host.cpu_millis, cpus),
            "asked for": job_text.resources_text(worker.resources_used),
            "version": worker.version,
        }
    )
