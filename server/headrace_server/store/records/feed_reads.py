"""Reading the feed: every event but output, of all jobs of the store, in the order of commits (E1).

Positions are given out one by one and stored at once, so one that is not there was removed with its job. That is how a
reader learns what is missing; nobody keeps a list of it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from headrace.v1 import event_pb2, event_service_pb2, job_pb2
from headrace_server.core.ids import JobId, Micros, job_id_text, parse_job_id
from headrace_server.store.codec import time_of
from headrace_server.store.engine import Connection, in_list
from headrace_server.store.wire import feed_entry, feed_job_fields

_JOBS_AT_ONCE = 512
_NO_LABELS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FeedJob:
    """What a reader of the feed wants to know of an event's job."""

    row: int
    id: str
    namespace: str
    queue: str
    owner: str
    schedule: str
    session_id: str
    """Of the session whose turn it is, as text."""
    labels: Mapping[str, str]
    encoded: bytes
    """The fields of a `FeedEvent` after its event."""
    fixed: bool
    """None of it can change any more."""


class FeedRow(NamedTuple):
    """One event."""

    position: int
    job: FeedJob
    entry: bytes
    """As it is sent; see `feed_entry`."""

    def message(self) -> event_service_pb2.FeedEvent:
        """As readers get it."""
        return event_service_pb2.FeedBatch.FromString(self.entry).events[0]

    def event(self) -> event_pb2.Event:
        """The event alone."""
        return self.message().event


@dataclass(slots=True)
class FeedPage:
    """What follows a position: the events that are there, and up to where there are no others."""

    after: int
    last: int
    """Every position up to here was looked at."""
    rows: tuple[FeedRow, ...]
    jobs: tuple[FeedJob, ...]
    """Of the events, each once."""
    size: int
    """Bytes of the events."""
    holes: tuple[tuple[int, int], ...]
    """First and last of positions, in order, that are no longer there."""
    earliest: int
    """With holes: the earliest position that is left; zero when none is."""
    workers: tuple[str, ...] | None = field(default=None, compare=False)
    """Whose attempt each event belongs to, once somebody wanted to know."""
    kinds: tuple[str, ...] | None = field(default=None, compare=False)
    """Of the events, likewise."""

    @property
    def is_empty(self) -> bool:
        """Nothing is known after its beginning."""
        return self.last == self.after


def last_position(connection: Connection) -> int:
    """Of the last event that was committed, whether it is still there or not."""
    return int(connection.rows("SELECT value FROM sequences WHERE name = 'position'")[0][0])


def read_feed(
    connection: Connection, after: int, known: Mapping[int, FeedJob], count_max: int, bytes_max: int
) -> FeedPage:
    """The events after a position, up to a number and a size; a larger event is a page of its own."""
    found: list[tuple[int, int, bytes]] = []
    size, full = 0, False
    for position, job, body in connection.iterate(
        "SELECT position, job, body FROM events WHERE position > ? ORDER BY position LIMIT ?", (after, count_max)
    ):
        if found and size + len(body) > bytes_max:
            full = True
            break
        found.append((position, job, body))
        size += len(body)
    full = full or len(found) == count_max
    last = found[-1][0] if full else max(last_position(connection), after)
    page = _page(after, last, *_with_jobs(connection, found, known))
    if len(page.rows) != last - after:
        page.holes = tuple(_holes(page))
        page.earliest = _earliest(connection)
    return page


def read_feed_with_workers(
    connection: Connection, after: int, known: Mapping[int, FeedJob], count_max: int, bytes_max: int
) -> FeedPage:
    """The same with the worker of each event."""
    page = read_feed(connection, after, known, count_max, bytes_max)
    page.workers = attempt_workers(connection, page.rows)
    return page


def _page(after: int, last: int, rows: tuple[FeedRow, ...], jobs: tuple[FeedJob, ...]) -> FeedPage:
    return FeedPage(after, last, rows, jobs, sum([len(row.entry) for row in rows]), (), 0)


def read_feed_back(connection: Connection, before: int, count_max: int, bytes_max: int) -> tuple[FeedPage, int]:
    """The events before a position, the latest first and without holes, and the position down to which they were looked
    at; zero when there are no earlier ones."""
    found: list[tuple[int, int, bytes]] = []
    size = 0
    for position, job, body in connection.iterate(
        "SELECT position, job, body FROM events WHERE position < ? ORDER BY position DESC LIMIT ?", (before, count_max)
    ):
        found.append((position, job, body))
        size += len(body)
        if size > bytes_max:
            break
    full = len(found) == count_max or size > bytes_max
    lowest = found[-1][0] if full else 0
    return _page(lowest, before, *_with_jobs(connection, found, {})), lowest


def rows_of_jobs(connection: Connection, ids: Iterable[str]) -> tuple[int, ...]:
    """Of jobs by their ids, in their text form; of those that are there."""
    marks, values = in_list([parse_job_id(text) for text in ids])
    return tuple(int(row) for (row,) in connection.iterate(f"SELECT job FROM jobs WHERE id IN ({marks})", values))


