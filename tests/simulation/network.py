"""Streams and calls between simulated processes: ordered in a stream, delivered and cut when the simulation says so.

A cut loses what was on its way to the client. What was on its way to the server is lost, too, or lingers: the server
may still read it from the old stream after the client has opened a new one, as long as it has not noticed the cut.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import Message

from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from simulation.loop import SimulatedLoop

Serve = Callable[[AsyncIterator[Any], Call], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The server's status at the end of a stream; no refusal means OK, unless the stream was cut."""

    refusal: Refusal | None
    cut: bool = False


class UnaryCall:
    """What servicers see of a unary call."""

    principal = "local"
    traceparent = ""


class Wire:
    """One stream. To its servicer it is the `Call`."""

    principal = "local"
    traceparent = ""

    def __init__(self, loop: SimulatedLoop, serve: Serve, window_count: int) -> None:
        """`window_count`: messages that the transport takes before the server has to wait for the client to read."""
        self.up: deque[Message] = deque()
        """On its way to the server."""
        self.down: deque[Message | bytes | StreamEnd] = deque()
        """On its way to the client."""
        self.client_open = True
        self.server_open = True
        self._loop = loop
        self._window_count = window_count
        self._inbox: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._task = loop.create_task(serve(self._requests(), cast(Call, self)))
        self._task.add_done_callback(self._served)

    def deliver_up(self, count: int) -> None:
        """Messages reach the server."""
        for _ in range(min(count, len(self.up))):
            self._inbox.append(self.up.popleft())
        self._arrived.set()

    def receive(self) -> Message | bytes | StreamEnd:
        """The client reads the next message that is there for it."""
        message = self.down.popleft()
        self._room.set()
        return message

    def cut(self, *, lingers: bool) -> None:
        """The client is gone from this stream."""
        self.client_open = False
        self.down.clear()
        if not lingers:
            self.notice()

    def notice(self) -> None:
        """The server learns that the stream is cut."""
        self.up.clear()
        self._task.cancel()

    async def write(self, message: Message | bytes) -> None:
        """See `Call.write`."""
        if self.client_open:
            self.down.append(message)
        while self.client_open and len(self.down) >= self._window_count:
            self._room.clear()
            await self._room.wait()

    async def _requests(self) -> AsyncIterator[Message]:
        while True:
            while not self._inbox:
                self._arrived.clear()
                await self._arrived.wait()
            yield self._inbox.popleft()

    def _served(self, task: "asyncio.Task[None]") -> None:
        self.server_open = False
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Refused):
            self._loop.failures.append(error)
        if self.client_open:
            refusal = error.refusal if isinstance(error, Refused) else None
            self.down.append(StreamEnd(refusal, cut=task.cancelled()))
