"""A job's row in the table `jobs`, and as a `Job`."""

import json
from dataclasses import astuple
from operator import attrgetter
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
    OpenInput,
    Origin,
    Progress,
    Turn,
    Usage,
)
from headrace_server.core.states import JobState
from headrace_server.core.timeouts import NONE_STATED, Timeouts

_PLAIN = (
    "job",
    "id",
    "namespace",
    "queue",
    "owner",
    "key",
    "rank",
    "priority",
    "created",
    "output_bytes_max",
    "slots",
    "concurrency_key",
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
    "begun",
    "producer_sequence",
    "report_number",
    "output_bytes",
    "claude_session",
)
"""Columns with the value of a field as it is: the first fields of `Job`, in its order."""
_FIXED = frozenset(
    ("job", "id", "namespace", "queue", "owner", "created", "output_bytes_max", "slots", "concurrency_key")
)
"""Columns that never change."""
_MADE = ("state", "flags", "details", "failure")
COLUMNS = _PLAIN + _MADE
CHANGING = tuple(column for column in COLUMNS if column not in _FIXED)
"""Columns that do."""
SELECT = "SELECT " + ", ".join(f"jobs.{column}" for column in COLUMNS) + " FROM jobs"

_TRUNCATED, _DIRTY, _SIMULATED, _UNIQUE, _DEPENDENT = 1, 2, 4, 16, 32
_NO_DETAILS = ""
_plain = attrgetter("row", *_PLAIN[1:])
_plain_changing = attrgetter(*(column for column in _PLAIN if column not in _FIXED))


def values_of(job: Job) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    return *_plain(job), *_made(job)


def changing_of(job: Job) -> tuple[Any, ...]:
    """The values of `CHANGING`."""
    return *_plain_changing(job), *_made(job)


def job_of(row: tuple[Any, ...]) -> Job:
    """Reads a row of `SELECT`."""
    job = Job(*row[: len(_PLAIN)])
    state, flags, details, failure = row[len(_PLAIN) : len(COLUMNS)]
    job.state = JobState(state)
    if flags:
        _read_flags(job, flags)
    if details != _NO_DETAILS:
        _read_details(job, details)
    if failure is not None:
        job.failure = Failure(FailureClass(failure[0]), bytes(failure[1:]))
    return job


def _made(job: Job) -> tuple[Any, ...]:
    """The values of `_MADE`."""
    failure = job.failure
    return (
        int(job.state),
        _flags(job),
        _details_text(job),
        None if failure is None else bytes((failure.failure_class,)) + failure.body,
    )


def _flags(job: Job) -> int:
    return (
        job.truncated * _TRUNCATED
        | job.dirty * _DIRTY
        | job.simulated * _SIMULATED
        | job.unique * _UNIQUE
        | job.dependent * _DEPENDENT
    )


def _read_flags(job: Job, flags: int) -> None:
    job.truncated = bool(flags & _TRUNCATED)
    job.dirty = bool(flags & _DIRTY)
    job.simulated = bool(flags & _SIMULATED)
    job.unique = bool(flags & _UNIQUE)
    job.dependent = bool(flags & _DEPENDENT)


def _details_text(job: Job) -> str:
    """What few jobs have, as JSON; empty for the others."""
    details: dict[str, Any] = {}
    if job.usage is not NO_USAGE:
        details["usage"] = _usage_list(job.usage)
    if job.attempt_usage is not NO_USAGE:
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
        details["open_inputs"] = [astuple(one) for one in job.open_inputs]
    if job.asks:
        details["asks"] = job.asks
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
    if "open_inputs" in details:
        job.open_inputs = tuple(OpenInput(*one) for one in details["open_inputs"])
    job.asks = details.get("asks", 0)


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
