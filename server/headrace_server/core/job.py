"""The job's row: the fold of its log. Only `lifecycle.apply` changes it.

A slotted class that is changed in place and not a frozen one, because the store folds tens of thousands of events a
second and building a frozen copy for each was half of that cost. A transaction works on copies of its own, so a
rollback drops them.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from operator import attrgetter

from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.limits import USAGE_AMOUNT_MAX, USAGE_COUNT_MAX
from headrace_server.core.states import JobState
from headrace_server.core.timeouts import NONE_STATED, Timeouts


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt or a job used; totals that only grow, up to limits.

    Cost in millionths of a US dollar, time in microseconds.
    """

    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd_micros: int = 0
    api_micros: int = 0
    tool_calls: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        if other is NO_USAGE:
            return self
        return bounded_usage(
            self.turns + other.turns,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_creation_tokens + other.cache_creation_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cost_usd_micros + other.cost_usd_micros,
            self.api_micros + other.api_micros,
            self.tool_calls + other.tool_calls,
        )

    def since(self, before: "Usage") -> "Usage":
        """What was added since; never less than nothing."""
        return Usage(*map(_more, _NUMBERS(self), _NUMBERS(before)))


def _more(now: int, before: int) -> int:
    return max(0, now - before)


def bounded_usage(
    turns: int,
    input_tokens: int,
    output_tokens: int,
    cache_creation_tokens: int,
    cache_read_tokens: int,
    cost_usd_micros: int,
    api_micros: int,
    tool_calls: int,
) -> Usage:
    """A usage, each number cut to what can be kept and told."""
    return Usage(
        _cut(turns, USAGE_COUNT_MAX),
        _cut(input_tokens, USAGE_AMOUNT_MAX),
        _cut(output_tokens, USAGE_AMOUNT_MAX),
        _cut(cache_creation_tokens, USAGE_AMOUNT_MAX),
        _cut(cache_read_tokens, USAGE_AMOUNT_MAX),
        _cut(cost_usd_micros, USAGE_AMOUNT_MAX),
        _cut(api_micros, USAGE_AMOUNT_MAX),
        _cut(tool_calls, USAGE_COUNT_MAX),
    )


def _cut(number: int, most: int) -> int:
    return min(max(number, 0), most)


NO_USAGE = Usage()
_NUMBERS = attrgetter(*(one.name for one in fields(Usage)))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt is; `total` zero means not known."""

    done: int
    total: int
    message: str


class CancelCause(IntEnum):
    """What led to a cancel; numbers are those of `CancelCause` in job.proto."""

    REQUESTED = 1
    SUPERSEDED = 2
    DEPENDENCY = 3
    OVERLAP = 4
    PURGED = 5
    INTERRUPTED = 6
    SESSION_CLOSED = 7


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Why and by whom a job is being or was cancelled."""

    reason: str
    actor: str
    time: Micros
    cause: CancelCause = CancelCause.REQUESTED
    superseded_by: JobId | None = None
    """With SUPERSEDED: the job that took its place."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a job, when it was not a plain submit."""

    retry_of: JobId | None = None
    """The job that it is a retry of."""
    schedule: str = ""
    """The schedule that made it."""
    nominal_time: Micros = Micros(0)
    """The schedule's tick that it stands for."""
    catch_up: bool = False
    """The tick was missed and made up for later."""


PLAIN = Origin()


@dataclass(frozen=True, slots=True)
class Turn:
    """What makes a job a turn of a session."""

    session_id: JobId
    number: int
    """Within the session, from 1."""
    background: bool = False
    """The CLI began it by itself."""


class InputResolution(IntEnum):
    """How a request for input was resolved; numbers are those of `InputResolution` in input.proto."""

    ALLOWED = 1
    DENIED = 2
    EXPIRED = 3
    WITHDRAWN = 4


@dataclass(frozen=True, slots=True)
class OpenInput:
    """Something that the current attempt asks of a person."""

    request_id: str
    tool_name: str = ""
    """Empty for a question."""
    expires: Micros = Micros(0)
    """Denied when nobody has answered by then; zero when it waits for as long as it takes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt or a job failed. `body` is the whole of it as the contract has it, opaque in here."""

    failure_class: FailureClass
    body: bytes


