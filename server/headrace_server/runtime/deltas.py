"""Token deltas of running attempts: what is being said just now, in bounded rings, never stored and never waited for.

Pieces of one block that come one after the other are kept as one run, so a reader gets what it lacks of a block as one
delta: the message so far when it comes late, what has piled up when it is slow. What had to be dropped is marked. What
stands in the log as a whole message by now is left out.
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from headrace.v1 import event_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.limits import (
    DELTA_ATTEMPT_BYTES_MAX,
    DELTA_MESSAGE_BYTES,
    DELTA_RINGS_BYTES_MAX,
    DELTA_RUN_BYTES_MAX,
)
from headrace_server.store.effects import Effects, Ran

RUN_OVERHEAD_BYTES = 512
"""What a run counts besides its text."""
PIECE_OVERHEAD_BYTES = 4
DELTA_OVERHEAD_BYTES = 64
"""What a delta counts in a message, besides its text."""
RINGS_COUNT_MAX = 16_384
_TEXTS = frozenset(("text", "thinking", "tool_input_json"))
"""Kinds whose pieces can be put together."""
_DROPPED = "dropped"

Conversation = str | None
"""Whose message it is: the tool call that a subagent belongs to, empty for the attempt's own; None where that is not
known. A conversation says one block at a time."""


class _Block(NamedTuple):
    """What the pieces of a run share."""

    attempt: int
    message_id: str
    block_index: int
    conversation: Conversation
    kind: str
    after_sequence: int


@dataclass(slots=True)
class _Run:
    """Pieces of one block, numbered one by one."""

    block: _Block
    first: int
    text: bytearray
    ends: "array[int]"
    """Where each piece ends in the text."""
    amount: int = 0
    """Of a marker: deltas that the worker dropped."""

    @property
    def last(self) -> int:
        """The number of its last piece."""
        return self.first + len(self.ends) - 1

    @property
    def size(self) -> int:
        """Bytes that it counts."""
        return RUN_OVERHEAD_BYTES + len(self.text) + PIECE_OVERHEAD_BYTES * len(self.ends)

    def add(self, text: bytes) -> int:
        """Adds a piece; what that counts."""
        self.text += text
        self.ends.append(len(self.text))
        return len(text) + PIECE_OVERHEAD_BYTES

    def after(self, number: int, room: int) -> tuple[bytes, int]:
        """The text after a piece, up to a size but at least one piece; and the number of the last piece."""
        taken = max(0, number + 1 - self.first)
        start = self.ends[taken - 1] if taken else 0
        count = max(taken + 1, bisect_right(self.ends, start + room))
        return bytes(self.text[start : self.ends[count - 1]]), self.first + count - 1


class _Answer:
    """Deltas for a reader: the pieces of a block are one of them, also where others come between."""

    def __init__(self) -> None:
        self.deltas: list[event_pb2.Delta] = []
        self._texts: dict[int, list[bytes]] = {}
        self._places: dict[tuple[object, ...], int] = {}

    def drop(self, count: int, sequence: int) -> None:
        """Deltas are missing here; zero when it is not known how many."""
        self.deltas.append(event_pb2.Delta(dropped=count, after_sequence=sequence))
        self._places.clear()

    def add(self, run: _Run, text: bytes) -> None:
        """Adds a part of a run."""
        block = run.block
        if block.kind == _DROPPED:
            return self.drop(run.amount, block.after_sequence)
        place = self._places.get(block[:-1])
        if place is None or block.kind not in _TEXTS:
            place = self._places[block[:-1]] = len(self.deltas)
            delta = event_pb2.Delta(
                attempt=block.attempt,
                message_id=block.message_id,
                block_index=block.block_index,
                parent_tool_use_id=block.conversation or "",
            )
            setattr(delta, block.kind, "")
            self.deltas.append(delta)
        self.deltas[place].after_sequence = block.after_sequence
        self._texts.setdefault(place, []).append(text)

    def finished(self) -> list[event_pb2.Delta]:
        """All of them, with their texts."""
        for place, texts in self._texts.items():
            delta = self.deltas[place]
            setattr(delta, delta.WhichOneof("kind") or "", b"".join(texts).decode())
        return self.deltas


@dataclass(slots=True)
class _Ring:
    """What one attempt says."""

    pushed: int
    """Pieces that were ever pushed; the last one's number."""
    settled: int
    """Where the ring stood when a whole message came last."""
    floor: int
    """Everything up to it stands in the log."""
    attempt: int = 0
    size: int = 0
    runs: list[_Run] = field(default_factory=list)
    dropped: dict[Conversation, int] = field(default_factory=dict)
    """The last piece that was dropped of what each conversation has not yet said in whole."""

    def push(self, delta: event_pb2.Delta) -> None:
        """Takes a delta; one of an earlier attempt is ignored."""
        if delta.attempt != self.attempt:
            if delta.attempt < self.attempt:
                return
            self.attempt = delta.attempt
            self.settle(None)
        kind = delta.WhichOneof("kind")
        if kind is None:
            return
        conversation = None if kind == _DROPPED else delta.parent_tool_use_id
        block = _Block(delta.attempt, delta.message_id, delta.block_index, conversation, kind, delta.after_sequence)
        self.pushed += 1
        self._add(block, delta)
        while self.size > DELTA_ATTEMPT_BYTES_MAX and len(self.runs) > 1:
            self._drop(1)

    def _add(self, block: _Block, delta: event_pb2.Delta) -> None:
        text = b"" if block.kind == _DROPPED else getattr(delta, block.kind).encode()
        run = self.runs[-1] if self.runs else None
        if (
            run is None
            or run.block != block
            or block.kind not in _TEXTS
            or run.last != self.pushed - 1
            or len(run.text) >= DELTA_RUN_BYTES_MAX
        ):
            run = _Run(block, self.pushed, bytearray(), array("I"), delta.dropped)
            self.runs.append(run)
            self.size += RUN_OVERHEAD_BYTES
        self.size += run.add(text)

    def settle(self, conversations: Collection[Conversation] | None) -> None:
        """What these conversations have said so far stands in the log; None: everything."""
        if conversations is not None:
            self.runs = [run for run in self.runs if run.block.conversation not in conversations]
            self.dropped = {name: last for name, last in self.dropped.items() if name not in conversations}
        if conversations is None or not any(self._unsettled()):
            self.runs, self.dropped = [], {}
            self.floor = self.pushed
        self.size = sum(run.size for run in self.runs)
        self.settled = self.pushed

    def _unsettled(self) -> Iterator[bool]:
        """Of whatever is left, whether it is more than a marker that nobody needs once all messages have come."""
        yield from (run.block.conversation is not None for run in self.runs)
        yield from (conversation is not None for conversation in self.dropped)

    def drop(self) -> None:
        """Drops everything, with a marker."""
        self._drop(len(self.runs))

    def _drop(self, count: int) -> None:
        for run in self.runs[:count]:
            self.dropped[run.block.conversation] = run.last
            self.size -= run.size
        del self.runs[:count]

    def after(self, number: int, sequence: int, bytes_max: int) -> tuple[list[event_pb2.Delta], int]:
        """See `Deltas.after`."""
        answer = _Answer()
        number = max(number, self.floor)
        dropped = max(self.dropped.values(), default=0)
        if dropped > number:
            answer.drop(dropped - number if number >= self.settled else 0, sequence)
            number = dropped
        for run in self.runs[bisect_right(self.runs, number, key=lambda run: run.last) :]:
            if run.block.after_sequence > sequence or bytes_max <= 0:
                break
            text, number = run.after(number, bytes_max)
            answer.add(run, text)
            if number < run.last:
                break
            bytes_max -= len(text) + DELTA_OVERHEAD_BYTES
        return answer.finished(), number


