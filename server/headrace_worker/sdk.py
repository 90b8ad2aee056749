"""`Worker`: a worker in a user's own program, for Python functions registered as handlers.

    worker = Worker("localhost:7410", slots=8)

    @worker.handler("resize")
    def resize(input: dict, context: BlockingHandlerContext) -> dict: ...

    worker.run()

It puts an agent together and runs it; nothing of the protocol is in here.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from headrace.v1 import worker_pb2
from headrace_worker.agent import Agent, EndCause, Ending, Terms
from headrace_worker.channel import DEFAULT_ADDRESS
from headrace_worker.connection import Identity
from headrace_worker.executors.handler import Handler, HandlerExecutor, handler_of
from headrace_worker.host import host_name, new_incarnation, software_version, state_folder, worker_id_of
from headrace_worker.limits import (
    DRAIN_SECONDS_DEFAULT,
    HANDLER_NAME_CHARACTERS_MAX,
    SLOTS_COUNT_MAX,
    THREADS_COUNT_MAX,
)
from headrace_worker.loop_watch import watched_loop
from headrace_worker.signals import ending_by_signal

Function = TypeVar("Function", bound=Callable[..., Any])


class WorkerDismissed(Exception):
    """The server does not take this worker: another process uses its id, or it speaks another protocol."""


class Worker:
    """Runs registered functions as jobs of a control plane."""

    def __init__(
        self,
        server: str = DEFAULT_ADDRESS,
        *,
        slots: int = 8,
        id: str | None = None,
        labels: Mapping[str, str] | None = None,
        drain_seconds: float = DRAIN_SECONDS_DEFAULT,
        data: Path | None = None,
    ) -> None:
        """`server`: `host:port` or `unix:PATH`. `slots`: jobs that run at once. `id`: a name that no other worker has;
        the default is of this process alone. `labels`: what jobs may ask for. `drain_seconds`: how long running jobs
        may go on after the first signal. `data`: where output waits that the server has not taken yet.
        """
        if not 1 <= slots <= SLOTS_COUNT_MAX:
            raise ValueError(f"slots has to be 1 to {SLOTS_COUNT_MAX}, not {slots}")
        self.server = server
        self.slots = slots
        self.id = id or worker_id_of(f"{host_name()}-{os.getpid()}")
        self.labels = dict(labels or {})
        self.handlers: dict[str, Handler] = {}
        self._terms = Terms(drain_seconds=drain_seconds)
        self.data = data

    def handler(self, name: str) -> Callable[[Function], Function]:
        """Registers a function under a name that HandlerTasks use.

        It gets the job's input as a dict and, when it takes a second argument, a context: a `HandlerContext` for async
        functions, a `BlockingHandlerContext` for others, which run in threads. It returns any JSON value. It raises
        `Snooze` to run later, `HandlerFailure` or `InvalidInput` to fail with a class; anything else fails the attempt
        as ERROR. An async function runs on the worker's event loop and must not block it: the lease is renewed there.
        A function in a thread that ignores a cancel keeps its slot until it returns.
        Raises ValueError for a name that is taken or none, TypeError for a function that can't be called with an input.
        """
        if not 1 <= len(name) <= HANDLER_NAME_CHARACTERS_MAX or worker_id_of(name) != name:
            raise ValueError(f"{name!r} is no name: 1 to {HANDLER_NAME_CHARACTERS_MAX} of A-Z a-z 0-9 _ . -")
        if name in self.handlers:
            raise ValueError(f"a handler {name!r} is registered already")

        def register(function: Function) -> Function:
            self.handlers[name] = handler_of(name, function)
            return function

        return register

    def run(self) -> None:
        """Works until it is drained: by SIGTERM or SIGINT (a second one ends it at once), or by the server.

        Only in the main thread. Raises WorkerDismissed, and ValueError for an address that is none.
        """
        uvloop.run(self._run())

    async def serve(self) -> None:
        """Works on the running loop until the server drains it or the task is cancelled. Raises as `run` does."""
        with self._agent() as agent:
            check(await agent.run())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works while the block is entered: connected when it begins, drained when it ends. Raises as `run` does."""
        with self._agent() as agent:
            async with asyncio.TaskGroup() as tasks:
                working = tasks.create_task(agent.run())
                connected = tasks.create_task(agent.wait_connected())
                await asyncio.wait((working, connected), return_when=asyncio.FIRST_COMPLETED)
                connected.cancel()
                try:
                    if not working.done():
                        yield
                finally:
                    agent.drain()
        check(working.result())

    async def _run(self) -> None:
        with self._agent() as agent, ending_by_signal(agent):
            check(await agent.run())

    @contextmanager
    def _agent(self) -> Iterator[Agent]:
        if not self.handlers:
            raise ValueError("the worker has no handler: register one with @worker.handler(name)")
        threads = ThreadPoolExecutor(min(self.slots, THREADS_COUNT_MAX), "headrace-handler")
        executor = HandlerExecutor(self.handlers, threads)
        identity = Identity(
            self.id,
            new_incarnation(),
            self.slots,
            worker_pb2.WorkerCapabilities(executors=["handler"], handlers=executor.names, labels=self.labels),
            host_name(),
            software_version(),
        )
        data = self.data or state_folder() / "workers" / self.id
        try:
            with watched_loop(self.handlers.values()):
                yield Agent(self.server, identity, {"handler": executor.run}, data, self._terms)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def check(ending: Ending) -> None:
    """Raises WorkerDismissed when the server did not take the worker."""
    if ending.cause is EndCause.DISMISSED:
        raise WorkerDismissed(ending.message)
