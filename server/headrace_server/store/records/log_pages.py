"""Reading the log of one job in pages, all of it or what a reader wants of it. Every function reads one moment.

Sequences are dense, and nothing but old output is ever taken out of the middle of a log; up to where is kept. That is
how a reader learns what is missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from headrace.v1 import event_pb2
from headrace_server.core.ids import Micros
from headrace_server.core.log_filter import EVERYTHING, LogFilter
from headrace_server.core.states import ENDED
from headrace_server.store.codec import time_of
from headrace_server.store.engine import Connection
from headrace_server.store.records.output_kinds import kind_of

SCANNED_COUNT = 4096
"""Sequences that a page looks at, at most, when not all of them are wanted: a reader that wants little of a long log
costs many short reads, never a long one."""
_LIFECYCLE = -1
"""Stands in for the kind of an event that is not output."""
_OUTPUT_TOO = " UNION ALL SELECT sequence, body, kind FROM outputs WHERE job = ? AND sequence > ? AND sequence <= ?"


@dataclass(frozen=True, slots=True)
class Page:
    """Serialised events of one job that are wanted, in order; or, without events, a gap.

    `last_sequence`: up to there everything was looked at. `ended`, `deleted`: nothing will ever follow it, because the
    job has ended or was deleted.
    """

    events: tuple[bytes, ...]
    last_sequence: int
    ended: bool
    deleted: bool = False
    gap: tuple[int, int] | None = None
    """First and last of sequences that were removed."""
    earliest: int = 0
    """With a gap: the earliest sequence that is left."""
    complete: bool = True
    """There was nothing after it when it was read."""


def read_page(
    connection: Connection,
    row: int,
    after: int,
    bytes_max: int,
    count_max: int,
    wanted: LogFilter = EVERYTHING,
) -> Page:
    """What follows a sequence, up to a number of events and of bytes; a larger event is a page of its own."""
    found = connection.rows("SELECT state, sequence FROM jobs WHERE job = ?", (row,))
    if not found:
        return Page((), after, ended=False, deleted=True)
    state, sequence = found[0]
    until = min(sequence, after + SCANNED_COUNT) if wanted.looks else sequence
    dropped = _dropped(connection, row) if wanted.output and state in ENDED else 0
    reading = _Reading(bytes_max, count_max, wanted, dropped, after)
    reading.take(_rows(connection, row, after, until, count_max, wanted), until)
    complete = reading.last == sequence
    return Page(
        tuple(reading.events),
        reading.last,
        complete and state in ENDED,
        gap=reading.gap,
        earliest=_earliest(connection, row) if reading.gap else 0,
        complete=complete,
    )


def place_before_last(connection: Connection, row: int, before: int, count: int, wanted: LogFilter) -> tuple[int, int]:
    """Looks for the last events before a sequence that are wanted: down to which sequence it looked, and how many of
    `count` it found. A log that is long is looked through in several calls."""
    lowest = max(1, before - SCANNED_COUNT)
    seen = 0
    for sequence, body, kind in connection.iterate(
        _select(wanted) + " ORDER BY 1 DESC", _bounds(row, lowest - 1, before - 1, wanted)
    ):
        seen += is_wanted(body, kind, wanted)
        if seen == count:
            return sequence, seen
    return lowest, seen


def place_before_time(connection: Connection, row: int, time: Micros) -> int:
    """The last sequence whose event, of those that are left, is earlier than a time; zero when none is."""
    found = connection.rows("SELECT sequence FROM jobs WHERE job = ?", (row,))
    low, high = 0, int(found[0][0]) if found else 0
    # Everything up to `low` is earlier; nothing after `high` is.
    while low < high:
        middle = (low + high + 1) // 2
        at = connection.rows(_select(EVERYTHING) + " ORDER BY 1 LIMIT 1", _bounds(row, middle - 1, high, EVERYTHING))
        if at and time_of(event_pb2.Event.FromString(at[0][1]).time) < time:
            low = int(at[0][0])
        else:
            high = middle - 1
    return low


def is_wanted(body: bytes, kind: int, wanted: LogFilter) -> bool:
    """Whether a reader gets an event; `kind` is the stored one, which may not be known."""
    if not wanted.looks:
        return True
    event = event_pb2.Event.FromString(body) if wanted.attempt or not kind else None
    if event is not None and wanted.attempt and event.attempt not in (0, wanted.attempt):
        return False
    if kind == _LIFECYCLE or not wanted.kinds:
        return True
    if event is not None and not kind:
        kind = kind_of(event.output)
    return kind in wanted.kinds


class _Reading:
    """One page in the making."""

    def __init__(self, bytes_max: int, count_max: int, wanted: LogFilter, dropped: int, after: int) -> None:
        self._room = bytes_max
        self._count_max = count_max
        self._wanted = wanted
        self._dropped = dropped
        self._after = after
        self.events: list[bytes] = []
        self.last = after
        self.gap: tuple[int, int] | None = None

    def take(self, rows: Iterator[tuple[int, bytes, int]], until: int) -> None:
        """Goes on to `until`, to a gap, or to where the page is full."""
        looked_at = 0
        for sequence, body, kind in rows:
            if self._stops_before(sequence):
                return
            if is_wanted(body, kind, self._wanted):
                if self.events and len(body) > self._room:
                    return
                self.events.append(bytes(body))
                self._room -= len(body)
            self.last = sequence
            looked_at += 1
        if looked_at < self._count_max and not self._stops_before(until + 1):
            self.last = until

    def _stops_before(self, sequence: int) -> bool:
        """Whether output was removed right after the last event; what was read before it is a page of its own."""
        missing = min(sequence - 1, self._dropped)
        if missing <= self.last:
            return False
        if self.last == self._after:
            self.gap = (self.last + 1, missing)
            self.last = missing
        return True


def _rows(
    connection: Connection, row: int, after: int, until: int, count: int, wanted: LogFilter
) -> Iterator[tuple[int, bytes, int]]:
    sql, bounds = _select(wanted), _bounds(row, after, until, wanted)
    found: Iterator[tuple[int, bytes, int]] = connection.iterate(f"{sql} ORDER BY 1 LIMIT ?", (*bounds, count))
    return found


def _select(wanted: LogFilter) -> str:
    sql = f"SELECT sequence, body, {_LIFECYCLE} FROM events WHERE job = ? AND sequence > ? AND sequence <= ?"
    if wanted.output:
        sql += _OUTPUT_TOO
        if wanted.kinds:
            sql += f" AND kind IN ({','.join('?' * (1 + len(wanted.kinds)))})"
        if wanted.attempt:
            sql += " AND attempt IN (0, ?)"
    return sql


def _bounds(row: int, after: int, until: int, wanted: LogFilter) -> list[int]:
    values = [row, after, until]
    if wanted.output:
        values += values
        if wanted.kinds:
            values += [0, *sorted(wanted.kinds)]
        if wanted.attempt:
            values.append(wanted.attempt)
    return values


def _dropped(connection: Connection, row: int) -> int:
    """Up to which sequence the output of a job was removed."""
    found = connection.rows("SELECT up_to FROM dropped_outputs WHERE job = ?", (row,))
    return int(found[0][0]) if found else 0


def _earliest(connection: Connection, row: int) -> int:
    found = connection.rows("SELECT min(sequence) FROM events WHERE job = ?", (row,))
    return int(found[0][0] or 0)
