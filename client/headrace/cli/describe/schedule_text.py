"""Schedules as text: a table, the full description, the ticks to come. Pure; the present time comes in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from headrace import words
from headrace.cli import amounts
from headrace.cli.describe import job_text, tables
from headrace.cli.parts import one_line
from headrace.v1 import schedule_pb2, schedule_service_pb2

SCHEDULE_COLUMNS = ("NAME", "TIMING", "ZONE", "NEXT", "LAST", "QUEUE", "WHAT")
FIRING_COLUMNS = ("TICK", "OUTCOME", "JOB", "DEALT WITH", "WHY")
MADE_UP_FOR = (schedule_pb2.FIRING_OUTCOME_SUBMITTED, schedule_pb2.FIRING_OUTCOME_BUFFERED)
TICK_COLUMNS = ("UTC", "LOCAL", "MADE AT", "IN")
_PART_OF_SECOND = re.compile(r"\.\d+")


def schedule_table(schedules: Sequence[schedule_pb2.Schedule], now: datetime) -> list[str]:
    """Schedules, a line each."""
    return tables.table(SCHEDULE_COLUMNS, [_row(one, now) for one in schedules])


def _row(one: schedule_pb2.Schedule, now: datetime) -> tuple[str, ...]:
    return (
        one.name,
        timing(one),
        one.time_zone or "UTC",
        "paused" if one.HasField("pause") else _ahead(one.next_time, now) if one.HasField("next_time") else "never",
        f"{amounts.age(one.last_time, now)} ago" if one.HasField("last_time") else "-",
        one.spec.queue,
        one_line(one.spec.display_name or job_text.task_text(one.spec), 60),
    )


def timing(one: schedule_pb2.Schedule) -> str:
    """`0 3 * * *`, `every 5 min`."""
    if one.WhichOneof("timing") == "interval":
        return f"every {amounts.chosen(amounts.seconds_of(one.interval))}"
    return one.cron


def schedule_lines(one: schedule_pb2.Schedule, now: datetime) -> list[str]:
    """A schedule with its job and what became of its latest ticks."""
    pause = one.pause
    reason = f" ({one_line(pause.reason, 300)})" if pause.reason else ""
    lines = tables.fields(
        {
            "schedule": one.name,
            "timing": f"{timing(one)}  ({one.time_zone or 'UTC'})",
            "paused": f"by {pause.actor or 'unknown'}{reason} {amounts.age(pause.time, now)} ago"
            if one.HasField("pause")
            else "",
            "next": f"{amounts.clock(one.next_time)}  ({_ahead(one.next_time, now)})"
            if one.HasField("next_time")
            else "",
            "last": amounts.clock(one.last_time) if one.HasField("last_time") else "",
            "jitter": f"up to {amounts.chosen(amounts.seconds_of(one.jitter))}" if one.HasField("jitter") else "",
            "catch up": _catch_up(one.catch_up),
            "overlap": words.word_of(schedule_pb2.Overlap, one.overlap) or "skip",
            "job": one_line(job_text.task_text(one.spec), 300),
            "queue": one.spec.queue,
            "labels": job_text.pairs(one.spec.labels),
            "etag": one.etag,
        }
    )
    return lines + (["", *firing_table(one.firings)] if one.firings else [])


def _catch_up(policy: schedule_pb2.CatchUp) -> str:
    parts = [words.word_of(schedule_pb2.CatchUpPolicy, policy.policy) or "last"]
    if policy.HasField("window"):
        parts.append(f"within {amounts.chosen(amounts.seconds_of(policy.window))}")
    if policy.max_count:
        parts.append(f"{policy.max_count} at most")
    return ", ".join(parts)


def firing_table(firings: Sequence[schedule_pb2.Firing]) -> list[str]:
    """What became of ticks, newest first."""
    return tables.dense_table(FIRING_COLUMNS, [_firing_row(one) for one in firings])


def _firing_row(one: schedule_pb2.Firing) -> tuple[str, ...]:
    late = " (made up for)" if one.catch_up and one.outcome in MADE_UP_FOR else ""
    return (
        amounts.clock(one.nominal_time),
        words.word_of(schedule_pb2.FiringOutcome, one.outcome) + late,
        one.job_id,
        amounts.clock(one.time) if one.HasField("time") else "",
        one_line(one.message, 200),
    )


def tick_table(ticks: Sequence[schedule_service_pb2.PreviewedTick], now: datetime) -> list[str]:
    """Ticks to come: in UTC, in the schedule's zone with its offset, and, with jitter, when each makes its job."""
    rows = [_tick_row(one, now) for one in ticks]
    if all(one.fire_time == one.nominal_time for one in ticks):
        rows = [(utc, local, "", ahead) for utc, local, _, ahead in rows]
    return tables.dense_table(TICK_COLUMNS, rows) if rows else ["no tick within the next ten years"]


def _tick_row(one: schedule_service_pb2.PreviewedTick, now: datetime) -> tuple[str, str, str, str]:
    ahead = (amounts.moment(one.fire_time) - now).total_seconds()
    return (
        _utc(one.nominal_time),
        _PART_OF_SECOND.sub("", one.local_time.replace("T", " ", 1)),
        _utc(one.fire_time)[11:],
        amounts.elapsed_whole(ahead) if ahead >= 0 else "past",
    )


def _utc(stamp: Timestamp) -> str:
    return f"{amounts.moment(stamp):%Y-%m-%d %H:%M:%S}Z"


def _ahead(stamp: Timestamp, now: datetime) -> str:
    seconds = (amounts.moment(stamp) - now).total_seconds()
    return f"in {amounts.short(seconds)}" if seconds >= 0 else "now"
