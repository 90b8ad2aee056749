"""An event loop of one simulated process: callbacks run in the order in which they were made, timers in their time.

It never waits and reads no clock. What it can't do, files and sockets, nothing that is simulated asks for.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

CALLBACKS_COUNT_MAX = 100_000
"""In one go; a process that wants more goes round in circles."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Runs what is ready when it is told to."""

    def __init__(self, time: Callable[[], float]) -> None:
        self.failures: list[BaseException] = []
        """What escaped from callbacks and from tasks that nobody asked for their result."""
        self._time = time
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_count = 0

    def pump(self) -> None:
        """Runs what is ready and due, and what that makes ready, until nothing is."""
        with self.running():
            for _ in range(CALLBACKS_COUNT_MAX):
                if not self._ready and not self._take_due():
                    return
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        raise AssertionError("the process goes round in circles")

    @property
    def has_ready(self) -> bool:
        """Whether something would run now."""
        return bool(self._ready)

    @contextmanager
    def running(self) -> Iterator[None]:
        """This loop is the running one: for what is made outside of its callbacks."""
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    def next_time(self) -> float | None:
        """When the next timer is due."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def abandon(self) -> None:
        """The process is gone: its tasks end without a further effect, which is for the caller to make sure of."""
        with self.running():
            for task in asyncio.all_tasks(self):
                task.cancel()
        self._timers.clear()
        self.pump()
        self._ready.clear()

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # looser: any callback
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]  # looser: any callback
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]  # looser: any callback
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # looser: any callback
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, handle))
        return handle

    def time(self) -> float:
        return self._time()

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, name=None if name is None else str(name), context=context, **options)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.failures.append(error)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _take_due(self) -> bool:
        now = self._time()
        while self._timers and self._timers[0][0] <= now:
            self._ready.append(heapq.heappop(self._timers)[2])
        return bool(self._ready)
