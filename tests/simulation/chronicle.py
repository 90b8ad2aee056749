"""The store as an onlooker reads it after every commit, in plain SQL: the rows, and what has come to the logs since.

It keeps every event that it has ever seen, so a log that changes afterwards shows.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any

from headrace.v1 import event_pb2, job_pb2
from headrace_server.core.ids import job_id_text
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED
from headrace_server.store import rows
from headrace_server.store.engine import Connection
from simulation.violation import hold

KINDS_OF_END = frozenset({"succeeded", "failed", "cancelled", "expired", "skipped"})


@dataclass(slots=True)
class Logged:
    """An event as it stands in the store."""

    kind: str
    event: event_pb2.Event
    body: bytes


@dataclass(slots=True)
class Known:
    """One job: its row as it is now, its whole log, and its number among the submits."""

    id: str
    row: Job
    number: int
    name: str
    """For display."""
    log: list[Logged] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fresh:
    """What one look has found."""

    events: list[tuple[Known, Logged]]
    """In the order of their positions; output after the others of its job's sequence before it."""
    changed: list[Known]
    """Jobs whose row is another, or whose log has grown."""


class Chronicle:
    """What is in the store."""

    def __init__(self, deletable: Set[str], unsaid: Callable[[job_pb2.JobSpec], int]) -> None:
        """`deletable` are the jobs that somebody asked to have deleted; `unsaid` gives a number to one that no client
        submitted."""
        self.jobs: dict[str, Known] = {}
        self.generation = 1
        self._by_row: dict[int, Known] = {}
        self._raw: dict[int, tuple[Any, ...]] = {}
        self._deletable = deletable
        self._unsaid = unsaid
        self._position = 0
        self._outputs: dict[str, int] = {}
        """By job: the sequence of the last piece of output that was seen."""

    @property
    def position(self) -> int:
        """Of the last event of the feed that was seen."""
        return self._position

    def of_row(self, row: int) -> Known:
        """The job of a row that is there."""
        return self._by_row[row]

    def look(self, connection: Connection) -> Fresh:
        """Reads what is new."""
        changed = {known.id: known for known in self._read_rows(connection)}
        found = connection.rows(
            "SELECT position, job, sequence, body FROM events WHERE position > ? ORDER BY position", (self._position,)
        )
        outputs = [row for known in changed.values() for row in self._new_outputs(connection, known)]
        for place, (position, *_) in enumerate(found, start=self._position + 1):
            # Jobs that were deleted in the transaction that ended them took their events with them.
            skipped = self._deletable and position > self._position
            hold(position == place or skipped, "E1", f"position {position} where {place} is next")
        self._position = found[-1][0] if found else self._position
        events = [self._learn(*row) for row in found] + [self._learn(0, *row) for row in outputs]
        for known, _ in events:
            changed[known.id] = known
        for known in changed.values():
            known.log.sort(key=lambda logged: logged.event.sequence)
        return Fresh(events, list(changed.values()))

    def _new_outputs(self, connection: Connection, known: Known) -> list[tuple[Any, ...]]:
        last = self._outputs.get(known.id, 0)
        found = connection.rows(
            "SELECT job, sequence, body FROM outputs WHERE job = ? AND sequence > ? ORDER BY sequence",
            (known.row.row, last),
        )
        if found:
            self._outputs[known.id] = found[-1][1]
        return found

    def _read_rows(self, connection: Connection) -> list[Known]:
        changed = []
        found = connection.rows(rows.SELECT)
        for raw in found:
            if self._raw.get(raw[0]) == raw:
                continue
            self._raw[raw[0]] = raw
            job = rows.job_of(raw)
            known = self._by_row.get(job.row)
            if known is None:
                known = self._by_row[job.row] = self._known(connection, job)
                self.jobs[known.id] = known
            known.row = job
            changed.append(known)
        if len(found) != len(self._raw):
            self._forget(connection, self._raw.keys() - {raw[0] for raw in found})
        return changed

    def _known(self, connection: Connection, job: Job) -> Known:
        found = connection.rows("SELECT spec FROM job_specs WHERE job = ?", (job.row,))
        hold(len(found) == 1, "S4", "a job without its spec")
        spec = job_pb2.JobSpec.FromString(found[0][0])
        if job.turn is None:
            number = int(spec.display_name)
        else:
            number = self._unsaid(spec) if job.turn.background else int(spec.claude.prompt)
        return Known(job_id_text(job.id), job, number, spec.display_name)

    def _forget(self, connection: Connection, gone: Set[int]) -> None:
        for row in gone:
            known = self._by_row.pop(row)
            hold(known.id in self._deletable, "I1", f"{known.id} is gone from the store")
            # It may have ended in the transaction that deleted it.
            said = connection.rows(
                "SELECT detail FROM audit WHERE action = 'JobService.DeleteJob' AND resource_name = ?", (known.id,)
            )
            ended = {detail.rpartition(" ")[2] for (detail,) in said} & {state.name for state in ENDED}
            hold(
                ended or known.row.state in ENDED,
                "I14",
                f"{known.id} was deleted while it was {known.row.state.name}: {said}",
            )
            del self.jobs[known.id], self._raw[row]

    def _learn(self, position: int, row: int, sequence: int, body: bytes) -> tuple[Known, Logged]:
        event = event_pb2.Event.FromString(body)
        known = self._by_row.get(row)
        hold(known is not None, "S4", "an event without its job")
        assert known is not None
        hold((event.position, event.sequence) == (position, sequence), "I8", "an event that says another place")
        hold(event.job_id == known.id, "I8", "an event of another job")
        logged = Logged(event.WhichOneof("kind") or "", event, body)
        known.log.append(logged)
        return known, logged