class Deltas:
    """The rings of this node: one for each attempt that speaks."""

    def __init__(self) -> None:
        self._rings: dict[JobId, _Ring] = {}
        self._speaking: OrderedDict[JobId, _Ring] = OrderedDict()
        """Those that hold anything; the one that has been silent longest first."""
        self._size = 0
        self._highest = 0
        """The highest number of a ring that is gone: a ring begins after it, so that numbers of one job only grow."""

    @property
    def bytes_count(self) -> int:
        """What all rings hold."""
        return self._size

    def push(self, job_id: JobId, deltas: Sequence[event_pb2.Delta]) -> None:
        """Takes deltas of a job, in order; the oldest are dropped where there is no room."""
        ring = self._rings.get(job_id)
        if ring is None:
            if len(self._rings) >= RINGS_COUNT_MAX:
                self.forget(next(iter(self._rings)))
            ring = self._rings[job_id] = _Ring(self._highest, self._highest, self._highest)
        before = ring.size
        for delta in deltas:
            ring.push(delta)
        self._changed(job_id, ring, before)
        if job_id in self._speaking:
            self._speaking.move_to_end(job_id)
        while self._size > DELTA_RINGS_BYTES_MAX:
            _, silent = self._speaking.popitem(last=False)
            self._size -= silent.size
            silent.drop()

    def settle(self, job_id: JobId, conversations: Collection[Conversation] | None = None) -> None:
        """Takes note that what the deltas of these conversations announced so far stands in the log; None: of all."""
        ring = self._rings.get(job_id)
        if ring is not None:
            before = ring.size
            ring.settle(conversations)
            self._changed(job_id, ring, before)

    def forget(self, job_id: JobId) -> None:
        """Drops the ring of an attempt that has ended."""
        ring = self._rings.pop(job_id, None)
        if ring is not None:
            self._highest = max(self._highest, ring.pushed)
            self._size -= ring.size
            self._speaking.pop(job_id, None)

    def committed(self, effects: Effects) -> None:
        """Takes note of a commit: attempts that have ended say nothing more."""
        for span in effects.spans:
            if isinstance(span, Ran):
                self.forget(span.job_id)

    def after(
        self, job_id: JobId, number: int, sequence: int, bytes_max: int = DELTA_MESSAGE_BYTES
    ) -> tuple[list[event_pb2.Delta], int]:
        """The deltas after a number that a reader at a sequence may see, up to a size, and the number of the last one.

        A late reader gets the messages so far. A delta that follows an event which the reader has not seen yet waits
        for it. What was dropped is marked; what stands in the log by now is left out. Nothing is lost by asking again
        with the number.
        """
        ring = self._rings.get(job_id)
        return ([], number) if ring is None else ring.after(number, sequence, bytes_max)

    def _changed(self, job_id: JobId, ring: _Ring, before: int) -> None:
        self._size += ring.size - before
        if ring.runs:
            self._speaking[job_id] = ring
        else:
            self._speaking.pop(job_id, None)
