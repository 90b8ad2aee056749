"""The policy of jobs, queues and schedules from plain Python values. Pure; only the server judges what is valid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TypedDict, Unpack

from google.protobuf.duration_pb2 import Duration

from headrace import fields, words
from headrace.options import check_names
from headrace.v1 import job_pb2, queue_pb2, schedule_pb2

Seconds = float | timedelta


def duration(value: Seconds) -> Duration:
    """A protobuf duration from seconds or a timedelta."""
    made = Duration()
    try:
        made.FromTimedelta(value if isinstance(value, timedelta) else timedelta(seconds=value))
    except TypeError:
        raise TypeError(f"{value!r} is not a length of time: give seconds, or a timedelta") from None
    except (OverflowError, ValueError):
        raise ValueError(f"{value!r} seconds are no length of time") from None
    return made


def optional_duration(value: Seconds | None) -> Duration | None:
    """The same; None stays None."""
    return None if value is None else duration(value)


def retry_policy(
    max_attempts: int = 0,
    *,
    initial_backoff: Seconds | None = None,
    max_backoff: Seconds | None = None,
    backoff_multiplier: float = 0.0,
    max_snoozes: int | None = None,
) -> job_pb2.RetryPolicy:
    """When a failed attempt is followed by another. Left out: 3 attempts, 1 s, 300 s, factor 2, 100 snoozes."""
    return fields.message(
        job_pb2.RetryPolicy,
        max_attempts=max_attempts,
        initial_backoff=optional_duration(initial_backoff),
        max_backoff=optional_duration(max_backoff),
        backoff_multiplier=backoff_multiplier,
        max_snoozes=max_snoozes,
    )


class TimeoutOptions(TypedDict, total=False):
    """Limits on time, in seconds or as timedelta; left out means the queue's, zero means none."""

    queue: Seconds | None
    run: Seconds | None
    total: Seconds | None
    silence: Seconds | None
    input: Seconds | None
    cancel_grace: Seconds | None


def timeouts(**limits: Unpack[TimeoutOptions]) -> job_pb2.Timeouts:
    """How long each phase of a job may take; see `Timeouts` in `job.proto`."""
    check_names(limits, TimeoutOptions)
    return job_pb2.Timeouts(
        queue_timeout=optional_duration(limits.get("queue")),
        run_timeout=optional_duration(limits.get("run")),
        total_timeout=optional_duration(limits.get("total")),
        silence_timeout=optional_duration(limits.get("silence")),
        input_timeout=optional_duration(limits.get("input")),
        cancel_grace=optional_duration(limits.get("cancel_grace")),
    )


def placement(
    *,
    required_labels: Mapping[str, str] | None = None,
    preferred_labels: Mapping[str, str] | None = None,
    slots: int = 0,
    memory_bytes: int = 0,
    cpus: float = 0.0,
) -> job_pb2.Placement:
    """What a worker needs in order to get a job, and what the job takes of it; zero slots means one."""
    if not math.isfinite(cpus) or 0 < cpus < 0.001:
        raise ValueError(f"cpus is {cpus}; it has to be 0, or a number from 0.001 on")
    made = fields.message(job_pb2.Placement, required_labels=required_labels, preferred_labels=preferred_labels)
    if slots or memory_bytes or cpus:
        made.resources.CopyFrom(
            fields.message(job_pb2.Resources, slots=slots, memory_bytes=memory_bytes, cpu_millis=round(cpus * 1000))
        )
    return made


def unique_key(key: str, on_conflict: str | job_pb2.UniqueKeyConflict | None = None) -> job_pb2.UniqueKey:
    """Business identity within a queue. While it is taken: `refuse` (default), `return-existing`, `replace-waiting`."""
    return job_pb2.UniqueKey(key=key, on_conflict=words.chosen(job_pb2.UniqueKeyConflict, on_conflict))


def rate_limit(count: int, period: Seconds, *, burst: int = 0) -> queue_pb2.RateLimit:
    """`count` starts per `period`, of which `burst` may come at once; zero of `burst` means `count`."""
    return fields.message(queue_pb2.RateLimit, count=count, period=duration(period), burst=burst)


