"""A job's row in the table `jobs`, and as a `Job`."""

import json
from dataclasses import astuple
from typing import Any

from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import (
    NO_USAGE,
    PLAIN,
    CancelCause,
    Cancellation,
    Failure,
    Job,
    Origin,
    Progress,
    Turn,
    Usage,
)
from headrace_server.core.states import JobState
from headrace_server.core.timeouts import NONE_STATED, Timeouts

FIXED = ("job", "id", "namespace", "queue", "owner", "created", "output_bytes_max", "slots", "concurrency_key")
"""Columns that never change."""
CHANGING = (
    "key",
    "rank",
    "priority",
    "state",
    "updated",
    "started",
    "ended",
    "queued",
    "due",
    "start_by",
    "end_by",
    "assigned",
    "run_by",
    "silence",
    "asked",
    "timed_out",
    "wake",
    "snoozes",
    "sequence",
    "attempt",
    "failures",
    "losses",
    "epoch",
    "worker",
    "incarnation",
    "holder",
    "settled_epoch",
    "producer_sequence",
    "report_number",
    "output_bytes",
    "flags",
    "claude_session",
    "details",
    "failure",
    "begun",
)
COLUMNS = FIXED + CHANGING
SELECT = "SELECT " + ", ".join(f"jobs.{column}" for column in COLUMNS) + " FROM jobs"

_TRUNCATED, _DIRTY, _SIMULATED, _UNIQUE, _DEPENDENT = 1, 2, 4, 16, 32
_NO_DETAILS = ""


def values_of(job: Job) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    return (
        job.row,
        job.id,
        job.namespace,
        job.queue,
        job.owner,
        job.created,
        job.output_bytes_max,
        job.slots,
        job.concurrency_key,
        *changing_of(job),
    )


def changing_of(job: Job) -> tuple[Any, ...]:
    """The values of `CHANGING`."""
    return (
        job.key,
        job.rank,
        job.priority,
        int(job.state),
        job.updated,
        job.started,
        job.ended,
        job.queued,
        job.due,
        job.start_by,
        job.end_by,
        job.assigned,
        job.run_by,
        job.silence,
        job.asked,
        job.timed_out,
        job.wake,
        job.snoozes,
        job.sequence,
        job.attempt,
        job.failures,
        job.losses,
        job.epoch,
        job.worker,
        job.incarnation,
        job.holder,
        job.settled_epoch,
        job.producer_sequence,
        job.report_number,
        job.output_bytes,
        _flags(job),
        job.claude_session,
        _details_text(job),
        None if job.failure is None else bytes((job.failure.failure_class,)) + job.failure.body,
        job.begun,
    )


def _flags(job: Job) -> int:
    return (
        job.truncated * _TRUNCATED
        | job.dirty * _DIRTY
        | job.simulated * _SIMULATED
        | job.unique * _UNIQUE
        | job.dependent * _DEPENDENT
    )


def job_of(row: tuple[Any, ...]) -> Job:
    """Reads a row of `SELECT`."""
    flags = row[39]
    failure = row[42]
    job = Job(
        row=row[0],
        id=JobId(bytes(row[1])),
        namespace=row[2],
        queue=row[3],
        owner=row[4],
        created=Micros(row[5]),
        output_bytes_max=row[6],
        slots=row[7],
        concurrency_key=row[8],
        key=row[9],
        rank=row[10],
        priority=row[11],
        state=JobState(row[12]),
        updated=Micros(row[13]),
        started=Micros(row[14]),
        ended=Micros(row[15]),
        queued=Micros(row[16]),
        due=Micros(row[17]),
        start_by=Micros(row[18]),
        end_by=Micros(row[19]),
        assigned=Micros(row[20]),
        run_by=Micros(row[21]),
        silence=row[22],
        asked=Micros(row[23]),
        timed_out=row[24],
        wake=Micros(row[25]),
        snoozes=row[26],
        sequence=row[27],
        attempt=row[28],
        failures=row[29],
        losses=row[30],
        epoch=row[31],
        worker=row[32],
        incarnation=row[33],
        holder=row[34],
        settled_epoch=row[35],
        producer_sequence=row[36],
        report_number=row[37],
        output_bytes=row[38],
        claude_session=row[40],
        truncated=bool(flags & _TRUNCATED),
        dirty=bool(flags & _DIRTY),
        simulated=bool(flags & _SIMULATED),
        unique=bool(flags & _UNIQUE),
        dependent=bool(flags & _DEPENDENT),
        failure=None if failure is None else Failure(FailureClass(failure[0]), bytes(failure[1:])),
        begun=Micros(row[43]),
    )
    if row[41] != _NO_DETAILS:
        _read_details(job, row[41])
    return job


