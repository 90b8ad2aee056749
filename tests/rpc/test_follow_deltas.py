"""Token deltas on follow streams: late and slow readers get what is being said, and no event ever waits for it (E4)."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import event_pb2
from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.limits import DELTA_ATTEMPT_BYTES_MAX, DELTA_MESSAGE_BYTES
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.outputs import Batch, append_each
from headrace_server.store.attempts.workers import Word, hear_each
from rpc.log_reading import Node, Stream, said
from store.driving import finished

BEGUN = 3
"""Sequence of the last event of an attempt that has said nothing yet."""
SECONDS = 20
Condition = Callable[[list[pb.WatchJobResponse]], bool]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "data")
    yield node
    node.bench.close()


class Talk:
    """An attempt that speaks, on the loop of the node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.lease: Lease = node.bench.running()
        self.outputs = 0

    def say(self, *words: str) -> None:
        """As the data lane does it."""
        deltas = [
            event_pb2.Delta(text=word, attempt=1, after_sequence=BEGUN + self.outputs, message_id="m") for word in words
        ]
        self._node.all.deltas.push(self.lease.job_id, deltas)
        self._node.feed.wake_listeners(self.lease.job_id)

    async def put(self) -> None:
        """Appends an event."""
        self.outputs += 1
        batch = Batch(self._node.holder, self.lease, [said("stderr", self.outputs)])
        await self._node.bench.store.write(lambda ledger: append_each(ledger, [batch]))

    async def end(self) -> None:
        word = Word(self._node.holder, finishes=[finished(self.lease, outputs=self.outputs)])
        await self._node.bench.store.write(lambda ledger: hear_each(ledger, [word]))

    def follow(self, written: Any = None, **wanted: Any) -> "asyncio.Task[Stream]":
        return asyncio.ensure_future(self._node.streamed(self.lease.job_id, written, deltas=True, **wanted))


class Held:
    """A reader that takes nothing more after what it was told to wait for, until it is let go on."""

    def __init__(self) -> None:
        self.taken: list[pb.WatchJobResponse] = []
        self._changed = asyncio.Condition()
        self._stop_at: Condition | None = None

    async def __call__(self, message: pb.WatchJobResponse) -> None:
        async with self._changed:
            self.taken.append(message)
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._stop_at is None or not self._stop_at(self.taken))

    async def until(self, condition: Condition, *, stop: bool = False) -> None:
        """Waits until what it has taken is enough; takes nothing more then, if it is to stop."""
        async with self._changed:
            if stop:
                self._stop_at = condition
            await asyncio.wait_for(self._changed.wait_for(lambda: condition(self.taken)), SECONDS)

    async def go_on(self) -> None:
        """Takes more, and forgets what it has taken."""
        async with self._changed:
            self._stop_at = None
            self.taken.clear()
            self._changed.notify_all()


def has(kind: str) -> Condition:
    return lambda taken: any(message.WhichOneof("kind") == kind for message in taken)


def ends_with(words: str) -> Condition:
    return lambda taken: spoken(taken).endswith(words)


def spoken(messages: list[pb.WatchJobResponse]) -> str:
    return "".join(delta.text for message in messages for delta in message.deltas.deltas)


def test_a_reader_that_comes_late_gets_the_message_so_far_and_then_the_rest(node: Node) -> None:
    talk = Talk(node)

    async def scenario() -> Stream:
        talk.say("so ", "far")
        held = Held()
        following = talk.follow(held)
        await held.until(has("deltas"))
        (first,) = [one.deltas.deltas for one in held.taken if one.HasField("deltas")]
        assert [delta.text for delta in first] == ["so far"]
        talk.say(", and", " on")
        await talk.put()
        await talk.end()
        return await following

    stream = node.bench.run(scenario())
    assert spoken(stream.messages) in ("so far", "so far, and on"), "an attempt's end may come before its last words"
    assert stream.sequences() == list(range(1, 6))


