"""Lists of jobs by a filter, newest first, a bounded number of rows at a time.

Where an index fits the filter it is walked, else the table; either way a page looks at so many rows at most, and says
where the next one goes on. So a filter that matches little costs many short pages, never one long query.
"""

from dataclasses import dataclass
from typing import Any

from headrace_server.core.job import Job
from headrace_server.core.job_filter import JobFilter
from headrace_server.core.states import LEASED, JobState
from headrace_server.store import rows
from headrace_server.store.conditions import Conditions, marks
from headrace_server.store.engine import Connection

SCANNED_ROWS_COUNT = 20_000
_LEASED_NAMES = frozenset(state.name for state in LEASED)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of jobs, and the row before which the next one begins; None after the last page."""

    jobs: list[Job]
    before: int | None


@dataclass(frozen=True, slots=True)
class _Walk:
    """What is walked in the order of rows: a table or index, and what narrows it."""

    source: str
    column: str
    condition: str
    parameters: tuple[Any, ...]
    whole: bool = False
    """It is short enough to be walked at once."""


def list_jobs(connection: Connection, namespace: str, wanted: JobFilter, before: int, count: int) -> Listed:
    """Up to `count` jobs that a filter matches, from right before a row (zero: from the newest)."""
    top = before or int(connection.rows("SELECT coalesce(max(job), 0) FROM jobs")[0][0]) + 1
    walk = _walk(namespace, wanted)
    end = _end(connection, walk, top)
    conditions = _conditions(namespace, wanted)
    found = connection.rows(
        f"{rows.SELECT}{walk.source} WHERE {walk.condition} AND {walk.column} < ? AND {walk.column} >= ?"
        f" AND {conditions.sql} ORDER BY {walk.column} DESC LIMIT ?",
        (*walk.parameters, top, end, *conditions.parameters, count),
    )
    jobs = [rows.job_of(row) for row in found]
    if len(jobs) == count:
        return Listed(jobs, jobs[-1].row)
    return Listed(jobs, end or None)


def _walk(namespace: str, wanted: JobFilter) -> _Walk:
    if wanted.worker_ids or (wanted.states and wanted.states <= _LEASED_NAMES):
        # Only what is leased has a worker, and that is little. The states stand as numbers, so that their partial index
        # can be used; the plus keeps the engine from walking all jobs for the sake of the order.
        return _Walk("", "+jobs.job", "jobs.state IN (4, 5, 6, 7)", (), whole=True)
    if len(wanted.session_ids) == 1:
        return _Walk(
            " JOIN session_turns ON session_turns.job = jobs.job",
            "session_turns.job",
            "session_turns.session = (SELECT session FROM sessions WHERE id = ?)",
            wanted.session_ids,
        )
    label = next(((key, values[0]) for key, values in wanted.labels if len(values) == 1), None)
    if label is not None:
        return _Walk(
            " JOIN job_labels ON job_labels.job = jobs.job",
            "job_labels.job",
            "job_labels.namespace = ? AND job_labels.label = ? AND job_labels.value = ?",
            (namespace, *label),
        )
    if wanted.states == {JobState.QUEUED.name} and len(wanted.queues) == 1:
        return _Walk(
            "", "jobs.job", "jobs.namespace = ? AND jobs.queue = ? AND jobs.state = 3", (namespace, *wanted.queues)
        )
    return _Walk("", "jobs.job", "TRUE", ())


def _end(connection: Connection, walk: _Walk, top: int) -> int:
    """The last row that a page from right below `top` looks at; zero when it looks at all that are left."""
    if walk.whole:
        return 0
    table = walk.column.partition(".")[0]
    found = connection.rows(
        f"SELECT {walk.column} FROM {table} WHERE {walk.condition} AND {walk.column} < ?"
        f" ORDER BY {walk.column} DESC LIMIT 1 OFFSET ?",
        (*walk.parameters, top, SCANNED_ROWS_COUNT - 1),
    )
    return int(found[0][0]) if found else 0


def _conditions(namespace: str, wanted: JobFilter) -> Conditions:
    conditions = Conditions("jobs.namespace = ?", namespace)
    if wanted.states:
        states = ", ".join(str(int(JobState[name])) for name in sorted(wanted.states))
        conditions.add(f"jobs.state IN ({states})")
    conditions.add_among("jobs", (("queue", wanted.queues), ("owner", wanted.owners), ("worker", wanted.worker_ids)))
    if wanted.session_ids:
        conditions.add(
            "jobs.job IN (SELECT session_turns.job FROM session_turns JOIN sessions"
            f" ON sessions.session = session_turns.session WHERE sessions.id IN ({marks(wanted.session_ids)}))",
            *wanted.session_ids,
        )
    for label, values in wanted.labels:
        conditions.add(
            "EXISTS (SELECT 1 FROM job_labels AS labelled WHERE labelled.namespace = jobs.namespace"
            f" AND labelled.label = ? AND labelled.value IN ({marks(values)}) AND labelled.job = jobs.job)",
            label,
            *values,
        )
    return conditions
