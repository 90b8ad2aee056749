"""A session's row: what is stored of a conversation. Which verb changes what of it is for the verbs to say.

Reading one costs a statement and changing one another: nothing of a session is in the way of a job that is no turn.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.job import NO_USAGE, Usage
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.engine import Query, Row
from headrace_server.store.ledger import Ledger

FIXED = (
    "session",
    "id",
    "namespace",
    "owner",
    "queue",
    "created",
    "forked_from",
    "source_worker",
    "source_claude_session",
    "request_id",
)
"""Columns that never change."""
CHANGING = (
    "spec",
    "version",
    "updated",
    "activity",
    "ended",
    "lost",
    "end_reason",
    "turns",
    "ended_turns",
    "run_micros",
    "usage",
    "claude_session",
    "worker",
    "incarnation",
    "binding_epoch",
    "bound",
)
SELECT = "SELECT " + ", ".join(f"sessions.{column}" for column in FIXED + CHANGING) + " FROM sessions"
_UPDATE = f"UPDATE sessions SET {', '.join(f'{column} = ?' for column in CHANGING)} WHERE session = ?"


@dataclass(slots=True)
class StoredSession:
    """One session as it is now."""

    row: int
    """Its key in the store; in the order of their making."""
    id: JobId
    namespace: str
    owner: str
    queue: str
    created: Micros
    spec: bytes
    """The `SessionSpec` with defaults filled in."""
    forked_from: JobId | None = None
    source_worker: str = ""
    """Of a fork: the worker that has the conversation to go on from."""
    source_claude_session: str = ""
    """Of a fork: that conversation, by the CLI's own id."""
    request_id: str = ""
    version: int = 1
    updated: Micros = Micros(0)
    activity: Micros = Micros(0)
    ended: Micros = Micros(0)
    """When it was closed or lost; zero while it takes turns."""
    lost: bool = False
    """It ended because what holds its conversation is gone."""
    end_reason: str = ""
    turns: int = 0
    """Number of its latest turn."""
    ended_turns: int = 0
    run_micros: int = 0
    """How long its attempts have run."""
    usage: Usage = NO_USAGE
    """Of the turns that ended."""
    claude_session: str = ""
    """The CLI's own id of the conversation, once known."""
    worker: str = ""
    """Where its process was last started."""
    incarnation: str = ""
    binding_epoch: int = 0
    bound: Micros = Micros(0)

    @property
    def holder(self) -> str:
        """The worker on which its turns have to run, because the transcript is there; empty while any will do."""
        return self.worker if self.claude_session else self.source_worker


def session_of(row: Row) -> StoredSession:
    """Reads a row of `SELECT`."""
    return StoredSession(
        row=row[0],
        id=JobId(bytes(row[1])),
        namespace=row[2],
        owner=row[3],
        queue=row[4],
        created=Micros(row[5]),
        forked_from=None if row[6] is None else JobId(bytes(row[6])),
        source_worker=row[7],
        source_claude_session=row[8],
        request_id=row[9],
        spec=bytes(row[10]),
        version=row[11],
        updated=Micros(row[12]),
        activity=Micros(row[13]),
        ended=Micros(row[14]),
        lost=bool(row[15]),
        end_reason=row[16],
        turns=row[17],
        ended_turns=row[18],
        run_micros=row[19],
        usage=Usage(*json.loads(row[20])),
        claude_session=row[21],
        worker=row[22],
        incarnation=row[23],
        binding_epoch=row[24],
        bound=Micros(row[25]),
    )


def read_session(query: Query, session_id: JobId) -> StoredSession | None:
    """A session by its id, or None."""
    found = query(f"{SELECT} WHERE id = ?", (session_id,))
    return session_of(found[0]) if found else None


def find_session(ledger: Ledger, namespace: str, session_id: JobId, field: str = "") -> StoredSession | Refusal:
    """A session of a namespace, or the refusal; `field` names what asked for it."""
    session = read_session(ledger.look_up, session_id)
    return not_found(session_id, field) if session is None or session.namespace != namespace else session


def existing(ledger: Ledger, session_id: JobId) -> StoredSession:
    """The session of a job that is its turn: it is there for as long as the job is."""
    session = read_session(ledger.look_up, session_id)
    assert session is not None, "a turn without its session"
    return session


def insert_session(ledger: Ledger, session: StoredSession) -> None:
    """Stores a new session."""
    values = (
        session.row,
        session.id,
        session.namespace,
        session.owner,
        session.queue,
        session.created,
        session.forked_from,
        session.source_worker,
        session.source_claude_session,
        session.request_id,
        *_changing_of(session),
    )
    ledger.insert("sessions", FIXED + CHANGING, [values])
    ledger.effects.sessions.add(session.id)


def save_session(ledger: Ledger, session: StoredSession) -> None:
    """Stores what has changed of a session."""
    ledger.run(_UPDATE, (*_changing_of(session), session.row))
    ledger.effects.sessions.add(session.id)


def store_labels(ledger: Ledger, session: StoredSession, earlier: dict[str, str], wanted: dict[str, str]) -> None:
    """Makes the labels by which it is found those that its spec has now."""
    for label, value in earlier.items() - wanted.items():
        ledger.run(
            "DELETE FROM session_labels WHERE namespace = ? AND label = ? AND value = ? AND session = ?",
            (session.namespace, label, value, session.row),
        )
    added: Sequence[tuple[Any, ...]] = [
        (session.namespace, label, value, session.row) for label, value in sorted(wanted.items() - earlier.items())
    ]
    ledger.insert("session_labels", ("namespace", "label", "value", "session"), added)


def not_found(session_id: JobId, field: str = "") -> Refusal:
    """There is no such session in the namespace; `field` names the one that asked for it."""
    text = job_id_text(session_id)
    metadata = {"field": field} if field else {}
    return Refusal(Reason.NOT_FOUND, f"there is no session {text}", "headrace.v1.Session", text, metadata=metadata)


def session_ended(session: StoredSession) -> Refusal | None:
    """The refusal of what can be done to a session only while it takes turns."""
    if not session.ended:
        return None
    text = job_id_text(session.id)
    how = "lost" if session.lost else "closed"
    because = f": {session.end_reason}" if session.end_reason else ""
    message = f"session {text} is {how}{because}"
    return Refusal(Reason.SESSION_ENDED, message, "headrace.v1.Session", text, metadata={"state": how.upper()})


def _changing_of(session: StoredSession) -> tuple[Any, ...]:
    return (
        session.spec,
        session.version,
        session.updated,
        session.activity,
        session.ended,
        int(session.lost),
        session.end_reason,
        session.turns,
        session.ended_turns,
        session.run_micros,
        json.dumps(astuple(session.usage), separators=(",", ":")),
        session.claude_session,
        session.worker,
        session.incarnation,
        session.binding_epoch,
        session.bound,
    )
