"""What an executor is, and what the agent gives it for one attempt.

The agent owns leases, lanes, sequences and spools; an executor owns the work. Neither reaches into the other beyond
what stands here.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from headrace.v1 import event_pb2, input_pb2, outcome_pb2, worker_pb2, worker_service_pb2


@dataclass(frozen=True, slots=True)
class StopRequest:
    """The attempt has to end."""

    kill: bool
    """True: the lease is lost or ends, nobody waits for a result: go straight to SIGKILL. False: the job is cancelled:
    climb the ladder."""
    grace_seconds: float
    """From the first rung to SIGTERM."""
    reason: str
    """For logs."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The attempt ended with a result."""

    result: outcome_pb2.Result
    usage: outcome_pb2.Usage = field(default_factory=outcome_pb2.Usage)


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt ended with a failure."""

    failure: outcome_pb2.Failure
    usage: outcome_pb2.Usage = field(default_factory=outcome_pb2.Usage)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The attempt ended because of a StopRequest."""

    usage: outcome_pb2.Usage = field(default_factory=outcome_pb2.Usage)


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The work put itself off: its job runs again later, and no attempt is burned."""

    delay_micros: int
    reason: str
    usage: outcome_pb2.Usage = field(default_factory=outcome_pb2.Usage)


Outcome = Succeeded | Failed | Cancelled | Snoozed


class SettingsChange(Protocol):
    """A change of how a running attempt goes on. Either of the two words is said once."""

    settings: worker_service_pb2.SettingsCommand

    def done(self) -> None:
        """It is carried out."""
        ...

    def refuse(self, why: str) -> None:
        """It can't be; people are told why."""
        ...


class TooManyAsked(Exception):
    """The attempt has as many requests open as it may, or one with the same id."""


class Attempt(Protocol):
    """One attempt, as its executor sees it. Every method is called on the agent's event loop."""

    assignment: worker_pb2.Assignment

    async def emit(self, output: event_pb2.Output) -> int:
        """Takes one piece of output; it is delivered in order, exactly once, also across a restart of the server.

        Fills in `producer_sequence` and `time`, and returns the former. Waits while the attempt's outbox (memory, then
        disk) is full: that is the back pressure.
        """
        ...

    def emit_delta(self, delta: event_pb2.Delta) -> None:
        """Offers a token delta; never waits, may be dropped. The agent fills in what places it in the log."""
        ...

    def report_step(self, step: event_pb2.CancelStepped) -> None:
        """Puts a rung of the cancel ladder into the job's log. Never waits."""
        ...

    async def ask(self, request: input_pb2.InputRequest) -> input_pb2.InputAnswer:
        """Asks a person, and waits for the answer: somebody's, or the denial that comes when nobody answers in time.

        Several may be open at once, each under an id of its own, which is never used again. The question comes into the
        log after the output that was emitted before. Cancelling the wait withdraws it. Raises TooManyAsked.
        """
        ...

    async def next_settings(self) -> SettingsChange:
        """Waits for the next change of settings, in the order in which they were made. For one caller at a time."""
        ...

    def stop_requested(self) -> StopRequest | None:
        """What `wait_stop` would return now, or None."""
        ...

    async def wait_stop(self) -> StopRequest:
        """Waits until the attempt has to end. A later request with `kill` may follow one without; see `wait_kill`."""
        ...

    async def wait_kill(self) -> StopRequest:
        """Waits until the attempt has to end by SIGKILL."""
        ...


class HandlerAttempt(Attempt, Protocol):
    """What handlers need beyond that: to notice a stop without a task of their own, and to know what is stored."""

    def on_stop(self, listener: Callable[[StopRequest], None]) -> None:
        """Calls the listener when the attempt has to end, and again for a kill; at once if it already has to."""
        ...

    async def wait_committed(self) -> bool:
        """Waits until the server has committed everything that was emitted; False when it will not any more."""
        ...


class Executor(Protocol):
    """Runs attempts of one kind of task."""

    async def run(self, attempt: Attempt) -> Outcome:
        """Runs one attempt to its end and says how it ended.

        When it returns, everything that the attempt started is gone: processes, threads' work, temporary files. It
        watches `wait_stop` itself. An exception that escapes is a bug; the agent reports it as FAILURE_CLASS_CRASH.
        """
        ...