@dataclass(slots=True)
class Job:
    """One job as it is now. Fields that are columns as they are come first, in the columns' order: a row is read by
    position, in a third of the time."""

    row: int
    """Its key in the store; in the order of submits."""
    id: JobId
    namespace: str
    queue: str
    owner: str
    key: int
    """The ready key that it belongs to: jobs of one queue with the same needs."""
    rank: int
    """Order among the jobs of its queue, smallest first: arrival time less head start, microseconds (Q1)."""
    priority: int
    created: Micros
    output_bytes_max: int
    slots: int = 1
    """Slots that an attempt takes."""
    concurrency_key: str = ""
    """Jobs of a queue that share it share its limits."""
    updated: Micros = Micros(0)
    started: Micros = Micros(0)
    ended: Micros = Micros(0)
    queued: Micros = Micros(0)
    """When it last came to wait for a worker."""
    due: Micros = Micros(0)
    """When a SCHEDULED job becomes due, or a BLOCKED one would; while a resumable job waits for its holder, when that
    ends."""
    start_by: Micros = Micros(0)
    """It expires unless it has started by then."""
    end_by: Micros = Micros(0)
    """It has to have ended by then."""
    assigned: Micros = Micros(0)
    """When the current attempt was granted."""
    run_by: Micros = Micros(0)
    """The current attempt has to have ended by then."""
    silence: int = 0
    """Microseconds that the current attempt may be silent; zero sets no limit."""
    asked: Micros = Micros(0)
    """Since when it waits for a person."""
    timed_out: int = 0
    """The `TimeoutKind` that ends the current attempt; zero while none does."""
    wake: Micros = Micros(0)
    """When somebody has to look at it again: `deadlines.next_look`."""
    snoozes: int = 0
    sequence: int = 0
    """Of the last event of its log."""
    attempt: int = 0
    """Number of the latest attempt: attempts that were granted and not handed back."""
    failures: int = 0
    losses: int = 0
    epoch: int = 0
    worker: str = ""
    """Id of the worker that holds the lease."""
    incarnation: str = ""
    """Of that worker."""
    holder: str = ""
    """Id of the worker that a job waits for, because only there its session can be resumed (R6)."""
    settled_epoch: int = 0
    """Epoch of the latest attempt whose finish was accepted: what a repeated finish is recognised by."""
    begun: Micros = Micros(0)
    """When the latest attempt started; zero when it has not."""
    producer_sequence: int = 0
    """Output of the current attempt up to this is in the log, or was dropped past the cap."""
    report_number: int = 0
    """Reports of the current attempt up to this are in the log."""
    output_bytes: int = 0
    claude_session: str = ""
    """The CLI's own id of the conversation, once known."""
    state: JobState = JobState.QUEUED
    unique: bool = False
    """It has a unique key."""
    dependent: bool = False
    """It depends on other jobs."""
    truncated: bool = False
    dirty: bool = False
    """The current attempt, or the one that it resumes, may have changed the world."""
    simulated: bool = False
    origin: Origin = PLAIN
    timeouts: Timeouts = NONE_STATED
    """As its spec states them; what of them is in force is asked when it starts."""
    turn: Turn | None = None
    """Set for a turn of a session."""
    usage: Usage = NO_USAGE
    """Of the attempts that ended."""
    attempt_usage: Usage = NO_USAGE
    """Of the current attempt so far."""
    progress: Progress | None = None
    cancellation: Cancellation | None = None
    failure: Failure | None = None
    open_inputs: tuple[OpenInput, ...] = ()
    """What nobody has resolved, oldest first."""
    asks: int = 0
    """Requests of the current attempt, open or not."""


_VALUES = attrgetter(*(one.name for one in fields(Job)))


def copy_of(job: Job) -> Job:
    """A job that can be changed without changing this one; a third of the cost of `copy.copy`."""
    return Job(*_VALUES(job))
