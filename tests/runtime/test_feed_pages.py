"""What followers of the feed share is right although commits and reads of the store overtake each other."""

import asyncio
from typing import Any, cast

from headrace_server.runtime.feed import Feed
from headrace_server.runtime.feed_pages import FeedPages
from headrace_server.store.effects import Effects
from headrace_server.store.records.feed_reads import FeedPage, last_position
from headrace_server.store.store import Store

DEADLINE_SECONDS = 5


class SlowStore:
    """Answers the question for the last position when it is told to; pages at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def read(self, query: Any, *arguments: Any) -> Any:
        if query is last_position:
            self.asked.set()
            return await self.answer
        after = arguments[0]
        return FeedPage(after, after + 1, (), (), 0, (), 0)


def test_e1_a_reader_that_comes_while_something_is_committed_hides_it_from_nobody() -> None:
    async def run() -> FeedPage | None:
        store = SlowStore()
        pages = FeedPages(cast(Store, store), Feed())
        pages.committed(Effects(position=6))
        comes = asyncio.ensure_future(pages.position())
        await asyncio.wait_for(store.asked.wait(), DEADLINE_SECONDS)
        pages.committed(Effects(position=7))
        store.answer.set_result(6)
        assert await asyncio.wait_for(comes, DEADLINE_SECONDS) == 7
        return await asyncio.wait_for(pages.page(6), DEADLINE_SECONDS)

    assert asyncio.run(run()) is not None
