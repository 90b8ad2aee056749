"""What follows the end of a turn for its session: totals, and the turn that comes next (X1)."""

from headrace_server.core.job import Job
from headrace_server.store.jobs.unblocking import go_on_unless_held
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.bindings import forget_snapshot
from headrace_server.store.sessions.line import first_in_line, leave_line
from headrace_server.store.sessions.session_row import existing, save_session


def turn_ended(ledger: Ledger, job: Job) -> None:
    """Adds up what an ended turn has used, and lets the next one go on unless something else holds it."""
    assert job.turn is not None, "only a turn has a session"
    session = existing(ledger, job.turn.session_id)
    leave_line(ledger, session, job.turn)
    session.ended_turns += 1
    session.usage += job.usage
    session.activity = ledger.now
    save_session(ledger, session)
    if session.ended:
        forget_snapshot(ledger, session)
    following = None if job.turn.background else first_in_line(ledger, session)
    if following is not None:
        go_on_unless_held(ledger, following)