def fairness(scope: str | queue_pb2.FairnessScope, weights: Mapping[str, float] | None = None) -> queue_pb2.Fairness:
    """Who goes first when slots are short: `none`, by `owner` or by `key`; who is not in `weights` has 1."""
    return fields.message(queue_pb2.Fairness, scope=words.chosen(queue_pb2.FairnessScope, scope), weights=weights)


class QueuePolicy(TypedDict, total=False):
    """The policy of a queue; see `Queue` in `queue.proto` for what is chosen for what is left out."""

    max_queued: int
    priority_head_start: Seconds
    """Fixed when the queue is created."""
    max_concurrency: int
    max_concurrency_per_key: int
    retry_policy: job_pb2.RetryPolicy
    timeouts: job_pb2.Timeouts
    fairness: queue_pb2.Fairness
    rate_limit: queue_pb2.RateLimit
    rate_limit_per_key: queue_pb2.RateLimit
    executors: Sequence[str]


class BudgetLimits(TypedDict, total=False):
    """The limits of a budget; one of the first two has to be given."""

    max_cost_usd: float
    max_tokens: int
    """Of all kinds."""
    warn_fraction: float
    """From there on an alert stands; 0.8."""
    reservation_usd: float
    """Of a job without `max_cost_usd` of its own; 1."""


def queue(name: str, **policy: Unpack[QueuePolicy]) -> queue_pb2.Queue:
    """A queue with the given policy."""
    check_names(policy, QueuePolicy)
    head_start = policy.get("priority_head_start")
    return fields.message(
        queue_pb2.Queue,
        name=name,
        max_queued=policy.get("max_queued", 0),
        priority_head_start=optional_duration(head_start),
        max_concurrency=policy.get("max_concurrency", 0),
        max_concurrency_per_key=policy.get("max_concurrency_per_key", 0),
        retry_policy=policy.get("retry_policy"),
        timeouts=policy.get("timeouts"),
        fairness=policy.get("fairness"),
        rate_limit=policy.get("rate_limit"),
        rate_limit_per_key=policy.get("rate_limit_per_key"),
        executors=policy.get("executors", ()),
    )


class ScheduleOptions(TypedDict, total=False):
    """When a schedule makes its job; see `Schedule` in `schedule.proto`."""

    cron: str
    """Five fields, or six with seconds first."""
    interval: Seconds
    """Every so long, instead of `cron`."""
    time_zone: str
    """IANA name that `cron` is in; empty means UTC."""
    catch_up: str | schedule_pb2.CatchUp
    """Which missed ticks are made up for: `none`, `last` (default), `all`, or a `CatchUp` with its window."""
    overlap: str | schedule_pb2.Overlap
    """While an earlier job has not ended: `skip` (default), `buffer-one`, `allow`, `cancel-other`."""
    jitter: Seconds


def catch_up(
    policy: str | schedule_pb2.CatchUpPolicy, *, window: Seconds | None = None, max_count: int = 0
) -> schedule_pb2.CatchUp:
    """Which missed ticks are made up for; window (a day) and count (100) matter to `all` only."""
    return fields.message(
        schedule_pb2.CatchUp,
        policy=words.chosen(schedule_pb2.CatchUpPolicy, policy),
        window=optional_duration(window),
        max_count=max_count,
    )


def schedule(
    name: str, spec: job_pb2.JobSpec | None = None, **options: Unpack[ScheduleOptions]
) -> schedule_pb2.Schedule:
    """A schedule that makes the job of `spec`. Raises ValueError for two timings."""
    check_names(options, ScheduleOptions)
    if "cron" in options and "interval" in options:
        raise ValueError("a schedule has either `cron` or `interval`, not both")
    chosen = options.get("catch_up")
    made = fields.message(
        schedule_pb2.Schedule,
        name=name,
        time_zone=options.get("time_zone", ""),
        spec=spec,
        catch_up=catch_up(chosen) if isinstance(chosen, str) else chosen,
        overlap=words.chosen(schedule_pb2.Overlap, options.get("overlap")),
        jitter=optional_duration(options.get("jitter")),
    )
    if "cron" in options:
        made.cron = options["cron"]
    if "interval" in options:
        made.interval.CopyFrom(duration(options["interval"]))
    return made
