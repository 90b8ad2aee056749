"""Sessions as their readers see them: each with the turns that have not ended, read in one moment.

A page of a list looks at so many rows at most, and says where the next one goes on: a filter that matches little costs
many short pages, never one long query.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headrace.v1 import session_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.job import Job
from headrace_server.core.sessions import OVER, SessionFilter, SessionState, session_state, state_of_turn
from headrace_server.store import rows
from headrace_server.store.attempts.inputs import open_inputs
from headrace_server.store.conditions import Conditions, marks
from headrace_server.store.engine import Connection, in_list
from headrace_server.store.sessions.session_row import SELECT, StoredSession, read_session, session_of
from headrace_server.store.sessions.snapshots import StoredSnapshot, latest_snapshot

SCANNED_ROWS_COUNT = 2_000
_STEP_ROWS_COUNT = 100
FORKS_COUNT_MAX = 100


@dataclass(frozen=True, slots=True)
class SeenSession:
    """A session with what is told of its turns."""

    session: StoredSession
    pending: tuple[Job, ...] = ()
    """Turns that have not ended, in order."""
    last: JobId | None = None
    """Its latest turn; None when it has none, or none that is still there."""
    inputs: tuple[session_pb2.OpenInput, ...] = ()
    forks: tuple[JobId, ...] = ()
    """Only where they were asked for."""
    snapshot: StoredSnapshot | None = None
    """Its latest one; likewise."""

    @property
    def state(self) -> SessionState:
        """Where it is in its life."""
        session, pending = self.session, [job.state for job in self.pending]
        return session_state(ended=session.ended > 0, lost=session.lost, turns=session.turns, pending=pending)

    @property
    def active(self) -> Job | None:
        """The turn that runs or is the next to run."""
        return max(self.pending, key=lambda job: state_of_turn(job.state), default=None)


@dataclass(frozen=True, slots=True)
class ListedSessions:
    """A page of sessions, and the row before which the next one begins; None after the last page."""

    sessions: list[SeenSession]
    before: int | None


def see_session(connection: Connection, namespace: str, session_id: JobId) -> SeenSession | None:
    """A session as it is now, with its forks; None when there is none."""
    session = read_session(connection.rows, session_id)
    if session is None or session.namespace != namespace:
        return None
    (seen,) = _see(connection, [session])
    forks = connection.rows(
        "SELECT id FROM sessions WHERE forked_from = ? ORDER BY session LIMIT ?", (session_id, FORKS_COUNT_MAX)
    )
    snapshot = latest_snapshot(connection.rows, session.row)
    return replace(seen, forks=tuple(JobId(bytes(row[0])) for row in forks), snapshot=snapshot)


def list_sessions(
    connection: Connection, namespace: str, wanted: SessionFilter, before: int, count: int
) -> ListedSessions:
    """Up to `count` sessions that a filter matches, newest first, from right before a row (zero: from the newest)."""
    conditions = _conditions(namespace, wanted)
    found: list[SeenSession] = []
    place = before or (1 << 62)
    for _ in range(0, SCANNED_ROWS_COUNT, _STEP_ROWS_COUNT):
        read = connection.rows(
            f"{SELECT} WHERE {conditions.sql} AND sessions.session < ? ORDER BY sessions.session DESC LIMIT ?",
            (*conditions.parameters, place, _STEP_ROWS_COUNT),
        )
        for seen in _see(connection, [session_of(row) for row in read]):
            if not wanted.states or seen.state in wanted.states:
                found.append(seen)
                if len(found) == count:
                    return ListedSessions(found, seen.session.row)
        if len(read) < _STEP_ROWS_COUNT:
            return ListedSessions(found, None)
        place = int(read[-1][0])
    return ListedSessions(found, place)


def _conditions(namespace: str, wanted: SessionFilter) -> Conditions:
    conditions = Conditions("sessions.namespace = ?", namespace)
    if wanted.states and not wanted.states & OVER:
        conditions.add("sessions.ended = 0")
    elif wanted.states and wanted.states <= OVER:
        conditions.add("sessions.ended > 0")
    conditions.add_among(
        "sessions", (("queue", wanted.queues), ("owner", wanted.owners), ("worker", wanted.worker_ids))
    )
    for label, values in wanted.labels:
        conditions.add(
            "sessions.session IN (SELECT session FROM session_labels WHERE namespace = sessions.namespace"
            f" AND label = ? AND value IN ({marks(values)}))",
            label,
            *values,
        )
    return conditions


def _see(connection: Connection, sessions: Sequence[StoredSession]) -> list[SeenSession]:
    if not sessions:
        return []
    listed, values = in_list([session.row for session in sessions])
    pending: dict[int, list[Job]] = {}
    for row in connection.rows(
        rows.SELECT.replace(" FROM jobs", ", session_turns.session FROM jobs")
        + " JOIN session_turns ON session_turns.job = jobs.job"
        f" WHERE session_turns.session IN ({listed}) AND session_turns.ended = 0"
        " ORDER BY session_turns.session, session_turns.number",
        values,
    ):
        pending.setdefault(int(row[-1]), []).append(rows.job_of(row))
    latest = connection.rows(
        "SELECT session_turns.session, jobs.id, max(session_turns.number) FROM session_turns"
        f" JOIN jobs ON jobs.job = session_turns.job WHERE session_turns.session IN ({listed})"
        " AND session_turns.number = (SELECT max(number) FROM session_turns AS others"
        " WHERE others.session = session_turns.session) GROUP BY session_turns.session, jobs.id",
        values,
    )
    last = {int(row): JobId(bytes(job_id)) for row, job_id, _ in latest}
    return [_seen(connection, session, pending.get(session.row, []), last.get(session.row)) for session in sessions]


def _seen(connection: Connection, session: StoredSession, pending: list[Job], last: JobId | None) -> SeenSession:
    return SeenSession(session, tuple(pending), last, tuple(open_inputs(connection, pending)))
