"""The pages of logs that were read last, shared by all followers that are at the same place.

A page is known by its subject and by the place that it begins after. What it holds is true for good, though more may
have come since; that there was nothing is true only of one version of the subject. So pages are kept until there is no
room, and an empty one is used again only while the version is the same. So is one that its owner calls stale: it is
much shorter than what follows its place by now.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

PAGES_BYTES_MAX = 4 * 1024 * 1024
PAGE_OVERHEAD_BYTES = 1024
"""What a page counts besides its events."""


class _Page(Protocol):
    @property
    def size(self) -> int: ...

    @property
    def is_empty(self) -> bool: ...


P = TypeVar("P", bound=_Page)
Place = tuple[Hashable, int]


class Tail(Generic[P]):
    """Pages by subject and place, the latest used ones, up to a number of bytes."""

    def __init__(
        self, bytes_max: int = PAGES_BYTES_MAX, is_stale: Callable[[P], bool] = lambda page: page.is_empty
    ) -> None:
        """`is_stale` says which pages are used again only while the version is the same; empty ones have to be."""
        self._bytes_max = bytes_max
        self._is_stale = is_stale
        self._pages: dict[Place, tuple[P, int]] = {}
        self._bytes = 0
        self._reading: dict[tuple[Place, int], list[asyncio.Future[P]]] = {}
        """Who waits for a page that is just being read."""
        self._tasks: set[asyncio.Task[P]] = set()
        self._age = 0

    @property
    def bytes_count(self) -> int:
        """What the pages that are kept take."""
        return self._bytes

    async def page(self, subject: Hashable, after: int, version: int, read: Callable[[], Awaitable[P]]) -> P:
        """The page after a place; read once for all who ask meanwhile.

        It is empty only when there was nothing after the place at `version` of the subject, which the caller has to
        have learned before it asks. It may be shorter than what is there now: ask again after its end.
        """
        place = (subject, after)
        kept = self._pages.get(place)
        if kept is not None and (kept[1] == version or not self._is_stale(kept[0])):
            self._pages[place] = self._pages.pop(place)
            return kept[0]
        waiting = self._reading.get((place, version))
        if waiting is None:
            waiting = self._reading[place, version] = []
            task = asyncio.ensure_future(self._read(place, version, read))
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._done(place, version, waiting, done))
        # A future for each: one follower that leaves must not take the page from the others.
        mine: asyncio.Future[P] = asyncio.get_running_loop().create_future()
        waiting.append(mine)
        return await mine

    def forget(self) -> None:
        """Drops every page, those that are just being read too."""
        self._pages.clear()
        self._reading.clear()
        self._bytes = 0
        self._age += 1

    async def _read(self, place: Place, version: int, read: Callable[[], Awaitable[P]]) -> P:
        age = self._age
        page = await read()
        if age == self._age:
            self._keep(place, version, page)
        return page

    def _done(self, place: Place, version: int, waiting: list[asyncio.Future[P]], reading: asyncio.Task[P]) -> None:
        self._tasks.discard(reading)
        if self._reading.get((place, version)) is waiting:
            del self._reading[place, version]
        for one in waiting:
            if one.done():
                continue
            if reading.cancelled():
                one.cancel()
            elif (error := reading.exception()) is not None:
                one.set_exception(error)
            else:
                one.set_result(reading.result())
        if not reading.cancelled():
            reading.exception()

    def _keep(self, place: Place, version: int, page: P) -> None:
        earlier = self._pages.pop(place, None)
        if earlier is not None:
            self._bytes -= earlier[0].size + PAGE_OVERHEAD_BYTES
        self._pages[place] = (page, version)
        self._bytes += page.size + PAGE_OVERHEAD_BYTES
        while self._bytes > self._bytes_max:
            oldest, _ = self._pages.pop(next(iter(self._pages)))
            self._bytes -= oldest.size + PAGE_OVERHEAD_BYTES
