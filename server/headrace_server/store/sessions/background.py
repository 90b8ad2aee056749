"""Turns that the CLI of a session began by itself: each becomes a job, once, for the worker that it happened on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from headrace.v1 import job_pb2, outcome_pb2
from headrace_server.core import facts
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import Failure, Turn
from headrace_server.core.states import LEASED, WAITING
from headrace_server.store import rows
from headrace_server.store.codec import failure_of, number
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.line import pending_turns
from headrace_server.store.sessions.session_row import StoredSession, read_session

SYSTEM = "headrace"


@dataclass(frozen=True, slots=True)
class BackgroundTurn:
    """A worker's word that the CLI of a session began a turn."""

    session_id: JobId
    binding_epoch: int
    number: int
    """Within the binding, from 1."""


def begin_each(
    ledger: Ledger, worker: str, incarnation: str, words: Sequence[BackgroundTurn]
) -> list[tuple[BackgroundTurn, JobId | None]]:
    """Makes a job of each turn that has none yet; None for one of a session that is no longer the worker's."""
    return [(word, _begin(ledger, worker, incarnation, word)) for word in words]


def _begin(ledger: Ledger, worker: str, incarnation: str, word: BackgroundTurn) -> JobId | None:
    session = read_session(ledger.look_up, word.session_id)
    if session is None or word.number < 1:
        return None
    earlier = _job_of(ledger, session, word)
    if earlier is not None:
        return earlier
    bound = (session.worker, session.incarnation, session.binding_epoch)
    if session.ended or bound != (worker, incarnation, word.binding_epoch) or not _has_begun(ledger, session):
        return None
    spec = job_pb2.JobSpec()
    spec.claude.session_id = job_id_text(session.id)
    new = replace(new_job(session.namespace, "", spec, SYSTEM, ""), background=word.number)
    (answer,) = submit_each(ledger, [new])
    return answer.job.id if isinstance(answer, Accepted) else None


def _has_begun(ledger: Ledger, session: StoredSession) -> bool:
    """Whether there is something that a CLI can go on with by itself. What tells of the conversation may come later."""
    return bool(session.claude_session) or any(turn.state in LEASED for turn in pending_turns(ledger, session))


def _job_of(ledger: Ledger, session: StoredSession, word: BackgroundTurn) -> JobId | None:
    found = ledger.query(
        "SELECT jobs.id FROM session_turns JOIN jobs ON jobs.job = session_turns.job"
        " WHERE session_turns.session = ? AND session_turns.binding_epoch = ? AND session_turns.background = ?"
        " AND session_turns.background > 0",
        (session.row, word.binding_epoch, word.number),
    )
    return JobId(bytes(found[0][0])) if found else None


def background_number(ledger: Ledger, session: StoredSession, turn: Turn) -> int:
    """The number that the worker gave to a turn; zero for a message."""
    found = ledger.look_up(
        "SELECT background FROM session_turns WHERE session = ? AND number = ?", (session.row, turn.number)
    )
    return int(found[0][0]) if found else 0


def drop_orphans(ledger: Ledger, worker: str, incarnation: str) -> None:
    """Fails the turns that no attempt has and that the CLI began by itself under another start of a worker than this
    one: what was said in them is gone with the process."""
    found = ledger.query(
        f"{rows.SELECT} JOIN session_turns ON session_turns.job = jobs.job"
        " JOIN sessions ON sessions.session = session_turns.session"
        " WHERE jobs.holder = ? AND jobs.state = 3 AND session_turns.background > 0 AND sessions.worker = ?"
        " AND sessions.incarnation <> ?",
        (worker, worker, incarnation),
    )
    for job in ledger.adopt(found):
        if job.state in WAITING:
            ledger.record(job, facts.Failed(_gone(worker)))


def _gone(worker: str) -> Failure:
    return failure_of(
        outcome_pb2.Failure(
            failure_class=number(FailureClass.UNKNOWN_OUTCOME),
            message="the process in which the CLI began this turn is gone, and nobody can begin it again",
            sign=f"worker={worker}",
        )
    )
