"""Watches whether the store commits. When it does not, a write of its own finds out when it does again."""

import asyncio
import logging
from collections.abc import Callable

from headrace_server.core.refusal import Refused
from headrace_server.store.ledger import Ledger
from headrace_server.store.store import Store

log = logging.getLogger(__name__)

PROBE_SECONDS = 1.0


class StoreWatch:
    """Says that the store has failed, and that it is sound again."""

    def __init__(self, store: Store, said: Callable[[bool], None]) -> None:
        """`said` is told whether the store commits, whenever that changes."""
        self._store = store
        self._said = said
        self._failing = asyncio.Event()
        store.on_commits(self._took_note)

    def _took_note(self, commits: bool) -> None:
        if commits is self._failing.is_set():
            if commits:
                self._failing.clear()
                log.warning("the store commits again")
            else:
                self._failing.set()
                log.error("the store can't commit; what is asked for is refused until it can")
            self._said(commits)

    async def run(self) -> None:
        """Probes while the store fails, until it is cancelled. Nobody else may ask, because nobody is sent here any more."""
        while True:
            await self._failing.wait()
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await self._store.write(probe, bounded=False)
            except Refused as error:
                log.debug("the store still can't commit: %s", error)


def probe(ledger: Ledger) -> None:
    """Writes something that changes nothing."""
    ledger.run("UPDATE sequences SET value = value WHERE name = 'generation'")
