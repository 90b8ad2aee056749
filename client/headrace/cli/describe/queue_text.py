"""Queues as text: policy, counts, statistics. Pure; the present time comes in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from headrace import words
from headrace.cli import amounts
from headrace.cli.describe import job_text, tables
from headrace.cli.parts import one_line
from headrace.v1 import job_pb2, outcome_pb2, queue_pb2

QUEUE_COLUMNS = ("NAME", "WAITING", "RUNNING", "MAX QUEUED", "MAX RUNNING", "STANDING")
STATISTICS_COLUMNS = (
    *(
        "NAME",
        "WAITING",
        "RUNNING",
        "IN/S",
        "START/S",
        "END/S",
        "WAIT P50",
        "P99",
        "RUN P50",
        "P99",
        "FAILED",
        "OLDEST",
    ),
)

WAITING = (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_SCHEDULED, job_pb2.JOB_STATE_BLOCKED)
RUNNING = (
    job_pb2.JOB_STATE_ASSIGNED,
    job_pb2.JOB_STATE_RUNNING,
    job_pb2.JOB_STATE_WAITING_INPUT,
    job_pb2.JOB_STATE_CANCELLING,
)


def count(counts: Iterable[job_pb2.StateCount], states: Sequence[job_pb2.JobState]) -> int:
    """How many jobs are in any of the states."""
    return sum(one.count for one in counts if one.state in states)


def queue_table(queues: Sequence[queue_pb2.Queue]) -> list[str]:
    """Queues, a line each."""
    return tables.table(QUEUE_COLUMNS, [_queue_row(queue) for queue in queues])


def _queue_row(queue: queue_pb2.Queue) -> tuple[str, ...]:
    return (
        queue.name,
        str(count(queue.state_counts, WAITING)),
        str(count(queue.state_counts, RUNNING)),
        str(queue.max_queued),
        str(queue.max_concurrency or "-"),
        standing(queue),
    )


def standing(queue: queue_pb2.Queue) -> str:
    """Whether it is open, paused or drained, or both."""
    names = [name for name, field in (("paused", "pause"), ("draining", "drain")) if queue.HasField(field)]
    return ", ".join(names) or "open"


def queue_lines(queue: queue_pb2.Queue, now: datetime) -> list[str]:
    """A queue with its policy and its counts."""
    limit = queue.max_concurrency_per_key
    head_start = amounts.chosen(amounts.seconds_of(queue.priority_head_start))
    return tables.fields(
        {
            "queue": queue.name,
            "jobs": job_text.counts_line(queue.state_counts) or "none",
            "paused": _pause(queue.pause, now) if queue.HasField("pause") else "",
            "draining": _drain(queue.drain, now) if queue.HasField("drain") else "",
            "queued": f"{queue.max_queued} at most",
            "running": (f"{queue.max_concurrency} at most" if queue.max_concurrency else "no limit")
            + (f", {limit} for each key" if limit else ""),
            "rate": _rate(queue.rate_limit),
            "each key": _rate(queue.rate_limit_per_key),
            "fairness": _fairness(queue.fairness),
            "priority": f"{head_start} of head start a point" if queue.HasField("priority_head_start") else "",
            "executors": ", ".join(queue.executors),
            "retries": job_text.retry_text(queue.retry_policy),
            "timeouts": job_text.timeouts_text(queue.timeouts),
            "created": amounts.clock(queue.create_time) if queue.HasField("create_time") else "",
            "etag": queue.etag,
        }
    )


def _pause(pause: queue_pb2.QueuePause, now: datetime) -> str:
    ends = f", until {amounts.clock(pause.expire_time)}" if pause.HasField("expire_time") else ""
    return _by(pause.actor, pause.reason) + f" {amounts.age(pause.time, now)} ago{ends}"


def _drain(drain: queue_pb2.QueueDrain, now: datetime) -> str:
    ends = f"; what runs goes back at {amounts.clock(drain.return_time)}" if drain.HasField("return_time") else ""
    return _by(drain.actor, drain.reason) + f" {amounts.age(drain.time, now)} ago{ends}"


def _by(actor: str, reason: str) -> str:
    return f"by {actor or 'unknown'}" + (f" ({one_line(reason, 300)})" if reason else "")


def _rate(limit: queue_pb2.RateLimit) -> str:
    burst = f", {limit.burst} at once" if limit.burst else ""
    return f"{limit.count} starts per {amounts.chosen(amounts.seconds_of(limit.period))}{burst}" if limit.count else ""


def _fairness(fairness: queue_pb2.Fairness) -> str:
    if fairness.scope in (queue_pb2.FAIRNESS_SCOPE_UNSPECIFIED, queue_pb2.FAIRNESS_SCOPE_NONE):
        return ""
    scope = queue_pb2.FairnessScope.Name(fairness.scope).removeprefix("FAIRNESS_SCOPE_").lower()
    weights = ", ".join(f"{key}={weight:g}" for key, weight in sorted(fairness.weights.items()))
    return f"by {scope}" + (f" ({weights})" if weights else "")


def statistics_lines(one: queue_pb2.QueueStatistics, now: datetime) -> list[str]:
    """How a queue does, in full."""
    ended = job_text.counts_line(one.ended_counts)
    failed = " · ".join(f"{failure.count} {_class(failure)}" for failure in one.failure_counts)
    oldest = f"{one.oldest_queued_job_id}, submitted {amounts.age(one.oldest_queued_time, now)} ago"
    return tables.fields(
        {
            "queue": one.name,
            "now": job_text.counts_line(one.state_counts) or "no jobs",
            "over": f"the last {amounts.elapsed(amounts.seconds_of(one.window))}",
            "submitted": f"{one.submitted_count}  ({amounts.rate(one.submit_rate)}/s)",
            "started": f"{one.started_count}  ({amounts.rate(one.start_rate)}/s)",
            "ended": f"{sum(state.count for state in one.ended_counts)}  ({amounts.rate(one.end_rate)}/s)"
            + (f"  {ended}" if ended else ""),
            "failures": failed,
            "wait": _quantiles(one.wait),
            "run": _quantiles(one.run),
            "oldest": oldest if one.oldest_queued_job_id else "",
        }
    )


def statistics_table(found: Sequence[queue_pb2.QueueStatistics], now: datetime) -> list[str]:
    """How queues do, a line each."""
    return tables.table(STATISTICS_COLUMNS, [_statistics_row(one, now) for one in found])


def _statistics_row(one: queue_pb2.QueueStatistics, now: datetime) -> tuple[str, ...]:
    return (
        one.name,
        str(count(one.state_counts, WAITING)),
        str(count(one.state_counts, RUNNING)),
        amounts.rate(one.submit_rate),
        amounts.rate(one.start_rate),
        amounts.rate(one.end_rate),
        quantile(one.wait, "p50"),
        quantile(one.wait, "p99"),
        quantile(one.run, "p50"),
        quantile(one.run, "p99"),
        str(sum(failure.count for failure in one.failure_counts)),
        amounts.age(one.oldest_queued_time, now) if one.oldest_queued_job_id else "-",
    )


def quantile(times: queue_pb2.Quantiles, name: str) -> str:
    """One quantile in few characters; a dash when nothing was measured."""
    return amounts.brief(amounts.seconds_of(getattr(times, name))) if times.count else "-"


def _quantiles(times: queue_pb2.Quantiles) -> str:
    if not times.count:
        return ""
    parts = [
        f"{name} {amounts.elapsed(amounts.seconds_of(getattr(times, name)))}" for name in ("p50", "p90", "p99", "max")
    ]
    return " · ".join(parts) + f"  (of {times.count})"


def _class(failure: queue_pb2.FailureCount) -> str:
    return words.word_of(outcome_pb2.FailureClass, failure.failure_class).upper().replace("-", "_") or "UNKNOWN"
