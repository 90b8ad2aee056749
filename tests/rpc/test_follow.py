"""Streams of one job: what ends them, and how one finds its job by a unique key (E2)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import job_service_pb2 as pb
from headrace.v1 import watch_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.refusal import Reason, Refused
from headrace_server.rpc.streams.follow import Following, follow
from headrace_server.rpc.streams.log_cursor import decode_cursor, encode_cursor, job_of_cursor
from headrace_server.runtime import log_pages as pages
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.log_pages import LogPages
from headrace_server.runtime.registry import Registry
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.sqlite import SqliteEngine
from store.driving import NAMESPACE, Bench, new_job

ONE, TWO = JobId(b"1" * 16), JobId(b"2" * 16)


@pytest.mark.parametrize("named", [None, ONE])
def test_a_cursor_is_read_as_it_was_made(named: JobId | None) -> None:
    cursor = encode_cursor(3, 17, named)
    assert decode_cursor(cursor, 3, 20, ONE) == 17
    assert decode_cursor("", 3, 20, ONE) == 0


@pytest.mark.parametrize(
    "cursor", ["x", "1", "1:", "1:2:", "1:2:x", "1:2:3", "-1:2", "1:99", "2:1", "9" * 400, encode_cursor(1, 2, TWO)]
)
def test_a_cursor_that_is_not_of_the_job_is_refused(cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_cursor(cursor, 1, 20, ONE)
    assert refused.value.refusal.reason is Reason.INVALID_TOKEN


def test_a_cursor_of_a_keys_stream_names_the_job() -> None:
    assert job_of_cursor(encode_cursor(1, 2, ONE)) == ONE
    assert job_of_cursor("") is None
    with pytest.raises(Refused):
        job_of_cursor(encode_cursor(1, 2))


class Stream:
    """The side of a call that a stream writes to; `written` may do something after each message."""

    def __init__(self, written: Callable[[pb.WatchJobResponse], Awaitable[None]]) -> None:
        self.messages: list[pb.WatchJobResponse] = []
        self._written = written

    async def write(self, message: Any) -> None:
        response = pb.WatchJobResponse.FromString(message) if isinstance(message, bytes) else message
        self.messages.append(response)
        await self._written(response)

    def kinds(self) -> list[str | None]:
        """Of the messages."""
        return [message.WhichOneof("kind") for message in self.messages]


class Node:
    """A store, and what its followers share."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(SqliteEngine(folder))
        self.feed = Feed()
        self.draining = asyncio.Event()
        store, clock = self.bench.store, self.bench.clock
        self.logs = LogPages(store, self.feed, clock)
        self.all = Following(store, self.feed, Deltas(), Registry(30.0), clock, self.draining, 0.02, self.logs)

    def follow(self, request: pb.WatchJobRequest, written: Callable[[pb.WatchJobResponse], Awaitable[None]]) -> Stream:
        """Follows to the end."""
        stream = Stream(written)
        self.bench.run(asyncio.wait_for(follow(self.all, request, stream), 20))  # type: ignore[arg-type]  # as a Call
        return stream


@pytest.fixture
def node(tmp_path: Path) -> Any:
    node = Node(tmp_path / "data")
    yield node
    node.bench.close()


def test_a_stream_whose_job_is_deleted_meanwhile_says_so(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "EVENT_PAGE_COUNT", 1)
    (job,) = node.bench.submit()
    node.bench.cancel(job.id)

    async def delete_after_first(message: pb.WatchJobResponse) -> None:
        if message.WhichOneof("kind") == "batch":
            await node.bench.store.write(lambda ledger: delete(ledger, NAMESPACE, job.id, "", "tester"))

    stream = node.follow(pb.WatchJobRequest(job_id=job_id_text(job.id)), delete_after_first)
    assert stream.kinds() == ["opened", "batch", "end"]
    end = stream.messages[-1].end
    assert (end.reason, end.HasField("job")) == (watch_pb2.END_REASON_JOB_DELETED, False)


def test_e2_heartbeats_with_an_empty_cursor_come_until_the_key_has_a_job(node: Node) -> None:
    made: list[str] = []

    async def submit_after_second(message: pb.WatchJobResponse) -> None:
        if len(made) == 0 and message.WhichOneof("kind") == "heartbeat":
            made.append(message.cursor)
        elif len(made) == 1:
            new = new_job(unique_key="k", queue="default")
            (answer,) = await node.bench.store.write(lambda ledger: submit_each(ledger, [new]))
            made.append(job_id_text(answer.job.id))  # type: ignore[union-attr]  # it is accepted
            node.feed.wake(node.bench.effects[-1].keyed)

    request = pb.WatchJobRequest(unique_key={"key": "k", "wait": True}, no_follow=True)
    stream = node.follow(request, submit_after_second)
    assert stream.kinds() == ["heartbeat", "heartbeat", "opened", "batch", "end"]
    assert [message.cursor for message in stream.messages[:2]] == ["", ""]
    assert stream.messages[2].opened.job.id == made[1]
    assert all(message.cursor.endswith(made[1]) for message in stream.messages[2:])


def test_e2_waiting_for_a_key_ends_when_the_server_drains(node: Node) -> None:
    async def drain(message: pb.WatchJobResponse) -> None:
        node.draining.set()
        node.feed.wake_all()

    stream = node.follow(pb.WatchJobRequest(unique_key={"key": "k", "wait": True}), drain)
    assert stream.kinds() == ["heartbeat", "end"]
    assert stream.messages[-1].end.reason == watch_pb2.END_REASON_DRAINING
