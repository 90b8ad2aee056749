"""What happened in queues, minute by minute: the counts of each, added up by every node that writes them.

A row says how often something was counted in a minute: a measure with a value, or with the bucket of a time.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.store.effects import Measure
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger

MINUTE = 60 * SECOND
LATER_START = -1
"""In place of a bucket: an attempt that was not the first of its job."""


Counted = tuple[str, str, int, int, int]
"""What is counted: namespace, queue, minute since 1970, measure, and its value (see `Measure`) or its bucket."""
COLUMNS = ("namespace", "queue", "minute", "measure", "value")


@dataclass(slots=True)
class Totals:
    """What happened in a queue in some time."""

    submitted: int = 0
    started: int = 0
    ended: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By state."""
    failed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By class."""
    waits: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By bucket."""
    runs: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """By bucket."""

    def add(self, measure: int, value: int, count: int) -> None:
        """Counts something."""
        match measure:
            case Measure.SUBMITTED:
                self.submitted += count
            case Measure.STARTED:
                self.started += count
                if value != LATER_START:
                    self.waits[value] += count
            case Measure.ATTEMPT_ENDED:
                self.runs[value] += count
            case Measure.ATTEMPT_FAILED:
                self.failed[value] += count
            case Measure.ENDED:
                self.ended[value] += count


def add_counts(ledger: Ledger, counts: Mapping[Counted, int]) -> None:
    """Adds what was counted to what is there."""
    ledger.insert(
        "queue_minutes",
        (*COLUMNS, "count"),
        [(*counted, count) for counted, count in sorted(counts.items())],
        "ON CONFLICT (namespace, queue, minute, measure, value)"
        " DO UPDATE SET count = queue_minutes.count + excluded.count",
    )


def read_totals(connection: Connection, namespace: str, queue: str, minute: int) -> Totals:
    """What is stored of a queue from a minute on, added up by the database: a day has a hundred thousand rows."""
    totals = Totals()
    for measure, value, count in connection.rows(
        "SELECT measure, value, sum(count) FROM queue_minutes"
        " WHERE namespace = ? AND queue = ? AND minute >= ? GROUP BY measure, value",
        (namespace, queue, minute),
    ):
        totals.add(int(measure), int(value), int(count))
    return totals


def oldest_queued(connection: Connection, namespace: str, queue: str) -> tuple[JobId, Micros] | None:
    """The QUEUED job of a queue that was submitted first, and when; rows are in the order of submits."""
    found = connection.rows(
        "SELECT id, created FROM jobs WHERE namespace = ? AND queue = ? AND state = 3 ORDER BY job LIMIT 1",
        (namespace, queue),
    )
    return (JobId(bytes(found[0][0])), Micros(found[0][1])) if found else None


def first_minute(connection: Connection) -> int | None:
    """The earliest minute that anything is known of; None when nothing was ever counted."""
    found = connection.rows("SELECT min(minute) FROM queue_minutes")[0][0]
    return None if found is None else int(found)
