"""Notices that the worker's event loop does not turn, and says in the log which handler holds it and where.

While it does not, no lease is renewed and no cancel arrives; nobody can interrupt the code that holds it. A thread of
its own looks, and never touches what runs on the loop.
"""

import asyncio
import inspect
import logging
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from types import CodeType, FrameType

from headrace_worker.executors.handler import Function, Handler
from headrace_worker.limits import LOOP_BLOCKED_NOTICE_SECONDS, LOOP_BLOCKED_SECONDS, LOOP_LOOK_SECONDS

logger = logging.getLogger(__name__)


@contextmanager
def watched_loop(
    handlers: Iterable[Handler],
    *,
    look_seconds: float = LOOP_LOOK_SECONDS,
    blocked_seconds: float = LOOP_BLOCKED_SECONDS,
) -> Iterator[None]:
    """Watches the running loop while the block is entered; without async handlers there is nothing to watch."""
    names = {code: handler.name for handler in handlers if handler.is_async and (code := code_of(handler.function))}
    if not names:
        yield
        return
    watch = LoopWatch(names, threading.get_ident(), look_seconds, blocked_seconds)
    thread = threading.Thread(target=watch.run, name="headrace-loop-watch", daemon=True)
    watch.turn(asyncio.get_running_loop())
    thread.start()
    try:
        yield
    finally:
        watch.end()
        thread.join()


class LoopWatch:
    """Compares when the loop last turned with the time."""

    def __init__(
        self, names: Mapping[CodeType, str], thread_id: int, look_seconds: float, blocked_seconds: float
    ) -> None:
        self._names = names
        self._thread_id = thread_id
        self._look_seconds = look_seconds
        self._blocked_seconds = blocked_seconds
        self._turned = monotonic()
        self._noticed: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = threading.Event()

    def turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop turns. It calls this itself from now on."""
        self._turned = monotonic()
        self._timer = loop.call_later(self._look_seconds, self.turn, loop)

    def end(self) -> None:
        """Ends the thread. On the loop."""
        if self._timer is not None:
            self._timer.cancel()
        self._ended.set()

    def run(self) -> None:
        """The thread: looks now and then. After a look that came late the whole process stood still, not the loop."""
        before = monotonic()
        while not self._ended.wait(self._look_seconds):
            now = monotonic()
            if now - before < 2 * self._look_seconds:
                self._look(now)
            before = now

    def _look(self, now: float) -> None:
        still = now - self._turned
        if still < self._look_seconds + self._blocked_seconds:
            if self._noticed is not None:
                logger.warning("the event loop turns again")
            self._noticed = None
        elif self._noticed is None or now - self._noticed >= LOOP_BLOCKED_NOTICE_SECONDS:
            self._noticed = now
            logger.error(
                "the event loop has not turned for %.0f s: %s. Until it does, the worker's lease is not renewed. Code"
                " that blocks belongs into a function that is not async, which runs in a thread",
                still,
                self._culprit(),
            )

    def _culprit(self) -> str:
        frame = sys._current_frames().get(self._thread_id)
        if frame is None:
            return "its thread has ended"
        place = traceback.extract_stack(frame)[-1]
        where = f"{place.filename}:{place.lineno} in {place.name}"
        name = self._handler_of(frame)
        return f"handler {name!r} holds it at {where}" if name else f"it is held at {where}"

    def _handler_of(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            if frame.f_code in self._names:
                return self._names[frame.f_code]
            frame = frame.f_back
        return None


def code_of(function: Function) -> CodeType | None:
    """The code of a handler, below its decorators; None when there is none to recognise."""
    inner = inspect.unwrap(function)
    if not hasattr(inner, "__code__"):
        inner = getattr(inner, "__func__", None) or type(inner).__call__
    code = getattr(inner, "__code__", None)
    return code if isinstance(code, CodeType) else None
