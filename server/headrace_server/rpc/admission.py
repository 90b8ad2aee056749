"""Decides whether a call may begin: a cap for each class of call, and none of them once the server drains.

gRPC's own `maximum_concurrent_rpcs` counts long streams and health checks as well, so it can't keep a reserve for
either. Calls of one class never use up the room of another.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum

from headrace_server.core import limits
from headrace_server.core.refusal import Reason, Refusal, Refused

RETRY_AFTER_SECONDS = 1.0


class CallClass(StrEnum):
    """What a call is counted as."""

    UNARY = "unary calls"
    STREAM = "streams"
    WORKER_LANE = "worker lanes"
    EXEMPT = "health checks"
    """Admitted also while the server drains: a load balancer has to learn that it does."""


DEFAULT_CAPS: Mapping[CallClass, int] = {
    CallClass.UNARY: limits.UNARY_CALLS_COUNT_MAX,
    CallClass.STREAM: limits.STREAMS_COUNT_MAX,
    CallClass.WORKER_LANE: limits.STREAMS_COUNT_MAX,
    CallClass.EXEMPT: limits.STREAMS_COUNT_MAX,
}


class Admission:
    """Counts the calls in flight. Used on one event loop only."""

    def __init__(
        self,
        caps: Mapping[CallClass, int] = DEFAULT_CAPS,
        principal_streams_max: int = limits.PRINCIPAL_STREAMS_COUNT_MAX,
    ) -> None:
        self._caps = dict(caps)
        self._principal_streams_max = principal_streams_max
        self._streams: Counter[str] = Counter()
        """Of each principal that has any."""
        self._in_flight = dict.fromkeys(CallClass, 0)
        self._idle_waiters: list[tuple[frozenset[CallClass], asyncio.Event]] = []
        self.draining = asyncio.Event()
        """Set once and for all by `drain`. Servicers end their streams when it is."""

    def enter(self, call_class: CallClass, principal: Callable[[], str]) -> str:
        """Counts a call in, or raises Refused; says under which name. Each success is followed by one `leave`. Who
        calls is only asked of streams."""
        if self.draining.is_set() and call_class is not CallClass.EXEMPT:
            raise Refused(draining_refusal())
        if self._in_flight[call_class] >= self._caps[call_class]:
            raise Refused(_too_many(call_class, "server", self._caps[call_class]))
        name = self._enter_stream(principal()) if call_class is CallClass.STREAM else ""
        self._in_flight[call_class] += 1
        return name

    def _enter_stream(self, principal: str) -> str:
        if self._streams[principal] >= self._principal_streams_max:
            raise Refused(_too_many(CallClass.STREAM, "principal", self._principal_streams_max))
        self._streams[principal] += 1
        return principal

    def leave(self, call_class: CallClass, name: str) -> None:
        """Counts a call out, under the name that it was counted in."""
        if name:
            self._streams[name] -= 1
            if not self._streams[name]:
                del self._streams[name]
        self._in_flight[call_class] -= 1
        assert self._in_flight[call_class] >= 0
        if self._idle_waiters and self._in_flight[call_class] == 0:
            self._wake_idle_waiters()

    def in_flight(self, *classes: CallClass) -> int:
        """Calls of these classes that have begun and not ended; of all classes when none is named."""
        return sum(self._in_flight[call_class] for call_class in classes or CallClass)

    def drain(self) -> None:
        """Refuses every new call from now on, except exempt ones."""
        self.draining.set()

    async def wait_idle(self, seconds: float, *classes: CallClass) -> bool:
        """Waits until no call of these classes is in flight; False when the time was over first."""
        if not self.in_flight(*classes):
            return True
        waiter = frozenset(classes or CallClass), asyncio.Event()
        self._idle_waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter[1].wait()
        except TimeoutError:
            return False
        finally:
            self._idle_waiters.remove(waiter)
        return True

    def _wake_idle_waiters(self) -> None:
        for classes, idle in self._idle_waiters:
            if not self.in_flight(*classes):
                idle.set()


def draining_refusal() -> Refusal:
    """What a call is told that comes, or has to end, while the server drains."""
    return Refusal(Reason.DRAINING, "the server is shutting down", retry_after_seconds=RETRY_AFTER_SECONDS)


def _too_many(call_class: CallClass, scope: str, cap: int) -> Refusal:
    whose = "the server has" if scope == "server" else "you have"
    return Refusal(
        Reason.TOO_MANY_CALLS,
        f"{whose} {cap} {call_class.value} open, which is the limit",
        retry_after_seconds=RETRY_AFTER_SECONDS,
        metadata={"cause": call_class.name, "scope": scope, "limit": str(cap)},
    )