def read_feed_of_jobs(
    connection: Connection, jobs: Sequence[int], after: int, before: int, count_max: int, *, back: bool
) -> FeedPage:
    """The events of some jobs between two positions, in either order and without holes, however long the feed is; the
    page ends with the last event when there may be more, else where it was to end."""
    marks, values = in_list(jobs)
    order = "DESC" if back else "ASC"
    found = connection.rows(
        # The plus keeps the planner from walking over the positions: jobs have few events.
        f"SELECT position, job, body FROM events WHERE job IN ({marks}) AND +position > ? AND +position < ?"
        f" ORDER BY position {order} LIMIT ?",
        (*values, after, before, count_max),
    )
    full = len(found) == count_max
    end = found[-1][0] if full else after if back else before - 1
    return _page(before if back else after, end, *_with_jobs(connection, found, {}))


def position_before(connection: Connection, time: Micros) -> tuple[int, bool]:
    """The last position whose event, of those that are left, is earlier than a time, zero when none is; and whether one
    follows, so that nothing earlier can come any more."""
    low, high = 0, last_position(connection)
    # Everything up to `low` is earlier; nothing after `high` is.
    while low < high:
        middle = (low + high + 1) // 2
        found = connection.rows(
            "SELECT position, body FROM events WHERE position BETWEEN ? AND ? ORDER BY position LIMIT 1", (middle, high)
        )
        if found and time_of(event_pb2.Event.FromString(found[0][1]).time) < time:
            low = int(found[0][0])
        else:
            high = middle - 1
    return low, bool(connection.rows("SELECT 1 FROM events WHERE position > ? LIMIT 1", (low,)))


def attempt_workers(connection: Connection, rows: Iterable[FeedRow]) -> tuple[str, ...]:
    """The worker of the attempt that each event belongs to; empty for an event of none."""
    assigned: dict[tuple[int, int], str] = {}
    workers = []
    for row in rows:
        event = row.event()
        attempt = (row.job.row, event.epoch)
        if event.WhichOneof("kind") == "attempt_assigned":
            assigned[attempt] = event.attempt_assigned.worker_id
        elif event.epoch and attempt not in assigned:
            assigned[attempt] = _assigned_to(connection, row.job.row, event)
        workers.append(assigned.get(attempt, ""))
    return tuple(workers)


def _assigned_to(connection: Connection, job: int, event: event_pb2.Event) -> str:
    """Its assignment is mostly the event right before, or one of few."""
    for (body,) in connection.iterate(
        "SELECT body FROM events WHERE job = ? AND sequence < ? ORDER BY sequence DESC", (job, event.sequence)
    ):
        earlier = event_pb2.Event.FromString(body)
        if earlier.WhichOneof("kind") == "attempt_assigned" and earlier.epoch == event.epoch:
            return earlier.attempt_assigned.worker_id
    return ""


def _earliest(connection: Connection) -> int:
    found = connection.rows(
        "SELECT events.position FROM events CROSS JOIN jobs ON jobs.job = events.job ORDER BY events.position LIMIT 1"
    )
    return int(found[0][0]) if found else 0


def _holes(page: FeedPage) -> Iterator[tuple[int, int]]:
    reached = page.after
    for row in page.rows:
        if row.position > reached + 1:
            yield reached + 1, row.position - 1
        reached = row.position
    if page.last > reached:
        yield reached + 1, page.last


def _with_jobs(
    connection: Connection, found: list[tuple[int, int, bytes]], known: Mapping[int, FeedJob]
) -> tuple[tuple[FeedRow, ...], tuple[FeedJob, ...]]:
    """The events with their jobs, and the jobs; without those of deleted jobs whose logs are still being removed."""
    jobs: dict[int, FeedJob] = {}
    missing: dict[int, None] = {}
    for _, row, _ in found:
        job = known.get(row)
        if job is None:
            missing[row] = None
        else:
            jobs[row] = job
    jobs.update((job.row, job) for job in _read_jobs(connection, list(missing)))
    rows = []
    for position, row, body in found:
        job = jobs.get(row)
        if job is not None:
            rows.append(FeedRow(position, job, feed_entry(body, job.encoded)))
    return tuple(rows), tuple(jobs.values())


def _session_of(details: str) -> str:
    turn = json.loads(details).get("turn") if '"turn"' in details else None
    return job_id_text(JobId(bytes.fromhex(turn[0]))) if turn else ""


def _read_jobs(connection: Connection, missing: list[int]) -> Iterator[FeedJob]:
    for start in range(0, len(missing), _JOBS_AT_ONCE):
        marks, values = in_list(missing[start : start + _JOBS_AT_ONCE])
        for row, job_id, namespace, queue, owner, begun, details, spec in connection.iterate(
            "SELECT jobs.job, id, namespace, queue, owner, started + ended, details, spec FROM jobs"
            f" JOIN job_specs ON job_specs.job = jobs.job WHERE jobs.job IN ({marks})",
            values,
        ):
            asked = job_pb2.JobSpec.FromString(spec)
            yield FeedJob(
                row,
                job_id_text(JobId(bytes(job_id))),
                namespace,
                queue,
                owner,
                json.loads(details)["origin"][1] if '"origin"' in details else "",
                _session_of(details),
                dict(asked.labels) if asked.labels else _NO_LABELS,
                feed_job_fields(queue, owner, asked.display_name),
                fixed=begun > 0,
            )
