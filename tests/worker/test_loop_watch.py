"""A blocked event loop is noticed: who holds it and where stands in the log. Work in threads does not block it."""

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from headrace.worker import BlockingHandlerContext
from headrace_worker.executors.handler import handler_of
from headrace_worker.loop_watch import code_of, watched_loop
from worker.agent_running import handler_spec
from worker.agent_server import ScriptedServer
from worker.handler_running import play_handler

SECONDS = 20.0
LOOK_SECONDS = 0.05
BLOCKED_SECONDS = 0.1


class Said(logging.Handler):
    """What the watch has logged; `anything` is set with the first of it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.anything = threading.Event()
        self.turns_again = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.anything.set()
        if "turns again" in record.getMessage():
            self.turns_again.set()


def watched(function: Callable[..., Any], run: Callable[[Said], Any]) -> list[str]:
    """What is logged while a coroutine runs under a watch that knows the function as the handler `slow`."""
    said = Said()
    log = logging.getLogger("headrace_worker.loop_watch")

    async def main() -> None:
        handlers = [handler_of("slow", function)]
        with watched_loop(handlers, look_seconds=LOOK_SECONDS, blocked_seconds=BLOCKED_SECONDS):
            await run(said)

    log.addHandler(said)
    try:
        uvloop.run(main())
    finally:
        log.removeHandler(said)
    assert "headrace-loop-watch" not in {thread.name for thread in threading.enumerate()}
    return said.messages


async def slow(values: dict[str, Any], said: Any = None) -> None:
    said.anything.wait(SECONDS)


def test_a_handler_that_blocks_the_loop_is_named_with_the_place() -> None:
    async def run(said: Said) -> None:
        await slow({}, said)
        assert await asyncio.to_thread(said.turns_again.wait, SECONDS)

    blocked, again = watched(slow, run)
    assert "handler 'slow' holds it at" in blocked
    assert "in wait" in blocked
    assert "lease is not renewed" in blocked
    assert "turns again" in again


def test_what_is_no_handler_is_named_by_its_place() -> None:
    async def run(said: Said) -> None:
        said.anything.wait(SECONDS)
        assert await asyncio.to_thread(said.turns_again.wait, SECONDS)

    assert watched(slow, run)[0].startswith("the event loop has not turned for")
    assert "handler" not in watched(slow, run)[0].partition(". Until")[0]


def test_a_loop_that_turns_is_not_spoken_of() -> None:
    async def run(said: Said) -> None:
        assert not await asyncio.to_thread(said.anything.wait, 5 * LOOK_SECONDS + BLOCKED_SECONDS)

    assert watched(slow, run) == []


def test_without_async_handlers_nothing_watches() -> None:
    async def run(said: Said) -> None:
        assert "headrace-loop-watch" not in {thread.name for thread in threading.enumerate()}

    assert watched(lambda values: None, run) == []


class Greeter:
    """A handler that is no function."""

    async def __call__(self, values: dict[str, Any]) -> None: ...

    async def method(self, values: dict[str, Any]) -> None: ...


@functools.wraps(slow)
async def decorated(values: dict[str, Any], said: Any = None) -> None:
    await slow(values, said)


def test_handlers_are_recognised_below_their_decorators() -> None:
    assert code_of(decorated) is code_of(slow) is slow.__code__
    assert code_of(Greeter()) is Greeter.__call__.__code__
    assert code_of(Greeter().method) is Greeter.method.__code__


def test_l4_a_handler_that_blocks_its_thread_for_many_renewals_keeps_the_lease(tmp_path: Path) -> None:
    release = threading.Event()

    def blocks(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.write("blocking")
        assert release.wait(SECONDS)

    async def scenario(server: ScriptedServer) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.outputs)
        await server.until_renewed(10)
        assert [held.lease.job_id for held in server.control.renewals[-1].held] == ["job-1"]
        release.set()
        await server.until(lambda: attempt.finishes)
        assert (attempt.outcome, len(server.controls)) == ("succeeded", 1)

    play_handler(tmp_path, blocks, scenario)
