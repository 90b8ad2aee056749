"""Which turn of a session a reader reads next. Turns are numbered without holes: one that is missing was removed."""

from dataclasses import dataclass

from headrace_server.core.ids import JobId
from headrace_server.store.engine import Connection


@dataclass(frozen=True, slots=True)
class TurnPlace:
    """A turn of a session, and the log that is its job's."""

    number: int
    job_id: JobId
    row: int


def turn_from(connection: Connection, session: int, number: int) -> tuple[TurnPlace | None, int]:
    """The first turn from a number on that is still there, and the number of the latest one that ever was."""
    found = connection.rows(
        "SELECT session_turns.number, jobs.id, jobs.job FROM session_turns JOIN jobs ON jobs.job = session_turns.job"
        " WHERE session_turns.session = ? AND session_turns.number >= ? ORDER BY session_turns.number LIMIT 1",
        (session, number),
    )
    turn = TurnPlace(int(found[0][0]), JobId(bytes(found[0][1])), int(found[0][2])) if found else None
    latest = connection.rows("SELECT turns FROM sessions WHERE session = ?", (session,))
    return turn, int(latest[0][0]) if latest else 0


def number_before_last(connection: Connection, session: int, count: int) -> int:
    """The number of the turn to begin with in order to read the last so many that ended, and all that have not."""
    latest = connection.rows("SELECT turns FROM sessions WHERE session = ?", (session,))
    wanted = connection.rows(
        "SELECT number FROM session_turns WHERE session = ? AND ended > 0 ORDER BY number DESC LIMIT ?",
        (session, count),
    )
    wanted += connection.rows("SELECT min(number) FROM session_turns WHERE session = ? AND ended = 0", (session,))
    after_all = int(latest[0][0]) + 1 if latest else 1
    return min((int(number) for (number,) in wanted if number is not None), default=after_all)
