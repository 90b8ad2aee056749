"""How queues do: what committed transactions tell is counted in memory, and written down every few seconds.

Never on the way of a commit: a server that is killed forgets what it has not written down yet, and nothing else.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from dataclasses import dataclass

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.quantiles import bucket_of
from headrace_server.core.refusal import Refused
from headrace_server.runtime.clock import Clock
from headrace_server.store.effects import Effects, Measure
from headrace_server.store.records.statistics import (
    LATER_START,
    MINUTE,
    Counted,
    Totals,
    add_counts,
    first_minute,
    read_totals,
)
from headrace_server.store.store import Store

log = logging.getLogger(__name__)

WRITE_SECONDS = 5.0
RATE_MINUTES = 5
"""What a rate of starts is over."""

_TIMES = frozenset({Measure.STARTED, Measure.ATTEMPT_ENDED})


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in a queue in a time."""

    begin: Micros
    end: Micros
    totals: Totals

    @property
    def seconds(self) -> float:
        """How long the time is."""
        return (self.end - self.begin) / SECOND


class Statistics:
    """Counts what happens in queues, for the event loop that it was made on."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._began = clock.now()
        self._pending: Counter[Counted] = Counter()
        self._starts: defaultdict[tuple[str, str], Counter[int]] = defaultdict(Counter)
        """Starts of a queue, by minute."""
        self._writing = asyncio.Lock()
        """Held while what was counted is neither in memory nor in the store for sure."""

    def committed(self, effects: Effects) -> None:
        """Counts what a transaction told."""
        if not effects.measured:
            return
        minute = self._clock.now() // MINUTE
        pending = self._pending
        started: dict[tuple[str, str], int] = {}
        for (measure, namespace, queue, value), count in Counter(effects.measured).items():
            if measure is Measure.STARTED:
                started[namespace, queue] = started.get((namespace, queue), 0) + count
            value_or_bucket = _bucket(value) if measure in _TIMES else value
            counted = (namespace, queue, minute, measure, value_or_bucket)
            pending[counted] = pending.get(counted, 0) + count
        for name, count in started.items():
            self._starts[name][minute] += count

    async def run(self) -> None:
        """Writes down what was counted, every few seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Writes down what was counted; what can't be written now is kept for the next time."""
        async with self._writing:
            counted, self._pending = self._pending, Counter()
            self._forget_old_starts()
            if not counted:
                return
            try:
                await self._store.write(lambda ledger: add_counts(ledger, counted), bounded=False)
            except Refused as error:
                self._pending.update(counted)
                log.debug("statistics could not be written down: %s", error)

    async def window(self, namespace: str, queue: str, seconds: float, not_before: Micros) -> Window:
        """What happened in a queue in the last so many seconds; minutes are counted whole, so up to a minute more. Less
        where `not_before` is later, or where the first that was ever counted is."""
        async with self._writing:
            end = self._clock.now()
            first = int(end - seconds * SECOND) // MINUTE
            known = await self._store.read(first_minute)
            totals = await self._store.read(read_totals, namespace, queue, first)
        since = self._began if known is None else min(self._began, known * MINUTE)
        for (of_namespace, of_queue, minute, measure, value), count in self._pending.items():
            if (of_namespace, of_queue) == (namespace, queue) and minute >= first:
                totals.add(measure, value, count)
        return Window(Micros(min(end, max(first * MINUTE, not_before, since))), end, totals)

    def start_rate(self, namespace: str, queue: str) -> float:
        """Attempts that this node's transactions started in the last minutes, for each second since the first of them:
        a queue that was empty before is not slow. The first minute counts as a whole."""
        now = self._clock.now()
        first = now // MINUTE - RATE_MINUTES
        recent = {
            minute: count for minute, count in self._starts.get((namespace, queue), {}).items() if minute >= first
        }
        if not recent:
            return 0.0
        begin = max(min(recent) * MINUTE, self._began)
        return sum(recent.values()) * SECOND / max(now - begin, MINUTE)

    def _forget_old_starts(self) -> None:
        first = self._clock.now() // MINUTE - RATE_MINUTES
        for queue, starts in list(self._starts.items()):
            for minute in [minute for minute in starts if minute < first]:
                del starts[minute]
            if not starts:
                del self._starts[queue]


def _bucket(micros: int) -> int:
    return bucket_of(micros) if micros >= 0 else LATER_START
