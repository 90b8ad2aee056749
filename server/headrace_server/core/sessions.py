"""Where a session is in its life, and what a caller narrows a list of sessions down to. The state is never stored: it
follows from the row and from the turns that have not ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from headrace_server.core.states import JobState


class SessionState(IntEnum):
    """Numbers are those of `SessionState` in session.proto."""

    CREATED = 1
    IDLE = 2
    QUEUED = 3
    RUNNING = 4
    WAITING_INPUT = 5
    CLOSED = 6
    LOST = 7


OVER = frozenset({SessionState.CLOSED, SessionState.LOST})

_OF_TURN = {
    JobState.RUNNING: SessionState.RUNNING,
    JobState.CANCELLING: SessionState.RUNNING,
    JobState.WAITING_INPUT: SessionState.WAITING_INPUT,
}
"""Any other turn that has not ended waits to start."""


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Every term has to hold; of a term's values one. An empty term is no term."""

    states: frozenset[SessionState] = frozenset()
    queues: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    worker_ids: tuple[str, ...] = ()
    """Of the worker that it is bound to."""
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Key and values, each key once."""


def state_of_turn(state: JobState) -> SessionState:
    """What a turn that has not ended makes of its session."""
    return _OF_TURN.get(state, SessionState.QUEUED)


def session_state(*, ended: bool, lost: bool, turns: int, pending: Iterable[JobState]) -> SessionState:
    """The state of a session that has had so many turns, of which some have not ended."""
    if ended:
        return SessionState.LOST if lost else SessionState.CLOSED
    states = [state_of_turn(state) for state in pending]
    if states:
        return max(states)
    return SessionState.IDLE if turns else SessionState.CREATED
