"""The three panels of `top`, queues, running jobs and workers: what stands in each of their columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.cli import amounts, narration
from headrace.cli.describe import job_text, queue_text, worker_text
from headrace.cli.parts import one_line
from headrace.cli.top.columns import Column
from headrace.cli.top.reading import Snapshot
from headrace.v1 import job_pb2, queue_pb2, worker_pb2

NAME_MAX = 60
NEVER = datetime.max.replace(tzinfo=UTC)


class Panel(Enum):
    """The panels, as they stand from top to bottom."""

    QUEUES = "queues"
    JOBS = "running jobs"
    WORKERS = "workers"


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue with its statistics, where there are any."""

    queue: queue_pb2.Queue
    statistics: queue_pb2.QueueStatistics | None

    def count(self, *states: job_pb2.JobState) -> int:
        """How many of its jobs are in any of the states."""
        return queue_text.count(self.queue.state_counts, states)

    def rate(self, name: str) -> float:
        """A rate for each second; below zero when it isn't known."""
        return float(getattr(self.statistics, name)) if self.statistics is not None else -1.0

    def wait(self, name: str) -> str:
        """A quantile of the wait."""
        return queue_text.quantile(self.statistics.wait, name) if self.statistics is not None else "-"

    def wait_seconds(self, name: str) -> float:
        """The same for sorting."""
        return amounts.seconds_of(getattr(self.statistics.wait, name)) if self.statistics is not None else -1.0

    def failures(self) -> int:
        """Attempts that failed in the window; below zero when it isn't known."""
        return sum(one.count for one in self.statistics.failure_counts) if self.statistics is not None else -1

    def oldest(self) -> datetime:
        """When the job that waits longest was submitted."""
        known = self.statistics is not None and self.statistics.HasField("oldest_queued_time")
        return amounts.moment(self.statistics.oldest_queued_time) if known and self.statistics else NEVER


def rows(snapshot: Snapshot, panel: Panel) -> Sequence[Any]:
    """What a panel lists."""
    match panel:
        case Panel.QUEUES:
            return [QueueRow(queue, snapshot.statistics.get(queue.name)) for queue in snapshot.queues]
        case Panel.JOBS:
            return snapshot.jobs
        case Panel.WORKERS:
            return snapshot.workers


def columns(panel: Panel, now: datetime) -> Sequence[Column[Any]]:
    """The columns of a panel; `now` is for ages."""
    match panel:
        case Panel.QUEUES:
            return queue_columns(now)
        case Panel.JOBS:
            return job_columns(now)
        case Panel.WORKERS:
            return worker_columns(now)


DEFAULT_SORT: Mapping[Panel, tuple[str, bool]] = {
    Panel.QUEUES: ("QUEUE", False),
    Panel.JOBS: ("RUNS FOR", True),
    Panel.WORKERS: ("WORKER", False),
}
"""The column that a panel is sorted by at first, and whether the greatest comes first."""


def _known(value: float, text: str) -> str:
    return text if value >= 0 else "-"


def _standing_style(row: QueueRow) -> str:
    return "yellow" if row.queue.HasField("pause") or row.queue.HasField("drain") else "green"


def queue_columns(now: datetime) -> list[Column[QueueRow]]:
    """Columns of the queues."""

    def counted(title: str, rank: int, *states: job_pb2.JobState) -> Column[QueueRow]:
        return Column(title, lambda r: str(r.count(*states)), rank, lambda r: r.count(*states), right=True)

    def rated(title: str, rank: int, name: str) -> Column[QueueRow]:
        return Column(
            title, lambda r: _known(r.rate(name), amounts.rate(r.rate(name))), rank, lambda r: r.rate(name), right=True
        )

    def waited(title: str, rank: int, name: str) -> Column[QueueRow]:
        return Column(title, lambda r: r.wait(name), rank, lambda r: r.wait_seconds(name), right=True)

    return [
        Column("QUEUE", lambda r: one_line(r.queue.name, 63), 0, flexible=True),
        Column("STATE", lambda r: queue_text.standing(r.queue), 3, style=_standing_style),
        counted("QUEUED", 0, job_pb2.JOB_STATE_QUEUED),
        counted("LATER", 8, job_pb2.JOB_STATE_SCHEDULED),
        counted("BLOCKED", 9, job_pb2.JOB_STATE_BLOCKED),
        counted("RUNNING", 1, *queue_text.RUNNING),
        rated("IN/S", 6, "submit_rate"),
        rated("START/S", 7, "start_rate"),
        rated("END/S", 5, "end_rate"),
        waited("WAIT P50", 4, "p50"),
        waited("P99", 4, "p99"),
        Column("FAILED", lambda r: _known(r.failures(), str(r.failures())), 6, lambda r: r.failures(), right=True),
        Column(
            "OLDEST",
            lambda r: "-" if r.oldest() is NEVER else amounts.short((now - r.oldest()).total_seconds()),
            2,
            lambda r: now - r.oldest(),
            right=True,
        ),
    ]


