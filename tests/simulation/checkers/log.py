"""I8, I13, E3: rows are the fold of their logs, sequences are dense, an end comes once and last."""

from dataclasses import fields

from headrace.v1 import event_pb2
from headrace_server.core import lifecycle
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED, LEASED
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
        if row.truncated or row.silence or row.turn is not None:
            # Output that is dropped past the cap is a sign of life, and so are a worker that comes back and bytes of a
            # snapshot, and no event.
            folded.updated, folded.wake = row.updated, row.wake
        # A request that can't wait for a person is answered at once, and is in no log.
        hold(folded.report_number <= row.report_number, "I8", f"{known.id}: report_number")
        folded.report_number = row.report_number
        if "updated" in (logged.kind for logged in known.log):
            folded.rank = row.rank
        for name in _COMPARED:
            mine, stored = getattr(folded, name), getattr(row, name)
            if mine != stored:
                raise Violation("I8", f"{known.id}: {name} is {stored!r}, its log says {mine!r}")
        hold((row.failure is None) == (folded.failure is None), "I8", f"{known.id}: failure")
        is_beside = row.truncated or row.turn is not None
        exact = row.producer_sequence == folded.producer_sequence
        hold(exact or (is_beside and row.producer_sequence > folded.producer_sequence), "I8", "producer_sequence")
        # What was dropped past the cap, and bytes of artifacts, are known from the row alone.
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
