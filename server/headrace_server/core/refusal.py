"""A refusal: the answer "no" as a value, with the reason that a caller can act on.

Verbs of the store return it, `rpc` turns it into a status. Texts name the thing and the limit; no status codes here.
"""

from dataclasses import dataclass, field
from enum import Enum


class Reason(Enum):
    """Why something was refused; each is the `ErrorReason` of the same name in `error.proto`."""

    INVALID_FIELD = "INVALID_FIELD"
    INVALID_TOKEN = "INVALID_TOKEN"
    NOT_SUPPORTED = "NOT_SUPPORTED"
    NOT_FOUND = "NOT_FOUND"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    UNIQUE_KEY_TAKEN = "UNIQUE_KEY_TAKEN"
    NAME_TAKEN = "NAME_TAKEN"
    JOB_ENDED = "JOB_ENDED"
    JOB_NOT_ENDED = "JOB_NOT_ENDED"
    STALE_LEASE = "STALE_LEASE"
    STALE_ETAG = "STALE_ETAG"
    QUEUE_FULL = "QUEUE_FULL"
    TOO_MANY_CALLS = "TOO_MANY_CALLS"
    STORE_BUSY = "STORE_BUSY"
    DISK_FULL = "DISK_FULL"
    DRAINING = "DRAINING"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    UNSUPPORTED_PROTOCOL = "UNSUPPORTED_PROTOCOL"
    STALE_INCARNATION = "STALE_INCARNATION"
    EXPIRED = "EXPIRED"
    CONNECTION_REPLACED = "CONNECTION_REPLACED"
    NOT_CONNECTED = "NOT_CONNECTED"
    JOB_STARTED = "JOB_STARTED"
    RETRY_LIVE = "RETRY_LIVE"
    QUEUE_NOT_EMPTY = "QUEUE_NOT_EMPTY"
    DEPENDENCY_REFUSED = "DEPENDENCY_REFUSED"
    SESSION_ENDED = "SESSION_ENDED"
    NO_ACTIVE_TURN = "NO_ACTIVE_TURN"
    SESSION_EMPTY = "SESSION_EMPTY"
    TOO_MANY_SESSIONS = "TOO_MANY_SESSIONS"
    INPUT_RESOLVED = "INPUT_RESOLVED"
    SNAPSHOT_NEEDED = "SNAPSHOT_NEEDED"
    EXECUTOR_NOT_TAKEN = "EXECUTOR_NOT_TAKEN"


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that is not as it has to be: its path from the request, and what is wrong, with the limit."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was refused, and what the caller may want to know about it."""

    reason: Reason
    message: str
    resource_type: str = ""
    """Of the thing that the refusal is about, e.g. `headrace.v1.Job`."""
    resource_name: str = ""
    """Its id or name."""
    retry_after_seconds: float | None = None
    violations: tuple[Violation, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """Carries a refusal up to the one place that turns it into a status."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
