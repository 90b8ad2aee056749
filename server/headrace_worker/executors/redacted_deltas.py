"""Token deltas without secrets, also where one is cut: what could be the beginning of a secret waits for what follows.

It waits until the next piece of the same block or the block's end, never by time. What is said besides never enters
here.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from headrace.v1 import event_pb2
from headrace_worker.redaction import CleanStream, Redaction

TEXTS = frozenset(("text", "thinking", "tool_input_json"))
CONVERSATIONS_COUNT_MAX = 1_000
"""An attempt's own and those of its subagents; past it, the one that was silent for longest is forgotten."""
Emit = Callable[[event_pb2.Delta], None]


@dataclass(slots=True)
class _Block:
    """The block that a conversation is saying, or has said last."""

    last: event_pb2.Delta
    kind: str
    """Empty once it is whole."""
    stream: CleanStream
    blind_bytes: int
    """So much of it is not said: after a gap it could be the end of a secret."""
    gaps: int
    """That there were before its latest piece."""


class RedactedDeltas:
    """The deltas of one attempt, in order."""

    def __init__(self, redaction: Redaction, emit: Emit) -> None:
        self._redaction = redaction
        self._emit = emit
        self._gaps = 0
        self._blocks: OrderedDict[str, _Block] = OrderedDict()
        """By conversation: the tool call that a subagent belongs to, empty for the attempt's own."""

    def say(self, delta: event_pb2.Delta) -> None:
        """Takes a delta; hands on what is certain."""
        if not self._redaction.bytes_max:
            self._emit(delta)
            return
        kind = delta.WhichOneof("kind") or ""
        if kind == "dropped":
            self._gaps += 1
        elif kind in TEXTS:
            self._add(delta, kind)
            return
        else:
            # A new block, from its beginning.
            self.end(delta.parent_tool_use_id)
            self._put(delta, "", 0)
        self._emit(delta)

    def end(self, conversation: str) -> None:
        """The block that a conversation was saying is whole."""
        block = self._blocks.get(conversation)
        if block is None:
            return
        rest = block.stream.end()
        if block.gaps == self._gaps:
            self._hand_on(block, rest, 0)
        block.gaps, block.kind = self._gaps, ""

    def _add(self, delta: event_pb2.Delta, kind: str) -> None:
        block = self._block_of(delta, kind)
        data = getattr(delta, kind).encode("utf-8", "surrogateescape")
        block.last = delta
        self._hand_on(block, block.stream.push(data), len(data))

    def _block_of(self, delta: event_pb2.Delta, kind: str) -> _Block:
        conversation = delta.parent_tool_use_id
        block = self._blocks.get(conversation)
        if block is not None and block.gaps == self._gaps:
            if _same(block, delta, kind):
                self._blocks.move_to_end(conversation)
                return block
            self.end(conversation)
            blind_bytes = 0
        else:
            blind_bytes = 2 * self._redaction.bytes_max if self._gaps else 0
        return self._put(delta, kind, blind_bytes)

    def _put(self, delta: event_pb2.Delta, kind: str, blind_bytes: int) -> _Block:
        conversation = delta.parent_tool_use_id
        block = _Block(delta, kind, CleanStream(self._redaction), blind_bytes, self._gaps)
        self._blocks[conversation] = block
        self._blocks.move_to_end(conversation)
        if len(self._blocks) > CONVERSATIONS_COUNT_MAX:
            _, forgotten = self._blocks.popitem(last=False)
            self._gaps += bool(forgotten.kind)
        return block

    def _hand_on(self, block: _Block, clean: bytes, taken: int) -> None:
        blind, block.blind_bytes = block.blind_bytes > 0, max(0, block.blind_bytes - taken)
        if blind or not clean:
            return
        said = event_pb2.Delta()
        said.CopyFrom(block.last)
        setattr(said, block.kind, clean.decode("utf-8", "surrogateescape"))
        self._emit(said)


def _same(block: _Block, delta: event_pb2.Delta, kind: str) -> bool:
    last = block.last
    return (block.kind, last.message_id, last.block_index) == (kind, delta.message_id, delta.block_index)
