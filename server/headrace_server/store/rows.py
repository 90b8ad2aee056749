"""A job's row in the table `jobs`, and as a `Job`."""

import json
from typing import Any

from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import NO_USAGE, Cancellation, Failure, Job, Progress, Usage
from headrace_server.core.states import JobState

FIXED = ("job", "id", "namespace", "queue", "owner", "created", "output_bytes_max")
"""Columns that never change."""
CHANGING = (
    "key",
    "rank",
    "priority",
    "state",
    "updated",
    "started",
    "ended",
    "due",
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
    "session",
    "details",
    "failure",
)
COLUMNS = FIXED + CHANGING
SELECT = "SELECT " + ", ".join(f"jobs.{column}" for column in COLUMNS) + " FROM jobs"
SELECT_WITH_SPEC = SELECT.replace(" FROM jobs", ", job_specs.spec, job_specs.traceparent FROM jobs") + (
    " JOIN job_specs ON job_specs.job = jobs.job"
)
"""The same, with the two columns that a worker needs beside."""

_TRUNCATED, _DIRTY, _SIMULATED, _BEGUN = 1, 2, 4, 8
_NO_DETAILS = ""


def values_of(job: Job) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    return (job.row, job.id, job.namespace, job.queue, job.owner, job.created, job.output_bytes_max, *changing_of(job))


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
        job.due,
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
        job.truncated * _TRUNCATED | job.dirty * _DIRTY | job.simulated * _SIMULATED | job.begun * _BEGUN,
        job.session,
        _details_text(job),
        None if job.failure is None else bytes((job.failure.failure_class,)) + job.failure.body,
    )


def job_of(row: tuple[Any, ...]) -> Job:
    """Reads a row of `SELECT`."""
    flags = row[27]
    failure = row[30]
    job = Job(
        row=row[0],
        id=JobId(bytes(row[1])),
        namespace=row[2],
        queue=row[3],
        owner=row[4],
        created=Micros(row[5]),
        output_bytes_max=row[6],
        key=row[7],
        rank=row[8],
        priority=row[9],
        state=JobState(row[10]),
        updated=Micros(row[11]),
        started=Micros(row[12]),
        ended=Micros(row[13]),
        due=Micros(row[14]),
        sequence=row[15],
        attempt=row[16],
        failures=row[17],
        losses=row[18],
        epoch=row[19],
        worker=row[20],
        incarnation=row[21],
        holder=row[22],
        settled_epoch=row[23],
        producer_sequence=row[24],
        report_number=row[25],
        output_bytes=row[26],
        truncated=bool(flags & _TRUNCATED),
        dirty=bool(flags & _DIRTY),
        simulated=bool(flags & _SIMULATED),
        begun=bool(flags & _BEGUN),
        session=row[28],
        failure=None if failure is None else Failure(FailureClass(failure[0]), bytes(failure[1:])),
    )
    if row[29] != _NO_DETAILS:
        _read_details(job, row[29])
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
        details["cancellation"] = [job.cancellation.reason, job.cancellation.actor, job.cancellation.time]
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
        reason, actor, time = details["cancellation"]
        job.cancellation = Cancellation(reason, actor, Micros(time))
    job.open_inputs = frozenset(details.get("open_inputs", ()))


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
