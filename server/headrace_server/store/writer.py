"""Group commit: one thread that runs the verbs that wait, together, in one transaction after the other.

Operations that arrive while a transaction runs commit together in the next one, and each caller is answered only
after its commit. When an operation of a group fails, all run again one by one, so one caller's fault is its own. When
the transaction can't begin or commit, that is nobody's fault, and all are refused at once.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from headrace_server.core.ids import Micros
from headrace_server.core.limits import COMMIT_BATCH_COUNT_MAX, COMMIT_QUEUE_COUNT_MAX
from headrace_server.store.attempts.wanted import note_stops
from headrace_server.store.effects import Effects
from headrace_server.store.engine import Engine
from headrace_server.store.errors import StoreBusy, StoreUnavailable
from headrace_server.store.ledger import Ledger
from headrace_server.store.memory import Memory
from headrace_server.store.settle import settle

T = TypeVar("T")
Item = TypeVar("Item")
EachVerb = Callable[[Ledger, Sequence[Item]], list[T]]

CROWD_COUNT = 4
"""A commit with so many callers that wait is followed by a short window, in which the next crowd gathers."""
CROWD_WINDOW_SECONDS = 0.003

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Operation:
    verb: Callable[..., Any]
    argument: Any
    """For a verb of many items: one of them."""
    each: bool
    crowd: bool
    future: "asyncio.Future[Any]"


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    operation: _Operation
    value: T | None
    error: BaseException | None


class Writer:
    """The writing side of a store, for the event loop that it was started on."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], Micros],
        entropy: Random,
        committed: Callable[[Effects], None],
        is_disk_low: Callable[[], bool] = lambda: False,
    ) -> None:
        """`committed` is called on the event loop after every commit, before the callers are answered."""
        self._engine = engine
        self._clock = clock
        self._entropy = entropy
        self._committed = committed
        self._is_disk_low = is_disk_low
        self._tell_failure: Callable[[StoreUnavailable], None] = lambda error: None
        self._operations: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._memory = Memory()
        self.failures_count = 0
        """Groups that could not be committed."""
        self._waiting = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def write(self, verb: Callable[[Ledger], T], *, bounded: bool = True) -> "asyncio.Future[T]":
        """Runs a verb after everything that was asked for before; its result comes after the commit.

        Raises StoreBusy at once when too many writes wait, unless it is not `bounded`: what the control plane itself
        has to write never stands back behind its clients. The future raises StoreUnavailable or StoreFull when it
        can't be committed.
        """
        return self._enqueue(_Operation(verb, None, False, False, self._loop.create_future()), bounded)

    def write_each(self, verb: EachVerb[Item, T], item: Item, *, crowd: bool = False) -> "asyncio.Future[T]":
        """Runs a verb of many items on this one, in one call with those of other callers that wait.

        `crowd` says that it comes from one of many callers who each wait for one such write: gathering them pays, and
        their number is bounded. What workers send is bounded by their slots and credits instead.
        """
        return self._enqueue(_Operation(verb, item, True, crowd, self._loop.create_future()), crowd)

    def on_failure(self, tell: Callable[[StoreUnavailable], None]) -> None:
        """Has it told, on the event loop, of every group of which something could not be committed."""
        self._tell_failure = tell

    def close(self) -> None:
        """Commits what waits, then ends the thread. May be called twice."""
        if not self._closed:
            self._closed = True
            self._operations.put(None)
        self._thread.join()

    @property
    def waiting_count(self) -> int:
        """Writes that are not answered yet."""
        return self._waiting

    def _enqueue(self, operation: _Operation, bounded: bool) -> "asyncio.Future[Any]":
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if bounded and self._waiting >= COMMIT_QUEUE_COUNT_MAX:
            raise StoreBusy(self._waiting)
        self._waiting += 1
        self._operations.put(operation)
        return operation.future

    def _run(self) -> None:
        ended = False
        crowded = False
        while not ended:
            first = self._operations.get()
            group: list[_Operation] = []
            ended = self._gather(first, group)
            if crowded and not ended and any(operation.crowd for operation in group):
                ended = self._gather_crowd(group)
            if group:
                outcomes, effects = self._commit(group)
                self._loop.call_soon_threadsafe(self._answer, outcomes, effects)
            crowded = sum(operation.crowd for operation in group) >= CROWD_COUNT

    def _gather(self, first: _Operation | None, group: list[_Operation]) -> bool:
        """Takes what waits, up to a group's size; true when the end was asked for."""
        operation = first
        while operation is not None:
            group.append(operation)
            if len(group) >= COMMIT_BATCH_COUNT_MAX:
                return False
            try:
                operation = self._operations.get_nowait()
            except queue.Empty:
                return False
        return True

    def _gather_crowd(self, group: list[_Operation]) -> bool:
        """Waits a moment for the callers that the last commit has just answered."""
        time.sleep(CROWD_WINDOW_SECONDS)  # noqa: TID251  # on a thread of its own, and what it waits for is more callers
        try:
            late = self._operations.get_nowait()
        except queue.Empty:
            return False
        return self._gather(late, group)

    def _commit(self, group: list[_Operation]) -> tuple[list[_Outcome[Any]], list[Effects]]:
        running = False
        begun = time.perf_counter()
        try:
            with self._engine.writing() as connection:
                running = True
                ledger = Ledger(connection, self._clock(), self._entropy, self._memory, self._is_disk_low())
                outcomes = _run(group, ledger)
                running = False
        except Exception as error:
            if running and len(group) > 1:
                log.warning("one of %d writes failed, and all are run one by one: %s", len(group), error)
                alone = [self._commit([operation]) for operation in group]
                return [one for outcomes, _ in alone for one in outcomes], [one for _, all_ in alone for one in all_]
            if not isinstance(error, StoreUnavailable):
                log.exception("a write failed")
            self.failures_count += 1
            return [_Outcome(operation, None, error) for operation in group], []
        ledger.effects.commit_seconds = time.perf_counter() - begun
        if self._engine.exclusive:
            ledger.remember()
        return outcomes, [ledger.effects]

    def _answer(self, outcomes: list[_Outcome[Any]], effects: list[Effects]) -> None:
        for one in effects:
            self._committed(one)
        failed = next((one.error for one in outcomes if isinstance(one.error, StoreUnavailable)), None)
        if failed is not None:
            self._tell_failure(failed)
        self._waiting -= len(outcomes)
        for outcome in outcomes:
            future = outcome.operation.future
            if future.done():
                continue
            if outcome.error is not None:
                future.set_exception(outcome.error)
            else:
                future.set_result(outcome.value)


def _run(group: list[_Operation], ledger: Ledger) -> list[_Outcome[Any]]:
    outcomes: list[_Outcome[Any]] = []
    for same in _runs(group):
        if same[0].each:
            results = same[0].verb(ledger, [operation.argument for operation in same])
            outcomes += [_Outcome(operation, value, None) for operation, value in zip(same, results, strict=True)]
        else:
            outcomes.append(_Outcome(same[0], same[0].verb(ledger), None))
    settle(ledger)
    note_stops(ledger)
    ledger.flush()
    return outcomes


def _runs(group: list[_Operation]) -> list[list[_Operation]]:
    """Operations in order, those of the same verb of many items beside each other taken together."""
    runs: list[list[_Operation]] = []
    for operation in group:
        if runs and operation.each and runs[-1][0].each and runs[-1][0].verb is operation.verb:
            runs[-1].append(operation)
        else:
            runs.append([operation])
    return runs
