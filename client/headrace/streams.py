"""Follow streams of the asyncio client. What a message means and when to try again is `follow`'s to say."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from headrace import errors, feed, follow, statuses
from headrace.v1 import event_pb2, event_service_pb2, watch_pb2

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Follower(Protocol[Item_co]):
    """What a stream needs to know of what it follows; see `follow.Follower`."""

    ended: bool
    draining: bool

    def request(self) -> Any: ...

    def accept(self, message: Any, /) -> Sequence[follow.Placed[Item_co]]: ...

    def broken(self, cause: errors.HeadraceError, now: float, /) -> follow.Reconnecting: ...


class Stream(Generic[Item]):
    """A follow stream that survives cuts. Reads from the server only when the caller asks for more."""

    def __init__(self, open_stream: Callable[..., Any], follower: Follower[Item], address: str) -> None:
        self._open_stream = open_stream
        self._follower = follower
        self._address = address
        self._call: Any = None
        self._delay = 0.0
        self._ready: deque[follow.Placed[Item | follow.Reconnecting]] = deque()
        self.cursor: str = follower.request().cursor
        """Everything before it was handed on: keep it in order to continue later."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item | follow.Reconnecting:
        while not self._ready:
            if self._follower.ended:
                raise StopAsyncIteration
            await self._read()
        placed = self._ready.popleft()
        self.cursor = placed.cursor
        return placed.item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the stream; what is followed goes on."""
        self._drop_call()

    async def _read(self) -> None:
        if self._delay:
            delay, self._delay = self._delay, 0.0
            await asyncio.sleep(delay)
        if self._call is None:
            self._call = self._open_stream(self._follower.request())
        try:
            async with asyncio.timeout(follow.SILENCE_SECONDS):
                message = await self._call.read()
        except TimeoutError:
            return self._resume(follow.silent(self._address))
        except grpc.aio.AioRpcError as error:
            return self._resume(statuses.from_rpc(error, self._address))
        except asyncio.CancelledError:
            self._drop_call()
            if _is_cancelled():
                raise
            raise errors.HeadraceError("the client was closed while a stream was being read") from None
        if not isinstance(message, Message):
            return self._resume(follow.cut(self._address))
        self._ready.extend(self._follower.accept(message))
        if self._follower.draining:
            self._resume(follow.drained(self._address))

    def _resume(self, cause: errors.HeadraceError) -> None:
        self._drop_call()
        step = self._follower.broken(cause, asyncio.get_running_loop().time())
        self._delay = step.delay
        self._ready.append(follow.Placed(step, self.cursor))

    def _drop_call(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _is_cancelled() -> bool:
    """Whether it is the caller who is cancelled, and not a call whose channel was closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Log(Generic[Item]):
    """What a program reads of a stream: what happened, and where something is missing."""

    def __init__(self, watch: Stream[Any], kinds: tuple[type[Item], ...]) -> None:
        self._watch = watch
        self._kinds = kinds

    @property
    def cursor(self) -> str:
        """Everything before it was handed on: keep it in order to continue later.

        It moves when the last event of a batch is handed on; recognise a repeat by its `sequence` or `position`.
        """
        return self._watch.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while True:
            item = await self._watch.__anext__()
            if isinstance(item, self._kinds):
                return item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the stream; what is followed goes on."""
        await self._watch.aclose()


class Watch(Stream[follow.Item]):
    """Everything that the stream of a job says."""


class Events(Log[follow.LogItem]):
    """The log of a job: the part of a `Watch` that a program reads."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch, (event_pb2.Event, event_pb2.Delta, watch_pb2.WatchGap))


class FeedWatch(Stream[feed.Item]):
    """Everything that the stream of the feed says."""


class FeedEvents(Log[feed.LogItem]):
    """The feed: the part of a `FeedWatch` that a program reads."""

    def __init__(self, watch: FeedWatch) -> None:
        super().__init__(watch, (event_service_pb2.FeedEvent, event_service_pb2.FeedGap))
