"""The store as the layers above see it: writes in groups, reads on connections of their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Concatenate, ParamSpec, TypeVar

from headrace_server.core.ids import Micros
from headrace_server.store.effects import Effects
from headrace_server.store.engine import Connection, Engine
from headrace_server.store.records import reads
from headrace_server.store.writer import Writer

P = ParamSpec("P")
T = TypeVar("T")

READER_THREADS_COUNT = 2


class Store:
    """An open store. Made on the event loop that uses it."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], Micros],
        entropy: Random,
        committed: Callable[[Effects], None],
        is_disk_low: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self.now = clock
        """The time of what is written."""
        self.exclusive = engine.exclusive
        """Nobody else can grant a lease of this store."""
        self._writer = Writer(engine, clock, entropy, committed, is_disk_low)
        self._readers = ThreadPoolExecutor(READER_THREADS_COUNT, thread_name_prefix="store-reader")
        self.write = self._writer.write
        self.write_each = self._writer.write_each
        self.on_failure = self._writer.on_failure
        with engine.reading() as connection:
            self.generation = reads.generation(connection)

    @property
    def waiting_count(self) -> int:
        """Writes that are not answered yet."""
        return self._writer.waiting_count

    def failures_count(self) -> int:
        """How many groups could not be committed so far. Who plans by what is still to be committed looks whether it
        was."""
        return self._writer.failures_count

    async def read(self, query: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Runs a query of `reads`, `queues` or `workers` on one moment of the store."""

        def run() -> T:
            with self._engine.reading() as connection:
                return query(connection, *arguments, **named)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def close(self) -> None:
        """Commits what waits and closes the engine. Blocks; may be called twice."""
        self._writer.close()
        self._readers.shutdown()
        self._engine.close()
