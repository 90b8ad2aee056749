"""I8, I13, E3: rows are the fold of their logs, sequences are dense, counters count, an end comes once and last."""

from collections import Counter
from dataclasses import fields

from headrace.v1 import event_pb2
from headrace_server.core import lifecycle
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.store import codec
from headrace_server.store.decoding import decode
from headrace_server.store.engine import Connection
from simulation.chronicle import KINDS_OF_END, Chronicle, Fresh, Known
from simulation.violation import Violation, hold
from store.checkers import OF_THE_SUBMIT

_COMPARED = tuple(one.name for one in fields(Job) if one.name not in ("failure", "producer_sequence"))


class LogChecker:
    """Folds every log along, and compares."""

    def __init__(self) -> None:
        self._folded: dict[str, Job] = {}

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        for known in fresh.changed:
            self._fold(known)
            _check_end(known)
        _check_counters(chronicle, connection)

    def _fold(self, known: Known) -> None:
        folded = self._folded.get(known.id)
        if folded is None:
            folded = self._folded[known.id] = Job(**{name: getattr(known.row, name) for name in OF_THE_SUBMIT})
        for logged in known.log[folded.sequence :]:
            event = logged.event
            _apply(known, folded, event)
            hold(folded.sequence == event.sequence, "I8", f"{known.id}: {event.sequence} in place {folded.sequence}")
        row = known.row
        hold(row.sequence == len(known.log), "I8", f"{known.id}: row at {row.sequence}, log at {len(known.log)}")
        if row.truncated or row.silence:
            # Output that is dropped past the cap is a sign of life, and so is a worker that comes back, and no event.
            folded.updated, folded.wake = row.updated, row.wake
        if "updated" in (logged.kind for logged in known.log):
            folded.rank = row.rank
        for name in _COMPARED:
            mine, stored = getattr(folded, name), getattr(row, name)
            if mine != stored:
                raise Violation("I8", f"{known.id}: {name} is {stored!r}, its log says {mine!r}")
        hold((row.failure is None) == (folded.failure is None), "I8", f"{known.id}: failure")
        exact = row.producer_sequence == folded.producer_sequence
        hold(exact or (row.truncated and row.producer_sequence > folded.producer_sequence), "I8", "producer_sequence")
        # What was dropped past the cap is known from the row alone.
        folded.producer_sequence = row.producer_sequence


def _apply(known: Known, folded: Job, event: event_pb2.Event) -> None:
    try:
        lifecycle.apply(folded, decode(event), codec.time_of(event.time))
    except lifecycle.IllegalTransition as error:
        raise Violation("I8", f"{known.id}: its log can't be folded: {error}") from error


def _check_end(known: Known) -> None:
    ends = [place for place, logged in enumerate(known.log, start=1) if logged.kind in KINDS_OF_END]
    expected = [len(known.log)] if known.row.state in ENDED else []
    hold(ends == expected, "I13", f"{known.id} is {known.row.state.name} and has ends at {ends} of {len(known.log)}")
    row = known.row
    hold((row.ended != 0) == (row.state in ENDED), "I13", f"{known.id}: time of its end")
    hold(
        (row.worker != "") == (row.state in LEASED), "I2", f"{known.id} is {row.state.name} with worker {row.worker!r}"
    )


def _check_counters(chronicle: Chronicle, connection: Connection) -> None:
    jobs = [known.row for known in chronicle.jobs.values()]
    states = Counter((job.namespace, job.queue, int(job.state)) for job in jobs)
    counted = connection.rows("SELECT namespace, queue, state, jobs FROM state_counts WHERE jobs <> 0")
    hold({row[:3]: row[3] for row in counted} == states, "S5", f"states counted as {counted}, are {states}")
    ready = Counter(job.key for job in jobs if job.state is JobState.QUEUED and not job.holder)
    stored: dict[int, int] = dict(connection.rows("SELECT key, ready FROM ready_keys WHERE ready <> 0"))
    hold(stored == ready, "I8", f"ready keys counted as {stored}, are {dict(ready)}")