def test_e4_events_never_wait_behind_deltas(node: Node) -> None:
    talk = Talk(node)

    async def scenario() -> Stream:
        held = Held()
        following = talk.follow(held)
        await held.until(has("batch"), stop=True)
        for number in range(40):
            talk.say(f"{number:02}" + "x" * 4000)
            await talk.put()
        await held.go_on()
        await held.until(has("deltas"))
        await talk.end()
        return await following

    stream = node.bench.run(scenario())
    kinds = stream.kinds()
    assert kinds[:4] == ["opened", "batch", "batch", "deltas"]
    assert len(stream.messages[2].batch.events) == 40
    assert stream.sequences() == list(range(1, 45))


def test_e4_an_event_that_comes_meanwhile_waits_for_one_bounded_message(node: Node) -> None:
    talk = Talk(node)

    async def scenario() -> Stream:
        held = Held()
        following = talk.follow(held)
        await held.until(has("batch"))
        talk.say(*["y" * 1000] * 100)
        await held.until(has("deltas"), stop=True)
        await talk.put()
        await held.go_on()
        await talk.end()
        return await following

    stream = node.bench.run(scenario())
    first = stream.kinds().index("deltas")
    assert stream.messages[first].ByteSize() < 2 * DELTA_MESSAGE_BYTES
    events = next(place for place, kind in enumerate(stream.kinds()) if place > first and kind == "batch")
    assert events == first + 1


def test_what_waits_for_a_slow_reader_is_put_together(node: Node) -> None:
    talk = Talk(node)

    async def scenario() -> list[pb.WatchJobResponse]:
        held = Held()
        following = talk.follow(held)
        await held.until(has("batch"))
        talk.say("first")
        await held.until(has("deltas"), stop=True)
        talk.say(*["a"] * 1000, "last")
        await held.go_on()
        await held.until(ends_with("last"))
        taken = list(held.taken)
        await talk.end()
        await following
        return taken

    (message,) = node.bench.run(scenario())
    assert [delta.text for delta in message.deltas.deltas] == ["a" * 1000 + "last"]


def test_what_waits_for_a_slow_reader_past_a_bound_is_dropped_and_marked(node: Node) -> None:
    talk, count = Talk(node), 2 * DELTA_ATTEMPT_BYTES_MAX // 1000

    async def scenario() -> list[pb.WatchJobResponse]:
        held = Held()
        following = talk.follow(held)
        await held.until(has("batch"))
        talk.say("first")
        await held.until(has("deltas"), stop=True)
        talk.say(*["c" * 1000] * count, "last")
        await held.go_on()
        await held.until(ends_with("last"))
        taken = list(held.taken)
        await talk.end()
        await following
        return taken

    taken = node.bench.run(scenario())
    deltas = [delta for message in taken for delta in message.deltas.deltas]
    assert deltas[0].dropped > 0
    assert all(delta.WhichOneof("kind") == "text" for delta in deltas[1:])
    assert deltas[0].dropped + spoken(taken).count("c") // 1000 == count


def test_deltas_cost_no_reads_and_wake_only_those_who_want_them(node: Node) -> None:
    talk = Talk(node)

    async def scenario() -> int:
        held, quiet = Held(), Held()
        following = talk.follow(held)
        silent = asyncio.ensure_future(node.streamed(talk.lease.job_id, quiet))
        await held.until(has("batch"))
        await quiet.until(has("batch"))
        talk.say("a")
        await held.until(has("deltas"))
        reads = node.logs.reads_count
        for word in "bcdefgh":
            talk.say(word)
            await held.until(ends_with(word))
        reads = node.logs.reads_count - reads
        await talk.end()
        assert "deltas" not in (await silent).kinds()
        await following
        return reads

    assert node.bench.run(scenario()) <= 1


def test_a_reader_that_does_not_follow_gets_what_is_being_said_just_now(node: Node) -> None:
    talk = Talk(node)
    talk.say("so far")
    stream = node.read(talk.lease.job_id, deltas=True)
    assert stream.kinds() == ["opened", "batch", "deltas", "end"]
    assert spoken(stream.messages) == "so far"
