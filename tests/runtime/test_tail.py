"""Pages at the end of a log are read once for all followers, and nobody misses what came meanwhile (E4)."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from headrace_server.runtime.tail import PAGE_OVERHEAD_BYTES, Tail


@dataclass(frozen=True, slots=True)
class Page:
    items: tuple[int, ...]
    size: int = 0

    @property
    def is_empty(self) -> bool:
        return not self.items


class Log:
    """Grows; each read waits until it is let go."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.reads = 0
        self.open = asyncio.Event()
        self.open.set()

    @property
    def version(self) -> int:
        return len(self.items)

    async def read(self, after: int) -> Page:
        self.reads += 1
        found = tuple(self.items[after:])
        await self.open.wait()
        return Page(found, size=len(found))


def page(tail: Tail[Page], log: Log, after: int = 0) -> Coroutine[Any, Any, Page]:
    return tail.page("log", after, log.version, lambda: log.read(after))


def test_e4_a_thousand_followers_at_one_place_cost_one_read() -> None:
    async def run() -> None:
        tail, log = Tail[Page](), Log()
        log.items += [1, 2, 3]
        found = await asyncio.gather(*(page(tail, log) for _ in range(1000)))
        assert {one.items for one in found} == {(1, 2, 3)}
        assert log.reads == 1
        assert (await page(tail, log)).items == (1, 2, 3)
        assert log.reads == 1

    asyncio.run(run())


def test_e1_that_there_was_nothing_is_not_believed_after_something_came() -> None:
    async def run() -> None:
        tail, log = Tail[Page](), Log()
        assert (await page(tail, log)).items == ()
        assert (await page(tail, log)).items == ()
        assert log.reads == 1
        log.items.append(1)
        assert (await page(tail, log)).items == (1,)

    asyncio.run(run())


def test_e1_a_read_that_began_before_something_came_is_not_shared_with_who_knows_of_it() -> None:
    async def run() -> None:
        tail, log = Tail[Page](), Log()
        log.open.clear()
        early = asyncio.ensure_future(page(tail, log))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.items.append(1)
        late = asyncio.ensure_future(page(tail, log))
        await asyncio.sleep(0)
        log.open.set()
        assert ((await early).items, (await late).items) == ((), (1,))
        assert log.reads == 2

    asyncio.run(run())


def test_a_follower_that_leaves_does_not_take_the_page_from_the_others() -> None:
    async def run() -> None:
        tail, log = Tail[Page](), Log()
        log.items.append(1)
        log.open.clear()
        first, second = asyncio.ensure_future(page(tail, log)), asyncio.ensure_future(page(tail, log))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        log.open.set()
        assert (await second).items == (1,)
        assert (first.cancelled(), log.reads) == (True, 1)

    asyncio.run(run())


def test_a_read_that_fails_fails_for_all_who_wait_and_is_tried_again() -> None:
    async def run() -> None:
        tail, log = Tail[Page](), Log()

        async def broken() -> Page:
            raise OSError("no disk")

        asked = [tail.page("log", 0, 0, broken) for _ in range(3)]
        assert [type(one) for one in await asyncio.gather(*asked, return_exceptions=True)] == [OSError] * 3
        log.items.append(1)
        assert (await page(tail, log)).items == (1,)
        with pytest.raises(OSError, match="no disk"):
            await tail.page("other", 0, 0, broken)

    asyncio.run(run())


def test_pages_are_kept_up_to_a_number_of_bytes_the_latest_used_ones() -> None:
    async def run() -> None:
        tail = Tail[Page](2 * (100 + PAGE_OVERHEAD_BYTES))

        async def of(number: int) -> Page:
            reads.append(number)
            return Page((number,), size=100)

        async def ask(number: int) -> None:
            await tail.page(number, 0, 1, lambda: of(number))

        reads: list[int] = []
        for number in (1, 2, 1, 3, 1, 2):
            await ask(number)
        assert reads == [1, 2, 3, 2]
        assert tail.bytes_count == 2 * (100 + PAGE_OVERHEAD_BYTES)

    asyncio.run(run())


def test_e8_what_is_forgotten_is_read_again_also_when_it_was_just_being_read() -> None:
    async def run() -> None:
        tail, log = Tail[Page](), Log()
        log.items += [1, 2]
        log.open.clear()
        early = asyncio.ensure_future(page(tail, log))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.items[0] = 9
        tail.forget()
        log.open.set()
        assert (await early).items == (1, 2)
        assert (await page(tail, log)).items == (9, 2)
        assert tail.bytes_count == 2 + PAGE_OVERHEAD_BYTES

    asyncio.run(run())
