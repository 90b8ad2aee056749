"""Random histories of a job and of readers of its log: a stream is the log, or a gap says what is missing (I9, E8)."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.v1 import event_pb2, watch_pb2
from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId
from headrace_server.core.states import ENDED
from headrace_server.rpc.streams import follow as follows
from headrace_server.runtime import log_pages as shared
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.records import log_pages, output_expiry
from headrace_server.store.records.output_kinds import kind_of
from rpc.log_reading import Node, said

KINDS = ("stdout", "stderr", "messages", "progress")
ATTEMPTS = 3


class Cut(Exception):
    """The connection breaks."""


@dataclass
class Reader:
    """One that keeps its cursor, and what it was told before each cut."""

    wanted: dict[str, Any]
    cursor: str = ""
    events: list[event_pb2.Event] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    ended: bool = False

    def wants(self, event: event_pb2.Event) -> bool:
        """By the event alone."""
        is_output = event.HasField("output")
        outputs = self.wanted.get("outputs", [])
        if is_output and (self.wanted.get("without_output") or (outputs and kind_of(event.output) not in outputs)):
            return False
        return event.attempt in (0, self.wanted.get("attempt", 0)) or not self.wanted.get("attempt")

    def read(self, node: Node, job_id: JobId, messages: int) -> None:
        """Reads what is there, or is cut off after some messages."""
        room = [messages]

        async def take(message: pb.WatchJobResponse) -> None:
            if not room[0]:
                raise Cut
            room[0] -= 1
            self.cursor = message.cursor
            self.events += message.batch.events
            if message.HasField("gap"):
                self.gaps.append((message.gap.from_sequence, message.gap.to_sequence))
            self.ended = message.end.reason == watch_pb2.END_REASON_JOB_ENDED

        try:
            node.read(job_id, take, cursor=self.cursor, **self.wanted)
        except Cut:
            return


Filters = st.sampled_from(
    [
        {},
        {"without_output": True},
        {"outputs": [2]},
        {"outputs": [1, 4]},
        {"attempt": 1},
        {"attempt": 2, "outputs": [3]},
        {"max_bytes_per_second": 10_000_000},
    ]
)
Step = st.one_of(
    st.tuples(st.just("say"), st.lists(st.sampled_from(KINDS), min_size=1, max_size=12)),
    st.tuples(st.just("fail"), st.just(0)),
    st.tuples(st.just("read"), st.tuples(st.integers(0, 3), st.integers(1, 6))),
)
Later = st.one_of(
    st.tuples(st.just("drop"), st.integers(1, 9)),
    st.tuples(st.just("read"), st.tuples(st.integers(0, 3), st.integers(1, 6))),
)


@contextmanager
def pages_of(count: int, size: int, scanned: int) -> Iterator[None]:
    with (
        patch.object(shared, "EVENT_PAGE_COUNT", count),
        patch.object(follows, "EVENT_PAGE_BYTES", size),
        patch.object(log_pages, "SCANNED_COUNT", scanned),
        patch.object(follows, "UNTOLD_SEQUENCES_COUNT", 5),
    ):
        yield


class History:
    """A job that says things, fails, and ends, and whose output is then removed bit by bit."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.lease: Lease = node.bench.running()
        self.job_id = self.lease.job_id
        self.said = 0

    def say(self, kinds: list[str]) -> None:
        outputs = [said(kind, self.said + n) for n, kind in enumerate(kinds, start=1)]
        self.node.bench.append(self.lease, *outputs)
        self.said += len(kinds)

    def fail(self) -> None:
        """The attempt fails and the next one begins; the last one goes on."""
        if self.lease.epoch == ATTEMPTS:
            return
        self.node.bench.fail(self.lease, FailureClass.CRASH, outputs=self.said)
        self.node.bench.clock.advance(3600)
        self.lease, self.said = self.node.bench.assign(self.job_id), 0

    def end(self) -> list[event_pb2.Event]:
        """The whole log."""
        self.node.bench.finish(self.lease, outputs=self.said)
        assert self.node.bench.job(self.job_id).state in ENDED
        return self.node.bench.events(self.job_id)

    def drop(self, count: int) -> None:
        with patch.object(output_expiry, "STEP_EVENTS_COUNT", count):
            self.node.bench.write(output_expiry.drop_outputs, [self.job_id], self.node.bench.clock.now())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(Step, max_size=14),
    st.lists(Later, max_size=10),
    st.lists(Filters, min_size=4, max_size=4),
    st.tuples(st.integers(1, 9), st.integers(1, 2000), st.integers(1, 20)),
)
def test_i9_a_stream_is_the_log_or_a_gap_says_what_is_missing(
    steps: list[tuple[str, Any]],
    later: list[tuple[str, Any]],
    filters: list[dict[str, Any]],
    bounds: tuple[int, int, int],
) -> None:
    with tempfile.TemporaryDirectory() as folder, pages_of(*bounds):
        node = Node(Path(folder, "data"))
        try:
            _hold(node, steps, later, [Reader(wanted) for wanted in filters])
        finally:
            node.bench.close()


def _hold(node: Node, steps: list[tuple[str, Any]], later: list[tuple[str, Any]], readers: list[Reader]) -> None:
    history = History(node)
    for step, value in steps:
        if step == "say":
            history.say(value)
        elif step == "fail":
            history.fail()
        else:
            readers[value[0]].read(node, history.job_id, value[1])
    log = history.end()
    assert [event.sequence for event in log] == list(range(1, len(log) + 1))
    for step, value in later:
        if step == "drop":
            history.drop(value)
        else:
            readers[value[0]].read(node, history.job_id, value[1])
    left = {event.sequence for event in node.bench.events(history.job_id)}
    for reader in readers:
        reader.read(node, history.job_id, 1_000_000)
        _judge(reader, log, left)


def _judge(reader: Reader, log: list[event_pb2.Event], left: set[int]) -> None:
    assert reader.ended
    seen = [event.sequence for event in reader.events]
    assert seen == sorted(set(seen)), "an event came twice, or out of order"
    missing = {sequence for first, last in reader.gaps for sequence in range(first, last + 1)}
    assert not missing & left, "a gap names what is there"
    assert not missing & set(seen), "a gap names what was sent"
    assert missing <= {event.sequence for event in log if event.HasField("output")}
    expected = [event for event in log if reader.wants(event) and event.sequence not in missing]
    assert reader.events == expected
    if reader.wanted.get("without_output"):
        assert not missing
