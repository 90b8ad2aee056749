"""How many sessions and turns there may be, as the settings of the namespace say, and the refusals of one too many.

What an owner or a session has is counted in the transaction that adds to it, so no limit is ever passed.
"""

from dataclasses import dataclass

from headrace.v1 import settings_pb2
from headrace_server.core.ids import job_id_text
from headrace_server.core.limits import (
    SESSION_PENDING_TURNS_COUNT_DEFAULT,
    SESSIONS_PER_NAMESPACE_COUNT_DEFAULT,
    SESSIONS_PER_OWNER_COUNT_DEFAULT,
)
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.settings import settings_of
from headrace_server.store.sessions.session_row import StoredSession

SESSIONS_FULL_RETRY_SECONDS = 30.0
TURNS_FULL_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What the settings of a namespace come to."""

    open_max: int
    open_per_owner_max: int
    pending_turns_max: int


def limits_of(ledger: Ledger, namespace: str) -> SessionLimits:
    """The limits of a namespace."""
    return effective(settings_of(ledger, namespace).sessions)


def effective(wanted: settings_pb2.SessionLimits) -> SessionLimits:
    """What is left out is the default."""
    return SessionLimits(
        wanted.open_max or SESSIONS_PER_NAMESPACE_COUNT_DEFAULT,
        wanted.open_per_owner_max or SESSIONS_PER_OWNER_COUNT_DEFAULT,
        wanted.pending_turns_max or SESSION_PENDING_TURNS_COUNT_DEFAULT,
    )


def too_many_sessions(ledger: Ledger, namespace: str, owner: str) -> Refusal | None:
    """The refusal of one more open session."""
    limits = limits_of(ledger, namespace)
    counts = ledger.look_up(
        "SELECT count(*), coalesce(sum(CASE WHEN owner = ? THEN 1 ELSE 0 END), 0) FROM sessions"
        " WHERE namespace = ? AND ended = 0",
        (owner, namespace),
    )[0]
    for count, most, limit, who in (
        (counts[0], limits.open_max, "sessions_per_namespace", f"namespace {namespace!r}"),
        (counts[1], limits.open_per_owner_max, "sessions_per_owner", f"owner {owner!r}"),
    ):
        if count >= most:
            message = f"{who} has {count} open sessions; at most {most} are allowed ({limit}); close some"
            metadata = {"limit": limit, "max": str(most), "count": str(count)}
            return Refusal(
                Reason.TOO_MANY_SESSIONS, message, retry_after_seconds=SESSIONS_FULL_RETRY_SECONDS, metadata=metadata
            )
    return None


def too_many_turns(session: StoredSession, count: int, most: int) -> Refusal | None:
    """The refusal of one more turn of a session that has so many which have not ended."""
    if count < most:
        return None
    text, limit = job_id_text(session.id), "pending_turns_per_session"
    return Refusal(
        Reason.TOO_MANY_SESSIONS,
        f"session {text} has {count} turns that have not ended; at most {most} are allowed ({limit})",
        "headrace.v1.Session",
        text,
        retry_after_seconds=TURNS_FULL_RETRY_SECONDS,
        metadata={"limit": limit, "max": str(most), "count": str(count)},
    )
