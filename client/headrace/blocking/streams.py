"""Follow streams of the blocking client. What a message means and when to try again is `follow`'s to say."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import grpc

from headrace import errors, feed, follow, silence, statuses
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
        self._silence = silence.Silence(follow.SILENCE_SECONDS)
        self._delay = 0.0
        self._closed = threading.Event()
        self._ready: deque[follow.Placed[Item | follow.Reconnecting]] = deque()
        self.cursor: str = follower.request().cursor
        """Everything before it was handed on: keep it in order to continue later."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item | follow.Reconnecting:
        while not self._ready:
            if self._follower.ended or self._closed.is_set():
                self._silence.stop()
                raise StopIteration
            self._read()
        placed = self._ready.popleft()
        self.cursor = placed.cursor
        return placed.item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Closes the stream, from any thread; what is followed goes on."""
        self._closed.set()
        self._silence.stop()
        self._drop_call()

    def _read(self) -> None:
        if self._delay:
            delay, self._delay = self._delay, 0.0
            if self._closed.wait(delay):
                return
        if self._call is None:
            self._call = self._open_stream(self._follower.request())
        call = self._call
        self._silence.watch(call.cancel)
        try:
            message = next(call)
        except StopIteration:
            return self._resume(follow.cut(self._address))
        except grpc.RpcError as error:
            silent = self._silence.fired
            return self._resume(follow.silent(self._address) if silent else statuses.from_rpc(error, self._address))
        finally:
            self._silence.rest()
        self._ready.extend(self._follower.accept(message))
        if self._follower.draining:
            self._resume(follow.drained(self._address))

    def _resume(self, cause: errors.HeadraceError) -> None:
        self._drop_call()
        if self._closed.is_set():
            return
        step = self._follower.broken(cause, time.monotonic())
        self._delay = step.delay
        self._ready.append(follow.Placed(step, self.cursor))

    def _drop_call(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


class Log(Generic[Item]):
    """What a program reads of a stream: what happened, and where something is missing."""

    def __init__(self, watch: Stream[Any], kinds: tuple[type[Item], ...]) -> None:
        self._watch = watch
        self._kinds = kinds

    @property
    def cursor(self) -> str:
        """Everything before it was handed on: keep it in order to continue later."""
        return self._watch.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        while True:
            item = next(self._watch)
            if isinstance(item, self._kinds):
                return item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the stream; what is followed goes on."""
        self._watch.close()


class Watch(Stream[follow.Item]):
    """Everything that the stream of a job says."""


class Events(Log[follow.LogItem]):
    """The log of a job: the part of a `Watch` that a program reads. See `headrace.Events`."""

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch, (event_pb2.Event, event_pb2.Delta, watch_pb2.WatchGap))


class FeedWatch(Stream[feed.Item]):
    """Everything that the stream of the feed says."""


class FeedEvents(Log[feed.LogItem]):
    """The feed: the part of a `FeedWatch` that a program reads."""

    def __init__(self, watch: FeedWatch) -> None:
        super().__init__(watch, (event_service_pb2.FeedEvent, event_service_pb2.FeedGap))
