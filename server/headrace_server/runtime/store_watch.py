"""Watches whether the store commits. When it does not, a write of its own finds out when it does again."""

import asyncio
import logging
from collections.abc import Callable

from headrace_server.core.refusal import Refused
from headrace_server.store.ledger import Ledger
from headrace_server.store.store import Store

log = logging.getLogger(__name__)

PROBE_SECONDS = 1.0
"""Without a failure for this long, a store that commits is taken for sound again: a nearly full disk fails now and
then."""


class StoreWatch:
    """Says that the store has failed, and that it is sound again."""

    def __init__(self, store: Store, said: Callable[[bool], None]) -> None:
        """`said` is told whether the store commits, whenever that changes."""
        self._store = store
        self._said = said
        self._failing = asyncio.Event()
        self._failures = 0
        store.on_failure(self._took_note)

    def _took_note(self, error: Refused) -> None:
        self._failures += 1
        if not self._failing.is_set():
            self._failing.set()
            log.error("the store can't commit, and this server takes no calls until it can: %s", error)
            self._said(False)

    async def run(self) -> None:
        """Probes while the store fails, until it is cancelled. Nobody else may ask, because nobody is sent here any
        more."""
        while True:
            await self._failing.wait()
            failures = self._failures
            await asyncio.sleep(PROBE_SECONDS)
            if failures == self._failures and await self._commits():
                self._failing.clear()
                log.warning("the store commits again")
                self._said(True)

    async def _commits(self) -> bool:
        try:
            await self._store.write(probe, bounded=False)
        except Refused:
            return False
        return True


def probe(ledger: Ledger) -> None:
    """Writes something that changes nothing."""
    ledger.run("UPDATE sequences SET value = value WHERE name = 'generation'")
