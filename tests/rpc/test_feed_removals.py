"""Readers of the feed beside removals: what they want is sent, or a gap says that it is gone (E1, E7)."""

from collections.abc import Iterator
from typing import Any

import pytest

from headrace.v1 import event_service_pb2 as pb
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.records.feed_reads import FeedPage
from rpc.feed_reading import ALL, Node, opened
from store.driving import HOME, NAMESPACE


@pytest.fixture
def node() -> Iterator[Node]:
    with opened() as made:
        yield made


def test_e7_a_job_that_is_removed_while_a_page_is_read_is_still_its_workers(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = node.bench.running()
    node.bench.finish(lease)
    read = node.bench.store.read

    async def read_and_remove(query: Any, *arguments: Any) -> Any:
        found = await read(query, *arguments)
        if isinstance(found, FeedPage):
            await node.bench.store.write(lambda ledger: delete(ledger, NAMESPACE, lease.job_id, "", "tester"))
        return found

    monkeypatch.setattr(node.bench.store, "read", read_and_remove)
    # It has got the assignment, which says the worker, before.
    wanted = pb.WatchEventsRequest(scope=ALL, cursor="feed:1:2", no_follow=True, filter=f"worker_id = {HOME.worker}")
    stream = node.watch(wanted)
    assert (stream.positions(), stream.gaps()) == ([3, 4], [])
