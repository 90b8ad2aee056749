"""What is kept no longer than it has to be: of jobs that ended long ago first the output, then all of it; and rows that
have served their time (E8). Never anything live (I14).

Small steps with a pause between, each a transaction of its own, so that nobody else's write waits for more than one.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.refusal import Refused
from headrace_server.runtime.clock import Clock
from headrace_server.store.jobs import deletions
from headrace_server.store.ledger import Ledger
from headrace_server.store.records import expiry, output_expiry
from headrace_server.store.records.response_cache import drop_old_invalidations
from headrace_server.store.sessions.sessions import remove_sessions
from headrace_server.store.store import Store

log = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0
"""Between two sweeps."""
PAUSE_SECONDS = 0.02
"""Between two steps."""
JOBS_LOOKED_AT_COUNT = 1000
JOBS_REMOVED_COUNT = 50
"""In one transaction."""
DAY = 86_400 * SECOND
REQUESTS_KEPT_DAYS = 7
"""After the deletion of their job (S1)."""
STATISTICS_KEPT_DAYS = 2
SHARES_KEPT_DAYS = 30
MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long what is kept."""

    jobs_days: float
    """After their end; also of sessions that were closed, and of whose turns none is left."""
    audit_days: float
    output_days: float
    """After the end of their job."""


class Retention:
    """Sweeps, now and then."""

    def __init__(self, store: Store, clock: Clock, keeping: Keeping, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._keeping = keeping
        self._pause_seconds = pause_seconds

    async def run(self) -> None:
        """Sweeps until it is cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
            except Refused as error:
                log.debug("a sweep could not be committed: %s", error)

    async def sweep(self) -> None:
        """Removes everything whose time has passed. Raises Refused when the store can't commit a step."""
        await self._jobs()
        await self._output()
        await self._all(deletions.remove_some_log)
        deleted_by = self._ago(REQUESTS_KEPT_DAYS)
        await self._all(lambda ledger: expiry.drop_requests(ledger, deleted_by))
        made_by = self._ago(self._keeping.audit_days)
        await self._all(lambda ledger: expiry.drop_audit(ledger, made_by))
        minute = self._ago(STATISTICS_KEPT_DAYS) // MINUTE
        await self._all(lambda ledger: expiry.drop_statistics(ledger, minute))
        shares_by = self._ago(SHARES_KEPT_DAYS)
        await self._step(lambda ledger: _drop_marks(ledger, shares_by))
        await self._keys()

    async def _jobs(self) -> None:
        ended_by = self._ago(self._keeping.jobs_days)
        after: int | None = 0
        while after is not None:
            ids, after = await self._store.read(deletions.ended_long_ago, after, ended_by, JOBS_LOOKED_AT_COUNT)
            for start in range(0, len(ids), JOBS_REMOVED_COUNT):
                await self._remove(ids[start : start + JOBS_REMOVED_COUNT], ended_by)
        await self._all(lambda ledger: remove_sessions(ledger, ended_by, JOBS_REMOVED_COUNT))

    async def _output(self) -> None:
        ended_by = self._ago(self._keeping.output_days)
        after: int | None = 0
        while after is not None:
            ids, after = await self._store.read(output_expiry.old_outputs, after, ended_by, JOBS_REMOVED_COUNT)
            while ids:
                ids = ids[await self._drop_outputs(ids, ended_by) :]

    async def _drop_outputs(self, ids: list[JobId], ended_by: Micros) -> int:
        done = await self._store.write(lambda ledger: output_expiry.drop_outputs(ledger, ids, ended_by), bounded=False)
        await asyncio.sleep(self._pause_seconds)
        return done

    async def _remove(self, ids: list[JobId], ended_by: Micros) -> None:
        await self._store.write(lambda ledger: deletions.remove_ended(ledger, ids, ended_by), bounded=False)
        await asyncio.sleep(self._pause_seconds)

    async def _keys(self) -> None:
        after: int | None = 0
        while after is not None:
            after = await self._keys_after(after)

    async def _keys_after(self, after: int) -> int | None:
        following = await self._store.write(lambda ledger: expiry.drop_idle_keys(ledger, after), bounded=False)
        await asyncio.sleep(self._pause_seconds)
        return following

    async def _all(self, verb: Callable[[Ledger], bool]) -> None:
        more = True
        while more:
            more = await self._store.write(verb, bounded=False)
            await asyncio.sleep(self._pause_seconds)

    async def _step(self, verb: Callable[[Ledger], None]) -> None:
        await self._store.write(verb, bounded=False)

    def _ago(self, days: float) -> Micros:
        return Micros(max(0, self._clock.now() - int(days * DAY)))


def _drop_marks(ledger: Ledger, shares_by: Micros) -> None:
    expiry.drop_idle_marks(ledger, shares_by)
    drop_old_invalidations(ledger)
