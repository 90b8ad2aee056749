"""Random histories of a session and of its readers: a stream is the logs of the turns, or a gap says what is missing;
and every reader knows what is asked, whatever it was granted (I9, X3, E4, E8)."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.v1 import event_pb2, input_pb2, session_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.states import ENDED, LEASED
from headrace_server.rpc.streams import converse as conversations
from headrace_server.rpc.streams import converse_events
from headrace_server.runtime import log_pages as shared
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.records import output_expiry
from rpc.conversing import Node
from store.conversing import converse
from store.driving import NAMESPACE, chunk, frame

ALL_SEEN = 1_000_000


class Cut(Exception):
    """The connection breaks."""


@dataclass
class Reader:
    """One that keeps its cursor, and what it was told before each cut."""

    wanted: dict[str, Any]
    cursor: str = ""
    events: list[tuple[int, event_pb2.Event]] = field(default_factory=list)
    gaps: list[tuple[str, int, int]] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    ended: bool = False

    def wants(self, event: event_pb2.Event) -> bool:
        """By the event alone."""
        if not self.wanted.get("without_raw_frames") or not event.HasField("output"):
            return True
        return event.output.claude.WhichOneof("kind") in ("assistant", "user", "turn_result")

    def read(self, node: Node, session_id: JobId, messages: int, credit: int | None) -> bool:
        """Reads what is there as far as the credit goes, or is cut off after some messages; whether it was not."""
        room, before = [messages], len(self.events)
        self.inputs = []

        async def take(message: pb.ConverseResponse) -> None:
            if not room[0]:
                raise Cut
            room[0] -= 1
            self._take(message)

        opening = self.wanted | ({} if credit is None else {"credit": credit})
        talk = node.talk(session_id, take, cursor=self.cursor, **opening)
        try:
            if messages == ALL_SEEN:
                talk.end()
            else:
                talk.until_quiet()
        except Cut:
            return False
        finally:
            talk.cut()
            assert credit is None or len(self.events) - before <= credit
        return True

    def _take(self, message: pb.ConverseResponse) -> None:
        self.cursor = message.cursor
        self.events += [(message.batch.turn, event) for event in message.batch.events]
        if message.HasField("gap"):
            gap = message.gap
            self.gaps.append((gap.job_id, gap.gap.from_sequence, gap.gap.to_sequence))
        if message.HasField("inputs"):
            self.inputs = [one.request.request_id for one in message.inputs.open]
        self.ended = message.end.reason == watch_pb2.END_REASON_SESSION_ENDED


Wanted = st.sampled_from([{}, {"without_raw_frames": True}, {"deltas": True}])
Read = st.tuples(st.just("read"), st.tuples(st.integers(0, 2), st.integers(1, 9), st.sampled_from([None, 0, 1, 3, 50])))
Step = st.one_of(
    st.tuples(st.just("say"), st.just(0)),
    st.tuples(st.just("speak"), st.lists(st.sampled_from(["init", "assistant", "chunk"]), min_size=1, max_size=9)),
    st.tuples(st.just("ask"), st.just(0)),
    st.tuples(st.just("answer"), st.booleans()),
    st.tuples(st.just("finish"), st.just(0)),
    st.tuples(st.just("fail"), st.just(0)),
    st.tuples(st.just("remove"), st.integers(1, 6)),
    st.tuples(st.just("drop"), st.integers(1, 6)),
    Read,
    Read,
)


@contextmanager
def pages_of(count: int, size: int) -> Iterator[None]:
    with (
        patch.object(shared, "EVENT_PAGE_COUNT", count),
        patch.object(conversations, "EVENT_PAGE_COUNT", count),
        patch.object(converse_events, "EVENT_PAGE_BYTES", size),
        patch.object(converse_events, "UNTOLD_SEQUENCES_COUNT", 5),
    ):
        yield


class History:
    """A session, what is said in it, and what is left of that."""

    def __init__(self, node: Node) -> None:
        self.node = node
        node.bench.welcome()
        task = {"permission_prompts": "PERMISSION_PROMPTS_ASK"}
        self.session = converse(node.bench, session_pb2.SessionSpec(task=task))
        self.turns: list[JobId] = []
        self.logs: dict[int, list[event_pb2.Event]] = {}
        """Of turns that ended, by number."""
        self.removed: set[int] = set()
        self.lease: Lease | None = None
        self.said = self.asked = 0
        self.open: list[str] = []

    def say(self, _: int) -> None:
        if len(self.turns) < 6:
            self.turns.append(self.session.say().id)
        self._start()

    def speak(self, kinds: list[str]) -> None:
        if self.lease is None:
            return
        outputs = []
        for sequence, kind in enumerate(kinds, start=self.said + 1):
            output = chunk(sequence) if kind == "chunk" else frame(sequence)
            if kind == "assistant":
                output.claude.assistant.message_id = str(sequence)
            outputs.append(output)
        self.node.bench.append(self.lease, *outputs)
        self.said += len(kinds)

    def ask(self, _: int) -> None:
        if self.lease is None:
            return
        self.asked += 1
        request = input_pb2.InputRequest(request_id=f"q{self.asked}", kind=input_pb2.INPUT_KIND_PERMISSION)
        self.node.bench.report(self.lease, report_number=self.asked, input_requested=request)
        self.open.append(request.request_id)

    def answer(self, allow: bool) -> None:
        if not self.open:
            return
        request = pb.AnswerRequestRequest(session_id=job_id_text(self.session.id))
        request.answer.request_id, request.answer.allow = self.open.pop(0), allow
        self.node.answer(request)

    def finish(self, _: int) -> None:
        if self.lease is not None:
            self.node.bench.finish(self.lease, outputs=self.said, reports=self.asked)
            self._over()

    def fail(self, _: int) -> None:
        if self.lease is not None:
            failed = FailureClass.CRASH
            self.node.bench.fail(self.lease, failed, outputs=self.said, reports=self.asked)
            self._over()

    def remove(self, number: int) -> None:
        """Takes a turn that has ended out of the store."""
        if number in self.logs and number not in self.removed:
            assert self.node.bench.write(delete, NAMESPACE, self.turns[number - 1], "", "tester") is None
            self.removed.add(number)

    def drop(self, number: int) -> None:
        """Takes the output of a turn that has ended out of the store."""
        if number in self.logs and number not in self.removed:
            job_id = self.turns[number - 1]
            self.node.bench.write(output_expiry.drop_outputs, [job_id], self.node.bench.clock.now())

    def end(self) -> None:
        """Lets everything end, and closes the session."""
        self.session.close()
        if self.lease is not None:
            self.node.bench.finish(self.lease, succeeded=None, outputs=self.said, reports=self.asked)
        self._over()
        assert sorted(self.logs) == list(range(1, len(self.turns) + 1))

    def _start(self) -> None:
        """The turn that is next begins."""
        if self.lease is not None:
            return
        self.node.bench.clock.advance(3600)
        pending = [self.node.bench.job(one) for n, one in enumerate(self.turns, start=1) if n not in self.logs]
        if pending and not any(job.state in LEASED for job in pending):
            self.lease = self.session.start(pending[0].id, talks=False)
            self.said = self.asked = 0

    def _over(self) -> None:
        self.lease, self.open = None, []
        for number, job_id in enumerate(self.turns, start=1):
            if number not in self.logs and self.node.bench.job(job_id).state in ENDED:
                self.logs[number] = self.node.bench.events(job_id)
        if not self.session.row.ended:
            self._start()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(Step, max_size=24),
    st.lists(Wanted, min_size=3, max_size=3),
    st.tuples(st.integers(1, 9), st.integers(1, 2000)),
)
def test_i9_a_conversation_is_the_logs_of_the_turns_or_a_gap_says_what_is_missing(
    steps: list[tuple[str, Any]], wanted: list[dict[str, Any]], bounds: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder, pages_of(*bounds):
        node = Node(Path(folder, "data"), heartbeat_seconds=0.01)
        try:
            _hold(node, steps, [Reader(one) for one in wanted])
        finally:
            node.close()


def _hold(node: Node, steps: list[tuple[str, Any]], readers: list[Reader]) -> None:
    history = History(node)
    for step, value in steps:
        if step == "read":
            reader, messages, credit = value
            if readers[reader].read(node, history.session.id, messages, credit):
                assert readers[reader].inputs == history.open, "a reader does not know what is asked"
        else:
            getattr(history, step)(value)
    history.end()
    for reader in readers:
        assert reader.read(node, history.session.id, ALL_SEEN, None)
        _judge(reader, history)


def _judge(reader: Reader, history: History) -> None:
    assert reader.ended
    seen = [(turn, event.sequence) for turn, event in reader.events]
    assert seen == sorted(set(seen)), "an event came twice, or out of order"
    numbers = {job_id_text(job_id): number for number, job_id in enumerate(history.turns, start=1)}
    missing: set[tuple[int, int]] = set()
    for job_id, first, last in reader.gaps:
        if job_id:
            missing |= {(numbers[job_id], sequence) for sequence in range(first, last + 1)}
        else:
            assert set(range(first, last + 1)) <= history.removed, "a gap names a turn that is there"
            turns = range(first, last + 1)
            missing |= {(turn, event.sequence) for turn in turns for event in history.logs[turn]} - set(seen)
    assert not missing & set(seen), "a gap names what was sent"
    expected = [
        (turn, event)
        for turn, log in sorted(history.logs.items())
        for event in log
        if reader.wants(event) and (turn, event.sequence) not in missing
    ]
    assert reader.events == expected
