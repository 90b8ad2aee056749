"""I9, E1, E7: what a reader of the feed got is what was committed and wanted, in order; a gap says what is missing."""

from dataclasses import dataclass, field

from headrace.v1 import event_pb2, job_pb2
from headrace.v1 import event_service_pb2 as pb
from headrace_server.store.codec import time_of
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh, Known
from simulation.feed_readers import FeedReader, Gap, Wanted
from simulation.violation import hold

OWN = "local"
"""The owner of what was submitted without naming one: who reads is who submits."""


@dataclass(slots=True)
class _OfJob:
    known: Known
    labels: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    """With the position from which on it had them."""

    def labels_since(self, position: int) -> list[frozenset[str]]:
        """A filter looks at the labels as they are when it is applied, which is some time after the event."""
        before = [at for at, _ in self.labels if at <= position]
        return [labels for at, labels in self.labels if at >= before[-1]]


@dataclass(frozen=True, slots=True)
class _Committed:
    """An event of the feed."""

    job: _OfJob
    kind: str
    event: event_pb2.Event
    worker: str
    """Of its attempt."""

    def may_be_wanted(self, wanted: Wanted) -> bool:
        """Whether a reader gets it with the labels that its job has had at one time since."""
        return self._is_wanted(wanted, frozenset().union(*self.job.labels_since(self.event.position)))

    def is_wanted(self, wanted: Wanted) -> bool:
        """Whether a reader gets it with whichever of these labels."""
        return self._is_wanted(wanted, frozenset.intersection(*self.job.labels_since(self.event.position)))

    def _is_wanted(self, wanted: Wanted, labels: frozenset[str]) -> bool:
        row = self.job.known.row
        return (
            (not wanted.kinds or self.kind in wanted.kinds)
            and wanted.queue in ("", row.queue)
            and wanted.owner in ("", row.owner)
            and wanted.worker in ("", self.worker)
            and (not wanted.label or wanted.label in labels)
            and (not wanted.only_own or row.owner == OWN)
        )


@dataclass(slots=True)
class _Checked:
    """How far a reader was checked, and what it had by then."""

    place: int = 0
    events_count: int = 0
    gaps_count: int = 0
    last: int = 0
    got: set[int] = field(default_factory=set)
    lacking: set[int] = field(default_factory=set)


class FeedChecker:
    """Keeps the whole feed, also of jobs that are gone."""

    def __init__(self, readers: list[FeedReader]) -> None:
        self._readers = readers
        self._feed: dict[int, _Committed] = {}
        self._jobs: dict[str, _OfJob] = {}
        self._workers: dict[tuple[str, int], str] = {}
        """By job and epoch."""
        self._checked: list[_Checked] = []

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        for known, logged in fresh.events:
            event = logged.event
            if not event.position:
                continue
            if logged.kind in ("submitted", "updated"):
                self._look_at_labels(known, event.position, connection)
            attempt = (known.id, event.epoch)
            if logged.kind == "attempt_assigned":
                self._workers[attempt] = event.attempt_assigned.worker_id
            worker = self._workers.get(attempt, "")
            self._feed[event.position] = _Committed(self._jobs[known.id], logged.kind, event, worker)

    def check_step(self, chronicle: Chronicle) -> None:
        """After a step."""
        for number, reader in enumerate(self._readers):
            if number == len(self._checked):
                self._checked.append(_Checked())
            checked = self._checked[number]
            for event in reader.got[checked.events_count :]:
                self._check_got(reader, checked, event)
            for gap in reader.gaps[checked.gaps_count :]:
                self._check_gap(reader, gap, chronicle)
                checked.lacking.update(range(gap.first, gap.last + 1))
            checked.events_count, checked.gaps_count = len(reader.got), len(reader.gaps)
            both = checked.got & checked.lacking
            hold(not both, "I9", f"a reader got {both}, and was told that they are missing")
            self._check_complete(reader, checked)
            checked.place = reader.place

    def check_quiet(self, chronicle: Chronicle) -> None:
        """A while after the last commit: whoever has read what was there has got everything."""
        for reader in self._readers:
            if reader.waits:
                self._check_nothing_waits(reader, chronicle)

    def check_end(self, chronicle: Chronicle, *, told: bool) -> None:
        """When nothing happens any more every reader has got all; once it was told its place, it is at the end."""
        self.check_step(chronicle)
        for reader in self._readers:
            self._check_nothing_waits(reader, chronicle)
            there = reader.place >= chronicle.position or not told
            hold(there, "E7", f"a reader of '{reader.wanted.filter}' stays at {reader.cursor} of {chronicle.position}")

    def _look_at_labels(self, known: Known, position: int, connection: Connection) -> None:
        found = connection.rows("SELECT spec FROM job_specs WHERE job = ?", (known.row.row,))
        said = job_pb2.JobSpec.FromString(found[0][0]).labels
        labels = frozenset(name for name, value in said.items() if value == "yes")
        self._jobs.setdefault(known.id, _OfJob(known)).labels.append((position, labels))

    def _check_got(self, reader: FeedReader, checked: _Checked, got: pb.FeedEvent) -> None:
        position = got.event.position
        hold(position > checked.last, "I9", f"a reader of the feed got {position} after {checked.last}")
        checked.last = position
        checked.got.add(position)
        known = self._feed.get(position)
        hold(known is not None, "I9", f"a reader of the feed got {position}, which was never committed")
        assert known is not None
        hold(got.event == known.event, "I9", f"a reader of the feed got another event {position} than is stored")
        job = known.job.known
        of_job = (got.queue, got.owner, got.display_name) == (job.row.queue, job.row.owner, job.name)
        hold(of_job, "E7", f"event {position} comes with {got.queue}, {got.owner}, {got.display_name}")
        hold(
            known.may_be_wanted(reader.wanted),
            "E7",
            f"a reader of '{reader.wanted.filter}' got a {known.kind} of {job.row.owner}",
        )
        early = position <= reader.begins or time_of(got.event.time) < reader.start
        hold(not early, "E1", f"a reader got {position}, from before it began")

    def _check_gap(self, reader: FeedReader, gap: Gap, chronicle: Chronicle) -> None:
        for position in range(gap.first, gap.last + 1):
            known = self._feed.get(position)
            there = known is not None and known.job.known.id in chronicle.jobs and self._is_owed(reader, position)
            hold(not there, "I9", f"a gap names event {position}, which is there")

    def _check_complete(self, reader: FeedReader, checked: _Checked) -> None:
        for position in range(max(checked.place, reader.begins) + 1, reader.place + 1):
            # One that nobody has ever seen was removed in the transaction that made it.
            owed = self._is_owed(reader, position) if position in self._feed else not reader.start
            told = not owed or position in checked.got or position in checked.lacking
            hold(told, "I9", f"a reader at {reader.cursor} was not told of {position}")

    def _check_nothing_waits(self, reader: FeedReader, chronicle: Chronicle) -> None:
        for position in range(reader.place + 1, chronicle.position + 1):
            owed = self._is_owed(reader, position)
            hold(not owed, "E1", f"a reader at {reader.cursor} waits for {position}, and nothing comes")

    def _is_owed(self, reader: FeedReader, position: int) -> bool:
        known = self._feed.get(position)
        return (
            known is not None
            and position > reader.begins
            and time_of(known.event.time) >= reader.start
            and known.is_wanted(reader.wanted)
        )