def _since(job: job_pb2.Job, now: datetime) -> float:
    started: Timestamp = job.start_time if job.HasField("start_time") else job.create_time
    return max(0.0, (now - amounts.moment(started)).total_seconds()) if started.seconds else 0.0


def _what(job: job_pb2.Job) -> str:
    return one_line(job.spec.display_name or job_text.task_text(job.spec), NAME_MAX)


def _job_style(job: job_pb2.Job) -> str:
    return "cyan" if job.state == job_pb2.JOB_STATE_RUNNING else "yellow"


def job_columns(now: datetime) -> list[Column[job_pb2.Job]]:
    """Columns of the running jobs."""
    return [
        Column("JOB", lambda j: j.id, 2),
        Column("STATE", lambda j: narration.state_word(j.state), 4, style=_job_style),
        Column("QUEUE", lambda j: one_line(j.spec.queue, 20), 5),
        Column("OWNER", lambda j: one_line(j.spec.owner, 20), 7),
        Column("WORKER", lambda j: one_line(j.worker_id, 24), 3),
        Column("TRY", lambda j: str(j.attempt_count), 8, lambda j: j.attempt_count, right=True),
        Column("RUNS FOR", lambda j: amounts.elapsed_whole(_since(j, now)), 0, lambda j: _since(j, now), right=True),
        Column("PROGRESS", lambda j: one_line(job_text.progress_text(j.progress), 40), 6, _share, flexible=True),
        Column("WHAT", _what, 0, flexible=True),
    ]


def _share(job: job_pb2.Job) -> float:
    return job.progress.done / job.progress.total if job.progress.total else -1.0


def _free(worker: worker_pb2.Worker) -> str:
    host = worker.host_resources
    return (
        f"{amounts.size(host.memory_available_bytes)} of {amounts.size(host.memory_bytes)}"
        if host.memory_bytes
        else "-"
    )


def _idle(worker: worker_pb2.Worker) -> str:
    host = worker.host_resources
    whole = worker_text.cpus(host.cpu_millis)
    return f"{worker_text.cpus(host.cpu_available_millis)} of {whole}" if host.cpu_millis else "-"


WORKER_STYLES = {
    worker_pb2.WORKER_STATE_READY: "green",
    worker_pb2.WORKER_STATE_DRAINING: "yellow",
    worker_pb2.WORKER_STATE_DISCONNECTED: "red",
    worker_pb2.WORKER_STATE_LOST: "red",
}


def worker_columns(now: datetime) -> list[Column[worker_pb2.Worker]]:
    """Columns of the workers."""
    return [
        Column("WORKER", lambda w: one_line(w.id, 40), 0, flexible=True),
        Column("STATE", worker_text.worker_state, 1, style=lambda w: WORKER_STYLES.get(w.state, "")),
        Column("SLOTS", worker_text.slots_text, 0, lambda w: (w.slots_used, w.slots), right=True),
        Column("MEMORY FREE", _free, 2, lambda w: w.host_resources.memory_available_bytes, right=True),
        Column("CPU FREE", _idle, 3, lambda w: w.host_resources.cpu_available_millis, right=True),
        Column(
            "RENEWED",
            lambda w: amounts.age(w.renew_time, now) if w.HasField("renew_time") else "-",
            4,
            lambda w: w.renew_time.seconds,
            right=True,
        ),
        Column("EXECUTORS", lambda w: ",".join(w.capabilities.executors), 6),
        Column("HOST", lambda w: one_line(w.host, 30), 5),
    ]
