"""The line of a session's turns: they run one at a time, in the order of their numbers (X1).

A turn behind one that has not ended is BLOCKED. What the CLI began by itself stands outside of the line.
"""

from headrace_server.core.ids import JobId
from headrace_server.core.job import Job, Turn
from headrace_server.store import rows
from headrace_server.store.engine import Query
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.session_row import StoredSession, existing, save_session

_LINE = "session_turns.session = ? AND session_turns.ended = 0 AND session_turns.background = 0"


def enter_line(ledger: Ledger, session_id: JobId, row: int, background: int = 0) -> tuple[Turn, bool]:
    """Gives a new job its number, and says whether it has to wait for a turn before it. `background` is the number that
    the worker gave to a turn which the CLI began by itself; zero for a message."""
    session = existing(ledger, session_id)
    waits = not background and _first(ledger, session) is not None
    session.turns += 1
    session.activity = ledger.now
    save_session(ledger, session)
    columns = ("session", "number", "job", "ended", "binding_epoch", "background")
    values = (session.row, session.turns, row, 0, session.binding_epoch if background else 0, background)
    ledger.insert("session_turns", columns, [values])
    return Turn(session_id, session.turns, background > 0), waits


def leave_line(ledger: Ledger, session: StoredSession, turn: Turn) -> None:
    """Takes note that a turn has ended."""
    ledger.run("UPDATE session_turns SET ended = 1 WHERE session = ? AND number = ?", (session.row, turn.number))


def remove_turn(ledger: Ledger, turn: Turn) -> None:
    """Takes a turn whose job is deleted out of its session."""
    ledger.run(
        "DELETE FROM session_turns WHERE session = (SELECT session FROM sessions WHERE id = ?) AND number = ?",
        (turn.session_id, turn.number),
    )


def first_in_line(ledger: Ledger, session: StoredSession) -> Job | None:
    """The turn that runs or is the next to run, of those that somebody said."""
    row = _first(ledger, session)
    if row is None:
        return None
    return ledger.adopt(ledger.query(f"{rows.SELECT} WHERE job = ?", (row,)))[0]


def is_behind(ledger: Ledger, job: Job) -> bool:
    """Whether a turn before this one has not ended."""
    turn = job.turn
    if turn is None or turn.background:
        return False
    return turn_before(ledger.look_up, turn) is not None


def turn_before(query: Query, turn: Turn) -> tuple[JobId, int] | None:
    """Job and number of the turn that runs or is the next to run, when it is one before this one."""
    found = query(
        "SELECT jobs.id, session_turns.number FROM sessions JOIN session_turns"
        " ON session_turns.session = sessions.session JOIN jobs ON jobs.job = session_turns.job"
        " WHERE sessions.id = ? AND session_turns.ended = 0 AND session_turns.background = 0"
        " AND session_turns.number < ? ORDER BY session_turns.number LIMIT 1",
        (turn.session_id, turn.number),
    )
    return (JobId(bytes(found[0][0])), int(found[0][1])) if found else None


def pending_turns(ledger: Ledger, session: StoredSession) -> list[Job]:
    """Every turn that has not ended, in order; some may have ended in this transaction."""
    return ledger.adopt(
        ledger.query(
            f"{rows.SELECT} JOIN session_turns ON session_turns.job = jobs.job"
            " WHERE session_turns.session = ? AND session_turns.ended = 0 ORDER BY session_turns.number",
            (session.row,),
        )
    )


def has_background(ledger: Ledger, session: StoredSession) -> bool:
    """Whether a turn that the CLI began by itself has not ended."""
    sql = "SELECT 1 FROM session_turns WHERE session = ? AND ended = 0 AND background > 0 LIMIT 1"
    return bool(ledger.look_up(sql, (session.row,)))


def pending_count(ledger: Ledger, session: StoredSession) -> int:
    """Turns that somebody said and that have not ended."""
    return int(ledger.look_up(f"SELECT count(*) FROM session_turns WHERE {_LINE}", (session.row,))[0][0])


def _first(ledger: Ledger, session: StoredSession) -> int | None:
    found = ledger.look_up(f"SELECT job FROM session_turns WHERE {_LINE} ORDER BY number LIMIT 1", (session.row,))
    return int(found[0][0]) if found else None