def _details_text(job: Job) -> str:
    """What few jobs have, as JSON; empty for the others."""
    details: dict[str, Any] = {}
    if job.usage != NO_USAGE:
        details["usage"] = _usage_list(job.usage)
    if job.attempt_usage != NO_USAGE:
        details["attempt_usage"] = _usage_list(job.attempt_usage)
    if job.progress is not None:
        details["progress"] = [job.progress.done, job.progress.total, job.progress.message]
    if job.cancellation is not None:
        details["cancellation"] = _cancellation_list(job.cancellation)
    if job.origin is not PLAIN:
        details["origin"] = _origin_list(job.origin)
    if job.timeouts is not NONE_STATED:
        details["timeouts"] = astuple(job.timeouts)
    if job.turn is not None:
        turn = job.turn
        details["turn"] = [turn.session_id.hex(), turn.number, turn.background]
    if job.open_inputs:
        details["open_inputs"] = sorted(job.open_inputs)
    return json.dumps(details, ensure_ascii=False, separators=(",", ":")) if details else _NO_DETAILS


def _read_details(job: Job, text: str) -> None:
    details = json.loads(text)
    if "usage" in details:
        job.usage = Usage(*details["usage"])
    if "attempt_usage" in details:
        job.attempt_usage = Usage(*details["attempt_usage"])
    if "progress" in details:
        job.progress = Progress(*details["progress"])
    if "cancellation" in details:
        job.cancellation = _cancellation_of(*details["cancellation"])
    if "origin" in details:
        retry_of, schedule, nominal, catch_up = details["origin"]
        job.origin = Origin(JobId(bytes.fromhex(retry_of)) if retry_of else None, schedule, Micros(nominal), catch_up)
    if "timeouts" in details:
        job.timeouts = Timeouts(*details["timeouts"])
    if "turn" in details:
        session_id, turn_number, background = details["turn"]
        job.turn = Turn(JobId(bytes.fromhex(session_id)), turn_number, background)
    job.open_inputs = frozenset(details.get("open_inputs", ()))


def _cancellation_list(cancellation: Cancellation) -> list[Any]:
    superseded_by = cancellation.superseded_by.hex() if cancellation.superseded_by is not None else ""
    return [cancellation.reason, cancellation.actor, cancellation.time, int(cancellation.cause), superseded_by]


def _cancellation_of(reason: str, actor: str, time: int, cause: int = 1, superseded_by: str = "") -> Cancellation:
    by = JobId(bytes.fromhex(superseded_by)) if superseded_by else None
    return Cancellation(reason, actor, Micros(time), CancelCause(cause), by)


def _origin_list(origin: Origin) -> list[Any]:
    retry_of = origin.retry_of.hex() if origin.retry_of is not None else ""
    return [retry_of, origin.schedule, origin.nominal_time, origin.catch_up]


def _usage_list(usage: Usage) -> list[int]:
    return [
        usage.turns,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_creation_tokens,
        usage.cache_read_tokens,
        usage.cost_usd_micros,
        usage.api_micros,
        usage.tool_calls,
    ]
