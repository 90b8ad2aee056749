"""Random histories of a store with readers of its feed that are cut off at random: what they get is the log (I9)."""

import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.v1 import event_service_pb2 as pb
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.rpc.streams import feed_stream
from headrace_server.runtime import feed_pages
from headrace_server.store.jobs.deletions import delete
from rpc.feed_reading import ALL, Node, opened
from store.driving import HOME, NAMESPACE, new_job, offer


class Cut(Exception):
    """The reader went away."""


@dataclass
class Reader:
    """A reader that is cut off now and then, and what it has got."""

    request: pb.WatchEventsRequest
    patience: Random
    cursor: str = "feed:1:0"
    got: dict[int, bytes] = field(default_factory=dict)
    missing: list[tuple[int, int]] = field(default_factory=list)
    owed: set[int] = field(default_factory=set)
    """Positions that were removed before it had read them."""
    position: int = 0

    @property
    def place(self) -> int:
        """The position that its cursor names."""
        return int(self.cursor.rpartition(":")[2])

    async def written(self, message: pb.WatchEventsResponse) -> None:
        if self.patience.random() < 0.3:
            raise Cut
        for event in message.batch.events:
            assert event.event.position > self.position, "once and in order"
            self.position = event.event.position
            self.got[self.position] = event.event.SerializeToString(deterministic=True)
        if message.HasField("gap"):
            assert message.gap.from_position > self.position
            self.position = message.gap.to_position
            self.missing.append((message.gap.from_position, message.gap.to_position))
        self.cursor = message.cursor

    def read(self, node: Node) -> None:
        """To the end of what is there, over as many streams as it takes."""
        ended = False
        while not ended:
            request = pb.WatchEventsRequest(scope=ALL, no_follow=True, cursor=self.cursor)
            request.filter = self.request.filter
            try:
                stream = node.watch(request, self.written)
                ended = stream.messages[-1].HasField("end")
            except Cut:
                continue


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 2)),
        st.tuples(st.just("cancel"), st.integers(0, 8)),
        st.tuples(st.just("run"), st.integers(0, 8)),
        st.tuples(st.just("delete"), st.integers(0, 8)),
        st.tuples(st.just("read"), st.integers(0, 2)),
    ),
    max_size=40,
)
FILTERS = ("", "owner = anna", "type = (cancelled OR submitted)")


class History:
    """What happens to a store, with readers beside it, and all that was ever committed."""

    def __init__(self, node: Node, seed: int) -> None:
        self._node = node
        self._jobs: list[Any] = []
        self._gone: set[JobId] = set()
        self.removed: set[int] = set()
        self.log: dict[int, pb.FeedEvent] = {}
        self.readers = [
            Reader(pb.WatchEventsRequest(filter=text), Random(seed + place)) for place, text in enumerate(FILTERS)
        ]

    def act(self, action: str, number: int) -> None:
        """Does one thing, where it can be done."""
        if action == "read":
            return self.readers[number].read(self._node)
        if action == "submit":
            owners = ("me", "anna", "bob")
            self._jobs += self._node.bench.submit(new_job(owner=owners[number]))
        elif number < len(self._jobs) and self._jobs[number].id not in self._gone:
            getattr(self, f"_{action}")(self._jobs[number].id)
        for event in self._node.list(oldest_first=True, page_size=500).events:
            self.log.setdefault(event.event.position, event)

    def _cancel(self, job_id: JobId) -> None:
        self._node.bench.cancel(job_id)

    def _run(self, job_id: JobId) -> None:
        """Runs whatever is first."""
        lease = next(iter(self._node.bench.cycle(offer(HOME)).granted), None)
        if lease is not None:
            self._node.bench.hear(starts=[lease.lease])
            self._node.bench.finish(lease.lease)

    def _delete(self, job_id: JobId) -> None:
        if self._node.bench.write(delete, NAMESPACE, job_id, "", "tester") is None:
            self._gone.add(job_id)
            of_job = {position for position, event in self.log.items() if event.event.job_id == job_id_text(job_id)}
            self.removed |= of_job
            for reader in self.readers:
                reader.owed |= {position for position in of_job if position > reader.place}


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS, seed=st.integers(0, 1 << 32), count=st.sampled_from([1, 2, 3, 512]))
def test_i9_a_readers_stream_is_the_log_or_a_gap_says_what_is_missing(
    actions: list[tuple[str, int]], seed: int, count: int
) -> None:
    with opened() as node, pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_pages, "EVENT_PAGE_COUNT", count)
        patch.setattr(feed_stream, "EVENT_PAGE_COUNT", count)
        history = History(node, seed)
        for action, number in actions:
            history.act(action, number)
        for reader, text in zip(history.readers, FILTERS, strict=True):
            reader.read(node)
            check(reader, text, history)


def check(reader: Reader, text: str, history: History) -> None:
    """Everything that the filter matches was got, byte for byte, or is inside of a gap."""
    gaps = {position for first, last in reader.missing for position in range(first, last + 1)}
    wanted = {position for position, event in history.log.items() if matches(event, text)}
    assert set(reader.got) <= wanted
    assert wanted - set(reader.got) <= gaps & history.removed
    assert reader.owed <= gaps | set(reader.got), "what was removed before it was read is told"
    digest = hashlib.sha256(b"".join(reader.got[position] for position in sorted(reader.got)))
    expected = [history.log[position].event.SerializeToString(deterministic=True) for position in sorted(reader.got)]
    assert digest.digest() == hashlib.sha256(b"".join(expected)).digest()


def matches(event: pb.FeedEvent, text: str) -> bool:
    if text.startswith("owner"):
        return event.owner == "anna"
    return not text or event.event.WhichOneof("kind") in ("cancelled", "submitted")
