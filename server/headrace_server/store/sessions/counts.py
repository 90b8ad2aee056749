"""How many sessions there are in each state, read by index only: as cheap with very many that are closed."""

from collections import Counter
from collections.abc import Mapping

from headrace_server.core.sessions import SessionState, session_state
from headrace_server.core.states import JobState
from headrace_server.store.engine import Connection

_ENDED = "SELECT lost, count(*) FROM sessions WHERE ended > 0 GROUP BY lost"
_OPEN = "SELECT turns > 0, count(*) FROM sessions WHERE ended = 0 GROUP BY turns > 0"
_PENDING = (
    "SELECT session_turns.session, jobs.state FROM session_turns JOIN jobs ON jobs.job = session_turns.job"
    " JOIN sessions ON sessions.session = session_turns.session"
    " WHERE session_turns.ended = 0 AND sessions.ended = 0"
)


def count_sessions(connection: Connection) -> Mapping[SessionState, int]:
    """Sessions by state."""
    counts: Counter[SessionState] = Counter()
    for lost, count in connection.rows(_ENDED):
        counts[SessionState.LOST if lost else SessionState.CLOSED] += count
    for begun, count in connection.rows(_OPEN):
        counts[SessionState.IDLE if begun else SessionState.CREATED] += count
    pending: dict[int, list[JobState]] = {}
    for session, state in connection.rows(_PENDING):
        pending.setdefault(session, []).append(JobState(state))
    for states in pending.values():
        counts[session_state(ended=False, lost=False, turns=1, pending=states)] += 1
        counts[SessionState.IDLE] -= 1
    return {state: count for state, count in counts.items() if count}
