"""The store of the simulated control plane: the real verbs on a real SQLite, committed when the simulation says so.

Only the thread is left out: what waits for the writer is committed in a step of its own, or is not.
"""

import asyncio
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any, Concatenate, ParamSpec, TypeVar
from unittest.mock import patch

import pysqlite3 as sqlite3

from headrace_server.core.ids import Micros
from headrace_server.store import store as stores
from headrace_server.store.effects import Effects
from headrace_server.store.engine import Connection
from headrace_server.store.errors import StoreFull, StoreUnavailable
from headrace_server.store.sqlite import SqliteConnection, SqliteEngine
from headrace_server.store.store import Store
from headrace_server.store.writer import Writer, _Operation, _Outcome
from simulation.loop import SimulatedLoop
from simulation.violation import Violation

P = ParamSpec("P")
T = TypeVar("T")


class Killed(BaseException):
    """The process was killed here."""


class CommitFault(Enum):
    """What happens to the next transaction."""

    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    DISK_FULL = "disk full"
    DISK_FULL_AT_ONCE = "disk full at once"


class MemoryEngine:
    """One SQLite database in memory; see `Engine`. It outlives the simulated process, as a file does."""

    exclusive = True

    def __init__(self) -> None:
        self.faults: deque[CommitFault] = deque()
        """Of the next transactions, in turn."""
        self.commits_count = 0
        self._raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=1024)
        with tempfile.TemporaryDirectory() as folder:
            SqliteEngine(Path(folder)).close()
            made = sqlite3.connect(str(Path(folder) / "headrace.db"))
            made.backup(self._raw)
            made.close()
        tables = self._raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        self._tables = [name for (name,) in tables.fetchall() if not name.startswith("_")]
        self._sequences = self._raw.execute("SELECT name, value FROM sequences").fetchall()

    def reset(self) -> None:
        """Empties the database. Much cheaper than a new one, whose statements would all have to be prepared anew."""
        self.faults.clear()
        self.commits_count = 0
        for table in self._tables:
            self._raw.execute(f"DELETE FROM {table}")
        self._raw.executemany("INSERT INTO sequences (name, value) VALUES (?, ?)", self._sequences)

    def migrate(self) -> None:
        """It was made by the migrations."""

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        fault = self.faults.popleft() if self.faults else None
        if fault is CommitFault.DISK_FULL_AT_ONCE:
            raise StoreFull("no room, says the simulation")
        try:
            self._raw.execute("BEGIN")
            yield SqliteConnection(self._raw)
            if fault is CommitFault.DISK_FULL:
                raise StoreFull("no room, says the simulation")
            if fault is CommitFault.KILLED_BEFORE:
                raise Killed
            self._raw.execute("COMMIT")
            self.commits_count += 1
        except BaseException:
            if self._raw.in_transaction:
                self._raw.execute("ROLLBACK")
            raise
        if fault is CommitFault.KILLED_AFTER:
            raise Killed

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        assert not self._raw.in_transaction, "a read in the middle of a transaction"
        yield SqliteConnection(self._raw)

    @contextmanager
    def trying(self) -> Iterator[Connection]:
        """A transaction that is never committed, and that no fault meets."""
        self._raw.execute("BEGIN")
        try:
            yield SqliteConnection(self._raw)
        finally:
            self._raw.execute("ROLLBACK")

    def close(self) -> None:
        """Nothing: it is reset and used again."""


class InlineWriter(Writer):
    """The group commit, whose thread ends as soon as it is started. Made while its loop is the running one."""

    def commit(self, count: int) -> bool:
        """Commits what waits, at most so many operations, in one transaction; false when nothing does."""
        group: list[_Operation] = []
        while len(group) < count and not self._operations.empty():
            operation = self._operations.get_nowait()
            assert operation is not None
            group.append(operation)
        if not group:
            return False
        outcomes, effects = self._commit(group)
        for outcome in outcomes:
            _check(outcome)
        self._loop.call_soon(self._answer, outcomes, effects)
        return True

    def close(self) -> None:
        """The process is gone."""
        self._closed = True

    def _run(self) -> None:
        """What waits is committed when the simulation says so."""


def _check(outcome: "_Outcome[Any]") -> None:
    if outcome.error is not None and not isinstance(outcome.error, StoreUnavailable):
        name = type(outcome.error).__name__
        raise Violation("no verb fails", f"a verb raised {name}: {outcome.error}") from outcome.error


class InlineStore(Store):
    """The store without threads. Reads wait, too, until the simulation lets them see a moment of the store."""

    writer: InlineWriter

    def __init__(
        self,
        engine: MemoryEngine,
        clock: Callable[[], Micros],
        entropy: Random,
        committed: Callable[[Effects], None],
        loop: SimulatedLoop,
    ) -> None:
        with loop.running(), patch.object(stores, "Writer", InlineWriter):
            super().__init__(engine, clock, entropy, committed)
        assert isinstance(self._writer, InlineWriter)
        self.writer = self._writer
        self._loop = loop
        self._reads: deque[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = deque()
        self._late: list[tuple[asyncio.Future[Any], Any]] = []
        self.slow = False
        """Something else happens between what a read sees and its answer."""

    async def read(self, query: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Waits for its turn, and sees the store as it is then."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._reads.append((lambda connection: query(connection, *arguments, **named), future))
        return await future

    def answer_reads(self) -> bool:
        """Gives every read that waits its turn; false when none is answered.

        While reads are slow they see the store now, and are answered later.
        """
        waiting, self._reads = self._reads, deque()
        with self._engine.reading() as connection:
            seen = [(future, query(connection)) for query, future in waiting if not future.done()]
        self._late += seen
        return not self.slow and self.answer_late()

    def answer_late(self) -> bool:
        """Answers reads that have seen the store; false when there are none."""
        late, self._late = self._late, []
        for future, result in late:
            if not future.done():
                future.set_result(result)
        return bool(late)

    @property
    def has_late(self) -> bool:
        """Whether a read has seen the store and was not answered."""
        return bool(self._late)
