"""Where a session is: the worker that has its process and transcript, and turns that wait for it (X1, R6).

A binding is a session's stay with one start of a worker; its epoch grows with each, so an older process can be told.
"""

from dataclasses import dataclass

from headrace.v1 import outcome_pb2
from headrace_server.core import facts
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import CancelCause, Failure, Job
from headrace_server.core.limits import HOLDER_GRACE_SECONDS
from headrace_server.core.placement import Offer
from headrace_server.core.states import JobState
from headrace_server.store import rows
from headrace_server.store.capacity.holds import is_kept
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.line import has_background, pending_turns
from headrace_server.store.sessions.moves import is_reached, may_move, snapshot_for
from headrace_server.store.sessions.session_row import StoredSession, existing, read_session, save_session
from headrace_server.store.sessions.snapshots import drop_snapshot

SYSTEM = "headrace"
TRANSCRIPT_SIGN = "transcript"
"""Of the failure by which a worker says that it has not got the conversation that it is to go on with."""
SNAPSHOT_SIGN = "snapshot"
"""Of the failure by which it says that the snapshot to go on from is not what it has to be."""


@dataclass(frozen=True, slots=True)
class Move:
    """A session goes on at another worker."""

    from_worker: str = ""
    snapshot_turn: int = 0
    """The turn after which the snapshot was taken that it goes on from."""


NO_MOVE = Move()


def bind(ledger: Ledger, job: Job, offer: Offer) -> Move:
    """Binds the session of a turn that is granted to the start of a worker that gets it; says how it moves by that."""
    assert job.turn is not None, "only a turn has a session"
    session = existing(ledger, job.turn.session_id)
    if (session.worker, session.incarnation) == (offer.worker, offer.incarnation):
        return NO_MOVE
    holder, snapshot = session.holder, snapshot_for(ledger.look_up, session)
    moves = holder not in ("", offer.worker) and snapshot is not None
    session.worker, session.incarnation = offer.worker, offer.incarnation
    session.binding_epoch += 1
    session.bound = ledger.now
    save_session(ledger, session)
    return Move(holder, snapshot.turn) if moves and snapshot is not None else NO_MOVE


def hold_until(ledger: Ledger) -> Micros:
    """Until when a job waits for its holder from now on."""
    return Micros(ledger.now + int(HOLDER_GRACE_SECONDS * SECOND))


def waits_for(ledger: Ledger, job: Job) -> tuple[str, Micros]:
    """The worker that a job has to wait for once it is QUEUED, and until when; nobody and never for most."""
    if job.holder:
        return job.holder, hold_until(ledger)
    return held_at(ledger, job.turn.session_id) if job.turn is not None else ("", Micros(0))


def held_at(ledger: Ledger, session_id: JobId) -> tuple[str, Micros]:
    """The worker on which the turns of a session have to run, and until when one waits for it; nobody and never while
    any worker will do."""
    holder = _holder(ledger, existing(ledger, session_id))
    return (holder, hold_until(ledger)) if holder else ("", Micros(0))


def _holder(ledger: Ledger, session: StoredSession) -> str:
    """A turn that the CLI began shows that there is a conversation, though nobody has said its id yet."""
    if session.holder:
        return "" if may_move(ledger.look_up, session) else session.holder
    return session.worker if has_background(ledger, session) else ""


def free_turns(ledger: Ledger, worker: str) -> None:
    """Lets the turns that wait for a worker that is lost run anywhere, as far as they can."""
    held = ledger.query(f"{rows.SELECT} WHERE jobs.holder = ? AND jobs.holder <> '' AND jobs.state = 3", (worker,))
    for job in ledger.adopt(held):
        free_turn(ledger, job)


def free_turn(ledger: Ledger, job: Job) -> bool:
    """Lets a turn run anywhere that waits for a worker that is lost, where it can; says whether it does (R6)."""
    if job.turn is None or job.state is not JobState.QUEUED or not job.holder:
        return False
    session = existing(ledger, job.turn.session_id)
    if not may_move(ledger.look_up, session) or not is_reached(ledger.look_up, session, job):
        return False
    ledger.record(job, facts.Queued(facts.QueuedCause.HOLDER_LOST))
    return True


def hold_for_resume(ledger: Ledger, job: Job) -> Micros:
    """Until when a job that is to be resumed waits for its worker; zero when it can be resumed anywhere."""
    if job.turn is not None:
        session = existing(ledger, job.turn.session_id)
        if may_move(ledger.look_up, session) and is_reached(ledger.look_up, session, job):
            return Micros(0)
    return hold_until(ledger)


def hold_after_loss(ledger: Ledger, job: Job) -> Micros:
    """Until when a turn whose attempt was lost or handed back waits for its worker; zero when it can run anywhere.

    A first turn that has changed nothing begins a conversation of its own, as any clean attempt starts fresh.
    """
    if job.turn is None:
        return Micros(0)
    session = existing(ledger, job.turn.session_id)
    others = (turn for turn in pending_turns(ledger, session) if turn is not job)
    alone = not session.ended_turns and not any(turn.epoch or turn.holder for turn in others)
    if session.claude_session and alone and not job.dirty:
        session.claude_session = ""
        save_session(ledger, session)
    return hold_until(ledger) if _holder(ledger, session) else Micros(0)


