"""Broken variants of sessions: the line of their turns, bindings, ends, totals, what is said and what is kept."""

from dataclasses import replace
from typing import Any

from headrace_server.core.ids import JobId
from headrace_server.store import settle
from headrace_server.store.attempts import due, leases, workers
from headrace_server.store.jobs import planning, submit
from headrace_server.store.sessions import background, bindings, line, sessions, turn_ends
from headrace_server.store.sessions.session_row import StoredSession, existing, insert_session, save_session
from simulation import held_sessions
from simulation.broken.queueing import Patches


def turns_not_in_line() -> Patches:
    """A turn waits for none before it."""

    def enter(*arguments: Any) -> Any:
        turn, _ = line.enter_line(*arguments)
        return turn, False

    return [(submit, "enter_line", enter)]


def binding_epoch_kept() -> Patches:
    """A session that comes to another start of a worker keeps its epoch."""

    def bind(ledger: Any, job: Any, offer: Any) -> Any:
        before = existing(ledger, job.turn.session_id).binding_epoch
        bound = bindings.bind(ledger, job, offer)
        session = existing(ledger, job.turn.session_id)
        session.binding_epoch = before or 1
        save_session(ledger, session)
        return bound

    return [(leases, "bind", bind)]


def holder_ignored() -> Patches:
    """A turn goes to any worker, wherever the conversation is."""
    return [(bindings, "_holder", lambda ledger, session: "")]


def said_again() -> Patches:
    """A worker looks at whether its attempt is a resumed one, not at what stands in the transcript."""
    return [(held_sessions, "is_repeat", lambda assignment, transcript: bool(assignment.resume_claude_session_id))]


def turn_counted_twice() -> Patches:
    """What a turn has used is added twice."""

    def turn_ended(ledger: Any, job: Any) -> None:
        turn_ends.turn_ended(ledger, job)
        session = existing(ledger, job.turn.session_id)
        session.usage += job.usage
        save_session(ledger, session)

    return [(settle, "turn_ended", turn_ended)]


def close_leaves_turns() -> Patches:
    """Turns of a session that is closed go on waiting."""
    return [(sessions, "end_turns", lambda *arguments, **named: None)]


def lost_session_keeps_turns() -> Patches:
    """Turns of a session that is lost go on waiting."""
    return [(bindings, "end_turns", lambda *arguments, **named: None)]


def interrupt_closes() -> Patches:
    """An interrupt ends the session with its turn."""
    from headrace_server.rpc import session_service

    def interrupt(ledger: Any, namespace: str, session_id: JobId, reason: str, actor: str) -> Any:
        answer = sessions.interrupt_session(ledger, namespace, session_id, reason, actor)
        sessions.close_session(ledger, namespace, session_id, reason, actor, finish_turn=True)
        return answer

    return [(session_service, "interrupt_session", interrupt)]


def lost_at_once() -> Patches:
    """A holder that is gone is not waited for."""

    def hold_until(ledger: Any) -> Any:
        return ledger.now + 1

    return [(bindings, "hold_until", hold_until), (due, "wait_longer", lambda ledger, job: False)]


def next_turn_not_told() -> Patches:
    """The turn after one that has ended is left as it was."""
    return [(turn_ends, "go_on_unless_held", lambda ledger, job: None)]


def closed_session_takes_turns() -> Patches:
    """What is said in a closed session becomes a turn."""
    return [(planning, "session_ended", lambda session: None)]


def old_process_kept() -> Patches:
    """A worker is not told which of its processes have to end."""
    return [(workers, "ended_sessions", lambda *arguments: ())]


def own_turn_begun_twice() -> Patches:
    """A worker's word that a CLI began a turn is taken anew each time that it is said."""
    return [(background, "_job_of", lambda ledger, session, word: None)]


def fork_goes_anywhere() -> Patches:
    """Where the conversation is that a fork goes on from is forgotten."""

    def forget(ledger: Any, session: StoredSession) -> None:
        insert_session(ledger, replace(session, source_worker=""))

    return [(sessions, "insert_session", forget)]


def fork_of_nothing() -> Patches:
    """A fork does not know what it goes on from."""

    def forget(ledger: Any, session: StoredSession) -> None:
        insert_session(ledger, replace(session, forked_from=None))

    return [(sessions, "insert_session", forget)]
