"""Deltas of one attempt that came before the output which they follow was committed. Bounded; what there is no room for
is dropped with a marker. Knows which messages have come in whole, and leaves out what belongs to them."""

from collections import deque
from collections.abc import Iterable, Mapping

from headrace.v1 import event_pb2
from headrace_server.core.limits import DELTA_ATTEMPT_BYTES_MAX
from headrace_server.runtime.deltas import RUN_OVERHEAD_BYTES, Conversation

CONVERSATIONS_COUNT_MAX = 256


class EarlyDeltas:
    """In the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, event_pb2.Delta]] = deque()
        """With the producer sequence that each follows."""
        self._size = 0
        self._dropped = 0
        self._spoken: dict[Conversation, int] = {}
        """Producer sequence of the last whole message of each conversation: deltas that follow earlier output belong to
        it."""
        self._spoken_by_all = 0
        """The same for those that have no entry."""

    def said(self, whole: Mapping[Conversation, int]) -> None:
        """Messages have come in whole, with their producer sequences; None: whatever was being said is over."""
        for conversation, sequence in whole.items():
            if conversation is None:
                self._spoken_by_all = max(self._spoken_by_all, sequence)
            else:
                self._spoken[conversation] = max(sequence, self._spoken.get(conversation, 0))
        while len(self._spoken) > CONVERSATIONS_COUNT_MAX:
            self._spoken_by_all = max(self._spoken_by_all, self._spoken.pop(next(iter(self._spoken))))
        self._waiting = deque(waiting for waiting in self._waiting if not self._is_said(*waiting))
        self._size = sum(_size(delta) for _, delta in self._waiting)

    def offer(self, after_producer_sequence: int, deltas: Iterable[event_pb2.Delta]) -> None:
        """Takes deltas that follow some output."""
        for delta in deltas:
            if not self._is_said(after_producer_sequence, delta):
                self._waiting.append((after_producer_sequence, delta))
                self._size += _size(delta)
        while self._size > DELTA_ATTEMPT_BYTES_MAX:
            _, delta = self._waiting.popleft()
            self._size -= _size(delta)
            self._dropped += delta.dropped or 1

    def ready(self, committed: int, attempt: int, after_sequence: int) -> list[event_pb2.Delta]:
        """Removes the deltas whose output is committed, up to a producer sequence that stands at a sequence of the log;
        they are filled in."""
        found = []
        while self._waiting and self._waiting[0][0] <= committed:
            if self._dropped:
                found.append(event_pb2.Delta(dropped=self._dropped))
                self._dropped = 0
            _, delta = self._waiting.popleft()
            self._size -= _size(delta)
            found.append(delta)
        for delta in found:
            delta.attempt = attempt
            delta.after_sequence = after_sequence
        return found

    def _is_said(self, after_producer_sequence: int, delta: event_pb2.Delta) -> bool:
        conversation = delta.parent_tool_use_id
        return after_producer_sequence < max(self._spoken_by_all, self._spoken.get(conversation, 0))


def _size(delta: event_pb2.Delta) -> int:
    return RUN_OVERHEAD_BYTES + delta.ByteSize()


def whole_messages(outputs: Iterable[event_pb2.Output]) -> dict[Conversation, int]:
    """Whose messages these outputs are in whole, with the producer sequence of the last of each: a finished block of a
    message is its conversation's; the end of the turn ends all that was being said, which is None."""
    found: dict[Conversation, int] = {}
    for output in outputs:
        kind = output.claude.WhichOneof("kind")
        if kind == "assistant":
            found[output.claude.assistant.parent_tool_use_id] = output.producer_sequence
        elif kind == "turn_result":
            found[None] = output.producer_sequence
    return found