def wait_longer(ledger: Ledger, job: Job) -> bool:
    """Has a turn go on waiting for its worker, when that is there, or has not been gone for the whole grace; and any
    job that could not have started meanwhile."""
    if job.turn is None and not is_kept(ledger, job):
        return False
    if free_turn(ledger, job):
        return True
    found = ledger.look_up("SELECT lost FROM workers WHERE worker = ?", (job.holder,))
    if not found:
        return False
    lost = int(found[0][0])
    until = Micros(lost + int(HOLDER_GRACE_SECONDS * SECOND)) if lost else hold_until(ledger)
    if until <= ledger.now:
        return False
    ledger.record(job, facts.Queued(facts.QueuedCause.HOLDER_BUSY, until, job.holder))
    return True


def give_up_holder(ledger: Ledger, job: Job, reason: str) -> None:
    """After a turn failed because its worker is gone: the session goes on from its snapshot, or is lost."""
    assert job.turn is not None, "only a turn has a session"
    if not may_move(ledger.look_up, existing(ledger, job.turn.session_id)):
        lose_session(ledger, job, reason)


def lose_session(ledger: Ledger, job: Job, reason: str) -> None:
    """Ends the session of a turn that failed because its worker is gone: its other turns are cancelled."""
    assert job.turn is not None, "only a turn has a session"
    session = existing(ledger, job.turn.session_id)
    if not session.ended:
        session.ended = session.updated = ledger.now
        session.lost, session.end_reason = True, reason
        session.version += 1
        save_session(ledger, session)
    end_turns(ledger, session, f"its session is lost: {reason}", SYSTEM)


def note_failure(ledger: Ledger, job: Job, failure: Failure) -> None:
    """Ends the session of a turn whose worker says that it can't have the conversation."""
    if failure.failure_class is not FailureClass.UNKNOWN_OUTCOME:
        return
    message = outcome_pb2.Failure.FromString(failure.body)
    if message.sign in (TRANSCRIPT_SIGN, SNAPSHOT_SIGN):
        lose_session(ledger, job, message.message)


def forget_snapshot(ledger: Ledger, session: StoredSession) -> None:
    """Removes the snapshot of a session that is over, unless a fork may need it."""
    if _is_over(ledger, session):
        drop_snapshot(ledger, session)


def end_turns(ledger: Ledger, session: StoredSession, reason: str, actor: str, *, keep_active: bool = False) -> None:
    """Cancels the turns of a session that has ended; `keep_active` leaves alone those that were ever granted."""
    for turn in pending_turns(ledger, session):
        if not (keep_active and turn.epoch):
            cancel(ledger, session.namespace, turn.id, reason, actor, CancelCause.SESSION_CLOSED)


def note_start(ledger: Ledger, job: Job) -> None:
    """Takes note that an attempt of a turn has started."""
    assert job.turn is not None, "only a turn has a session"
    session = existing(ledger, job.turn.session_id)
    session.activity = ledger.now
    save_session(ledger, session)


def note_conversation(ledger: Ledger, job: Job) -> None:
    """Takes note of the conversation that a turn is in, as its output tells it."""
    assert job.turn is not None, "only a turn has a session"
    session = existing(ledger, job.turn.session_id)
    if session.claude_session != job.claude_session:
        session.claude_session = job.claude_session
        save_session(ledger, session)


def note_run(ledger: Ledger, job: Job, begun: Micros) -> None:
    """Adds the time that an attempt of a turn has run, once it is over."""
    if job.turn is None or job.worker or not begun:
        return
    session = existing(ledger, job.turn.session_id)
    session.run_micros += max(0, ledger.now - begun)
    session.activity = ledger.now
    save_session(ledger, session)


def ended_sessions(
    ledger: Ledger, worker: str, incarnation: str, held: tuple[tuple[JobId, int], ...]
) -> tuple[JobId, ...]:
    """Of the sessions that a worker has a process of, those whose process has to end, and what is kept of them to go.
    What still runs in a closed one is ended by its job; what a fork is to go on from is kept until the fork has its
    own."""
    ended = []
    for session_id, binding_epoch in held:
        session = read_session(ledger.look_up, session_id)
        if session is None or not _is_bound(session, worker, incarnation, binding_epoch) or _is_over(ledger, session):
            ended.append(session_id)
    return tuple(ended)


def kept_in_vain(ledger: Ledger, worker: str, kept: tuple[JobId, ...]) -> tuple[JobId, ...]:
    """Of the sessions that a worker keeps the conversation of, those that are over or bound to another worker. Of one
    that is not known here nothing is said: it may be known elsewhere."""
    vain = []
    for session_id in kept:
        session = read_session(ledger.look_up, session_id)
        if session is not None and (session.worker != worker or _is_over(ledger, session)):
            vain.append(session_id)
    return tuple(vain)


def _is_bound(session: StoredSession, worker: str, incarnation: str, binding_epoch: int) -> bool:
    return (session.worker, session.incarnation, session.binding_epoch) == (worker, incarnation, binding_epoch)


def _is_over(ledger: Ledger, session: StoredSession) -> bool:
    if not session.ended or pending_turns(ledger, session):
        return False
    fork = "SELECT 1 FROM sessions WHERE forked_from = ? AND ended = 0 AND claude_session = '' LIMIT 1"
    return not ledger.look_up(fork, (session.id,))
