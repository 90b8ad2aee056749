"""X1, X4, C1: what the store says of sessions: turns in line, bindings that only grow, ends that somebody asked for,
totals that are the sum of the turns.

It counts from the logs, with rules of its own; of the tables it reads sessions and the numbers of what CLIs began.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from headrace.v1 import session_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import NO_USAGE, Job, Usage
from headrace_server.core.limits import HOLDER_GRACE_SECONDS
from headrace_server.core.states import ENDED, LEASED, WAITING, JobState
from headrace_server.store.codec import usage_of
from headrace_server.store.engine import Connection
from simulation.checkers.capacity import used_by
from simulation.chronicle import KINDS_OF_END, Chronicle, Fresh, Known, Logged
from simulation.conversations import TRANSCRIPT_SIGN
from simulation.session_clients import SessionClients, Wanted
from simulation.turns import Turns
from simulation.violation import hold

SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """A session as it is stored."""

    id: str
    name: str
    ended: int
    lost: bool
    turns: int
    ended_turns: int
    usage: Usage
    conversation: str
    worker: str
    incarnation: str
    epoch: int
    source: str
    source_worker: str


@dataclass(slots=True)
class _Seen:
    """What is known of a session from the logs of its turns."""

    numbers: set[int] = field(default_factory=set)
    ended: int = 0
    usage: Usage = NO_USAGE
    unsure: bool = False
    """A turn ended in the transaction that deleted it."""


class SessionChecker:
    """Reads every log of a turn along."""

    def __init__(self, talkers: SessionClients, turns: Turns) -> None:
        self.rows: dict[str, Row] = {}
        self._talkers = talkers
        self._turns = turns
        self._seen: defaultdict[str, _Seen] = defaultdict(_Seen)
        self._used: defaultdict[str, Usage] = defaultdict(lambda: NO_USAGE)
        """By job: of the attempts that have ended."""
        self._live: dict[str, Known] = {}
        """Turns that had not ended."""
        self._lost_since: dict[str, int] = {}

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        before, self.rows = self.rows, _read(connection)
        if not before and not self.rows:
            return
        self._lost_since = dict(connection.rows("SELECT worker, lost FROM workers"))
        for row in self.rows.values():
            self._check_change(before.get(row.id), row, before, fresh)
        for gone in before.keys() - self.rows.keys():
            hold(before[gone].ended or self._is_closing(gone), "I14", f"{gone} was removed while it was open")
            hold(not any(one.row.state not in ENDED for one in self._of(chronicle, gone)), "I14", f"{gone} has turns")
        self._count(chronicle, fresh)
        self._check_turns(chronicle, fresh, connection)

    def check_step(self) -> None:
        """After a step: what clients were told of."""
        for wanted in self._talkers.known:
            kept = wanted.id in self.rows or wanted.closing or wanted.id in self._talkers.lost
            hold(kept, "I1", f"session {wanted.id} is lost")

    def _is_closing(self, session_id: str) -> bool:
        return any(one.closing for one in self._talkers.known if one.id == session_id)

    def _of(self, chronicle: Chronicle, session_id: str) -> list[Known]:
        return [one for one in chronicle.jobs.values() if session_of(one.row) == session_id]

    def _wanted(self, row: Row) -> Wanted:
        return next(one for one in self._talkers.wanted if one.name == row.name)

    def _check_change(self, before: Row | None, row: Row, others: dict[str, Row], fresh: Fresh) -> None:
        wanted = self._wanted(row)
        if before is None:
            self._check_new(row, wanted, others)
            return
        hold((before.source, before.source_worker) == (row.source, row.source_worker), "X4", f"{row.id}: its lineage")
        stays = (before.worker, before.incarnation) == (row.worker, row.incarnation)
        hold(row.epoch == before.epoch if stays else row.epoch > before.epoch, "X1", f"{row.id}: binding {row.epoch}")
        if before.ended:
            same = (before.ended, before.lost, before.turns) == (row.ended, row.lost, row.turns)
            hold(same, "X4", f"{row.id} has ended and goes on: {before} {row}")
        elif row.lost:
            self._check_lost(row, fresh)
        elif row.ended:
            hold(wanted.closing, "X4", f"{row.id} is closed, and nobody wanted that")

    def _check_new(self, row: Row, wanted: Wanted, others: dict[str, Row]) -> None:
        if wanted.source is None:
            hold(not row.source, "X4", f"{row.id} goes on from {row.source}, as nobody wanted")
            return
        hold(row.source == wanted.source.id, "X4", f"{row.id} goes on from {row.source}, not {wanted.source.id}")
        now = self.rows.get(row.source)
        where = {one.worker for one in (others.get(row.source), now) if one is not None}
        hold(now is None or row.source_worker in where, "X4", f"{row.id} goes on at {row.source_worker}, not {where}")
        self._turns.succeeded[row.id] = list(self._turns.succeeded[row.source])

    def _check_lost(self, row: Row, fresh: Fresh) -> None:
        """R6: only what holds it can lose it, by its word or by being away for the whole grace."""
        self._talkers.lost.add(row.id)
        for known, logged in fresh.events:
            if logged.kind != "failed" or session_of(known.row) != row.id:
                continue
            sign = logged.event.failed.failure.sign
            if sign == TRANSCRIPT_SIGN:
                return
            lost = self._lost_since.get(sign.removeprefix("holder="), 0)
            time = logged.event.time.ToMicroseconds()
            if sign.startswith("holder=") and 0 < lost <= time - HOLDER_GRACE_SECONDS * SECOND:
                return
        hold(False, "R6", f"{row.id} is lost, and its holder is there or has not been away for long")

    def _count(self, chronicle: Chronicle, fresh: Fresh) -> None:
        for known in fresh.changed:
            session = session_of(known.row)
            if session:
                assert known.row.turn is not None
                self._seen[session].numbers.add(known.row.turn.number)
        for known, logged in fresh.events:
            session = session_of(known.row)
            if session:
                self._count_event(self._seen[session], session, known, logged)
        for known in fresh.changed:
            if session_of(known.row):
                self._live[known.id] = known
        for job_id, known in list(self._live.items()):
            if job_id not in chronicle.jobs:
                self._seen[session_of(known.row)].unsure = True
            if job_id not in chronicle.jobs or known.row.state in ENDED:
                del self._live[job_id]

    def _count_event(self, seen: _Seen, session: str, known: Known, logged: Logged) -> None:
        used = used_by(known, logged)
        if used.ByteSize():
            self._used[known.id] += usage_of(used)
        if logged.kind not in KINDS_OF_END:
            return
        seen.ended += 1
        seen.usage += self._used.pop(known.id, NO_USAGE)
        assert known.row.turn is not None
        if logged.kind == "succeeded" and not known.row.turn.background:
            self._turns.succeeded[session].append(known.id)

    def _check_turns(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        lines: defaultdict[str, list[Job]] = defaultdict(list)
        for known in chronicle.jobs.values():
            if known.row.turn is not None and known.row.state not in ENDED:
                lines[session_of(known.row)].append(known.row)
        for session, pending in lines.items():
            pending.sort(key=_number)
            _check_line([job for job in pending if job.turn is not None and not job.turn.background])
            row = self.rows.get(session)
            hold(row is not None, "X1", f"a turn of {session}, which is not there")
            if row is not None and row.ended:
                self._check_ended(row, pending)
        for row in self.rows.values():
            self._check_totals(row)
        found = connection.rows("SELECT session, binding_epoch, background FROM session_turns WHERE background > 0")
        twice = [one for one, count in Counter(found).items() if count > 1]
        hold(not twice, "X1", f"turns that CLIs began stand twice: {twice}")

    def _check_ended(self, row: Row, pending: list[Job]) -> None:
        waiting = [job for job in pending if job.state in WAITING and not job.epoch]
        hold(not waiting, "X4", f"{row.id} has ended and has {len(waiting)} turns to come")
        if row.lost or not any(self._wanted(row).closing):
            goes_on = [job for job in pending if job.state is not JobState.CANCELLING]
            hold(not goes_on, "X4", f"{row.id} has ended, and {len(goes_on)} of its turns go on")

    def _check_totals(self, row: Row) -> None:
        seen = self._seen[row.id]
        if seen.unsure or len(seen.numbers) != row.turns:
            return
        hold(row.ended_turns == seen.ended, "X4", f"{row.id}: {row.ended_turns} turns ended, the logs say {seen.ended}")
        hold(row.usage == seen.usage, "X6", f"{row.id} has used {row.usage}, its turns {seen.usage}")


def _read(connection: Connection) -> dict[str, Row]:
    found = connection.rows(
        "SELECT id, spec, ended, lost, turns, ended_turns, usage, claude_session, worker, incarnation, binding_epoch,"
        " forked_from, source_worker FROM sessions"
    )
    return {row.id: row for row in map(_row, found)}


def _row(raw: tuple[Any, ...]) -> Row:
    session_id, spec, ended, lost, turns, ended_turns, usage, conversation, worker, incarnation, epoch = raw[:11]
    source, source_worker = raw[11:]
    return Row(
        job_id_text(JobId(bytes(session_id))),
        session_pb2.SessionSpec.FromString(spec).display_name,
        ended,
        bool(lost),
        turns,
        ended_turns,
        Usage(*json.loads(usage)),
        conversation,
        worker,
        incarnation,
        epoch,
        source="" if source is None else job_id_text(JobId(bytes(source))),
        source_worker=source_worker,
    )


def session_of(job: Job) -> str:
    """The session whose turn it is; empty for a job that is none."""
    return "" if job.turn is None else job_id_text(job.turn.session_id)


def _number(job: Job) -> int:
    assert job.turn is not None
    return job.turn.number


def _check_line(pending: list[Job]) -> None:
    """X1: turns run one at a time, in the order of their numbers."""
    for job in pending[1:]:
        first = job.state is JobState.BLOCKED and not job.epoch
        hold(first, "X1", f"turn {_number(job)} is {job.state.name} while {_number(pending[0])} has not ended")
    if pending and not (pending[0].dependent or pending[0].unique):
        hold(pending[0].state is not JobState.BLOCKED, "X1", f"turn {_number(pending[0])} waits for nobody")
    hold(sum(job.state in LEASED for job in pending) <= 1, "X1", "two turns at a time")
