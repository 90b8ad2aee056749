"""A job's row: whatever a job holds comes back from it."""

from dataclasses import fields
from typing import Any

from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import CancelCause, Cancellation, Failure, Job, OpenInput, Origin, Progress, Turn, Usage
from headrace_server.core.states import JobState
from headrace_server.core.timeouts import Timeouts
from headrace_server.store import rows

ID = JobId(bytes(range(16)))
MADE: dict[str, Any] = {
    "id": ID,
    "state": JobState.CANCELLING,
    "origin": Origin(ID, "nightly", Micros(7), catch_up=True),
    "timeouts": Timeouts(1, 2, 3, 4, 5, 6),
    "usage": Usage(1, 2, 3, 4, 5, 6, 7, 8),
    "attempt_usage": Usage(8, 7, 6, 5, 4, 3, 2, 1),
    "progress": Progress(1, 2, "half"),
    "cancellation": Cancellation("why", "who", Micros(9), CancelCause.SUPERSEDED, ID),
    "failure": Failure(FailureClass.CRASH, b"body"),
    "open_inputs": (OpenInput("a", "Bash", Micros(8)), OpenInput("b")),
    "turn": Turn(ID, 3, background=True),
}


def full_job(flag: bool) -> Job:
    """A job of which no two fields have the same value, as far as their types let them."""
    values = dict(MADE)
    for number, field in enumerate(fields(Job), start=100):
        if field.type is bool:
            values[field.name] = flag
        elif field.type is str:
            values[field.name] = f"text {number}"
        elif field.name not in MADE:
            values[field.name] = number
    return Job(**values)


def test_every_field_of_a_job_comes_back_from_its_row() -> None:
    for flag in (True, False):
        job = full_job(flag)
        assert rows.job_of(rows.values_of(job)) == job


def test_every_flag_has_a_bit_of_its_own() -> None:
    flags = [field.name for field in fields(Job) if field.type is bool]
    for flag in flags:
        job = full_job(False)
        setattr(job, flag, True)
        assert rows.job_of(rows.values_of(job)) == job


def test_what_changes_is_what_a_row_has_but_what_never_does() -> None:
    job = full_job(True)
    known = dict(zip(rows.COLUMNS, rows.values_of(job), strict=True))
    assert rows.changing_of(job) == tuple(known[column] for column in rows.CHANGING)
    assert set(rows.COLUMNS) - set(rows.CHANGING) == {
        "job",
        "id",
        "namespace",
        "queue",
        "owner",
        "created",
        "output_bytes_max",
        "slots",
        "concurrency_key",
    }
