"""What a follower of one job knows: its cursor, what it has handed on, when to try again. No I/O, no clock, no chance.

Both clients feed it the messages of WatchJob; it answers with the items to hand on, once each and in order, and with
what to do when a stream breaks. A hole that no gap explains is an error, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc

from headrace import errors
from headrace.v1 import event_pb2, job_service_pb2, watch_pb2

SILENCE_SECONDS = 45.0
"""A stream that says nothing for this long is dead: the server sends a heartbeat every 15 s."""
PATIENCE_SECONDS = 600.0
"""How long a follower keeps trying to reach the server again before it gives up."""
FIRST_PATIENCE_SECONDS = 3.0
"""The same before the stream was ever open."""
FIRST_DELAY_SECONDS = 0.1
DELAY_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The stream broke; it is opened again at its cursor after `delay` seconds."""

    cause: errors.HeadraceError
    delay: float


Item = (
    watch_pb2.WatchOpened
    | event_pb2.Event
    | event_pb2.Delta
    | watch_pb2.WatchGap
    | watch_pb2.WatchHeartbeat
    | watch_pb2.WatchEnd
    | Reconnecting
)

LogItem = event_pb2.Event | event_pb2.Delta | watch_pb2.WatchGap
"""What `events()` hands on; deltas only when they were asked for."""


Said_co = TypeVar("Said_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Placed(Generic[Said_co]):
    """An item, and the cursor right after it where the server gave one."""

    item: Said_co
    cursor: str


class Patience:
    """When a stream that broke is opened again, and when that is given up."""

    def __init__(self, chance: Callable[[], float], patience_seconds: float) -> None:
        self._chance = chance
        self._patience_seconds = patience_seconds
        self._opened_once = False
        self._tries = 0
        self._broken_since: float | None = None

    def heard(self, *, progress: bool) -> None:
        """Takes note of a message; only progress makes the next delay short again."""
        if progress:
            self._tries, self._broken_since = 0, None
        self._opened_once = True

    def broken(self, cause: errors.HeadraceError, now: float) -> Reconnecting:
        """When to try again after the stream broke. Raises the cause when that is pointless or has taken too long."""
        if not resumable(cause):
            raise cause
        if self._broken_since is None:
            self._broken_since = now
        patience = self._patience_seconds if self._opened_once else min(FIRST_PATIENCE_SECONDS, self._patience_seconds)
        if now - self._broken_since >= patience:
            raise cause
        cap = min(DELAY_SECONDS_MAX, FIRST_DELAY_SECONDS * 2 ** min(self._tries, 10))
        self._tries += 1
        asked = cause.retry_after if isinstance(cause, errors.CallFailed) else None
        return Reconnecting(cause, max(asked or 0.0, cap * (0.5 + 0.5 * self._chance())))


class Follower:
    """Follows the messages of one job across any number of streams."""

    def __init__(
        self,
        request: job_service_pb2.WatchJobRequest,
        chance: Callable[[], float],
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._request = request
        self._cursor = request.cursor
        self._patience = Patience(chance, patience_seconds)
        later = request.cursor or request.last or request.HasField("start_time")
        self._last_sequence: int | None = None if later else 0
        self._dense = not (request.without_output or request.outputs or request.attempt)
        self.ended = False
        self.draining = False

    def request(self) -> job_service_pb2.WatchJobRequest:
        """The request that continues where the last message ended."""
        made = job_service_pb2.WatchJobRequest()
        made.CopyFrom(self._request)
        made.cursor = self._cursor
        if self._cursor:
            made.ClearField("last")
            made.ClearField("start_time")
        self.draining = False
        return made

    def accept(self, message: job_service_pb2.WatchJobResponse) -> list[Placed[Item]]:
        """The items of a message that were not handed on before. Raises StreamBroken for a hole."""
        self._patience.heard(progress=message.WhichOneof("kind") not in ("opened", "end"))
        before = self._cursor
        items = self._items(message)
        self._cursor = message.cursor or before
        return [Placed(item, self._cursor if item is items[-1] else before) for item in items]

    def broken(self, cause: errors.HeadraceError, now: float) -> Reconnecting:
        """When to try again after the stream broke. Raises the cause when that is pointless or has taken too long."""
        return self._patience.broken(cause, now)

    def _items(self, message: job_service_pb2.WatchJobResponse) -> list[Item]:
        match message.WhichOneof("kind"):
            case "opened":
                return [message.opened]
            case "batch":
                return [event for event in message.batch.events if self._is_new(event)]
            case "deltas":
                return list(message.deltas.deltas)
            case "heartbeat":
                return [message.heartbeat]
            case "gap":
                return self._after_gap(message.gap)
            case "end":
                return self._at_end(message.end)
            case _:
                return []

    def _is_new(self, event: event_pb2.Event) -> bool:
        last = self._last_sequence
        if last is not None and event.sequence <= last:
            return False
        if last is not None and event.sequence != last + 1 and self._dense:
            raise errors.StreamBroken(
                f"events {last + 1} to {event.sequence - 1} of job {event.job_id} are missing, and no gap says why"
            )
        self._last_sequence = event.sequence
        return True

    def _after_gap(self, gap: watch_pb2.WatchGap) -> list[Item]:
        if gap.reason == watch_pb2.GAP_REASON_RESTORED:
            self._last_sequence = None
        elif self._last_sequence is None or gap.to_sequence > self._last_sequence:
            self._last_sequence = gap.to_sequence
        else:
            return []
        return [gap]

    def _at_end(self, end: watch_pb2.WatchEnd) -> list[Item]:
        if end.reason == watch_pb2.END_REASON_DRAINING:
            self.draining = True
            return []
        self.ended = True
        return [end]


def resumable(cause: errors.HeadraceError) -> bool:
    """Whether opening the stream again can help: the connection broke, or the server asks for patience."""
    if isinstance(cause, errors.ConnectionFailed | errors.Unavailable):
        return True
    if isinstance(cause, errors.TooManyCalls | errors.StoreBusy):
        return True
    broken_by_the_way = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)
    return isinstance(cause, errors.CallFailed) and not cause.reason and cause.status in broken_by_the_way


def cut(address: str) -> errors.ConnectionFailed:
    """The stream ended without saying so."""
    return errors.ConnectionFailed(address, "the stream was cut")


def silent(address: str) -> errors.ConnectionFailed:
    """The stream said nothing for too long."""
    return errors.ConnectionFailed(address, f"nothing was heard for {SILENCE_SECONDS:.0f} s")


def drained(address: str) -> errors.ConnectionFailed:
    """The server ended the stream because it shuts down."""
    return errors.ConnectionFailed(address, "the server is shutting down")
