"""What can happen to a job: one class for each kind of event. Only what the fold needs is typed; the rest stays opaque.

`store.codec` turns a fact into an `Event` of the contract and back.
"""

from dataclasses import dataclass
from enum import IntEnum

from headrace_server.core.failures import TimeoutKind
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import PLAIN, Cancellation, Failure, Origin, Progress, Turn, Usage
from headrace_server.core.retry import Decision
from headrace_server.core.states import JobState


class QueuedCause(IntEnum):
    """Why a job came to wait for a worker; numbers are those of `QueuedCause` in event.proto."""

    DUE = 1
    UNBLOCKED = 2
    HOLDER_BUSY = 3
    HOLDER_LOST = 4


class ReleaseCause(IntEnum):
    """Why an assignment went back; numbers are those of `ReleaseCause` in event.proto."""

    NOT_CONFIRMED = 1
    DECLINED = 2
    DRAINING = 3
    REVOKED = 4
    CANCELLED = 5


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job was accepted; always the first."""

    state: JobState
    actor: str
    due: Micros = Micros(0)
    start_by: Micros = Micros(0)
    end_by: Micros = Micros(0)
    origin: Origin = PLAIN
    turn: Turn | None = None
    holder: str = ""
    """The worker that holds its session, which it waits for once it is QUEUED."""
    hold_until: Micros = Micros(0)
    """While it waits for its holder: when that ends."""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """It waits for a time now, after it waited for other jobs."""

    due: Micros


@dataclass(frozen=True, slots=True)
class Updated:
    """Fields of the spec were changed before it started, which may move it between QUEUED and SCHEDULED. `body` is the
    `JobUpdated`."""

    state: JobState
    due: Micros
    start_by: Micros
    end_by: Micros
    priority: int
    rank: int | None
    """Its new place; not part of the event."""
    body: bytes


@dataclass(frozen=True, slots=True)
class Queued:
    """It waits for a worker now."""

    cause: QueuedCause
    hold_until: Micros = Micros(0)
    """While it waits for its holder: when that ends."""
    holder: str = ""
    """The worker that holds its session; empty leaves it as it was."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """It was granted to a worker."""

    worker: str
    incarnation: str
    rule: str
    moved_from: str = ""
    """The worker that held its session, when that moves with it."""
    snapshot_turn: int = 0
    """Then: the turn after which the snapshot was taken that it goes on from."""


@dataclass(frozen=True, slots=True)
class Started:
    """The worker started it."""

    worker: str
    run_by: Micros = Micros(0)
    silence: int = 0
    """Microseconds."""


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A timeout passed while the attempt ran: its worker is to end it."""

    kind: TimeoutKind
    message: str


@dataclass(frozen=True, slots=True)
class BudgetReached:
    """A budget that pays for the attempt is used up to a mark; `body` is the `BudgetReached`."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The work put itself off."""

    reason: str
    next_time: Micros
    usage: Usage


@dataclass(frozen=True, slots=True)
class Released:
    """The assignment went back unstarted."""

    cause: ReleaseCause
    message: str


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The attempt failed, and this follows."""

    failure: Failure
    usage: Usage
    decision: Decision
    next_time: Micros


@dataclass(frozen=True, slots=True)
class AttemptLost:
    """The attempt was lost with its worker, and this follows."""

    worker: str
    reason: str
    decision: Decision
    hold_until: Micros = Micros(0)
    """While it waits for its holder: when that ends."""


@dataclass(frozen=True, slots=True)
class HandedBack:
    """A draining worker handed the attempt back after it had started, and this follows."""

    worker: str
    usage: Usage
    decision: Decision
    hold_until: Micros = Micros(0)


@dataclass(frozen=True, slots=True)
class InputRequested:
    """The session asks a person."""

    request_id: str
    body: bytes
    report_number: int = 0
    tool_name: str = ""
    expires: Micros = Micros(0)


@dataclass(frozen=True, slots=True)
class InputResolved:
    """A request is no longer open."""

    request_id: str
    body: bytes
    report_number: int = 0


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A cancel was accepted while the job had an attempt."""

    cancellation: Cancellation


@dataclass(frozen=True, slots=True)
class CancelStepped:
    """A rung of the cancel ladder."""

    body: bytes
    report_number: int = 0


@dataclass(frozen=True, slots=True)
class Produced:
    """One piece of output; `body` is the `Output` as the worker sent it."""

    producer_sequence: int
    size_bytes: int
    body: bytes
    dirty: bool = False
    simulated: bool = False
    claude_session: str = ""
    progress: Progress | None = None
    usage: Usage | None = None
    kind: int = 0
    """As readers choose it."""


@dataclass(frozen=True, slots=True)
class Truncated:
    """Output past the cap is dropped from here on."""

    output_bytes_max: int


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The job ended with a result; `body` is the `Result`."""

    body: bytes
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The job ended with a failure."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The job ended by a cancel."""

    cancellation: Cancellation
    usage: Usage


@dataclass(frozen=True, slots=True)
class Expired:
    """The job ended because it was not started in time."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Skipped:
    """The job ended because a job that it depends on did not succeed."""

    failure: Failure
    dependency: JobId


Fact = (
    Submitted
    | Scheduled
    | Updated
    | Queued
    | Assigned
    | Started
    | TimedOut
    | BudgetReached
    | Snoozed
    | Released
    | AttemptFailed
    | AttemptLost
    | HandedBack
    | InputRequested
    | InputResolved
    | CancelRequested
    | CancelStepped
    | Produced
    | Truncated
    | Succeeded
    | Failed
    | Cancelled
    | Expired
    | Skipped
)
