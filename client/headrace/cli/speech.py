"""Joins token deltas with the whole messages that follow them, so that every word is said once. Pure.

Deltas may be lost, repeated or cut off; the durable message is the truth: what deltas said of it is not said again,
what they left out is added, and when they said something else the whole of it is said anew.
"""

from __future__ import annotations

from headrace.cli.parts import Answer
from headrace.v1 import event_pb2

MESSAGES_KEPT_MAX = 64


class Speech:
    """What was said so far of the messages that are not whole yet, by the model's message id."""

    def __init__(self) -> None:
        self._said: dict[str, dict[int, str]] = {}
        self._whole_blocks: dict[str, int] = {}
        self._speaking: tuple[str, int] | None = None
        self._doubtful = False

    def delta(self, delta: event_pb2.Delta) -> list[Answer]:
        """What a delta adds to the view."""
        if delta.WhichOneof("kind") == "dropped":
            self.doubt()
            return []
        message, block = delta.message_id, delta.block_index
        if delta.parent_tool_use_id or delta.WhichOneof("kind") != "text":
            return []
        if self._doubtful or block < self._whole_blocks.get(message, 0):
            return []
        answers = self._turn_to(message, block)
        said = self._said.setdefault(message, {})
        said[block] = said.get(block, "") + delta.text
        return [*answers, Answer(delta.text)]

    def whole(self, message: str, block: event_pb2.ContentBlock) -> list[Answer]:
        """What a finished block adds to the view."""
        index = self._whole_blocks.pop(message, 0)
        self._whole_blocks[message] = index + 1
        self._doubtful = False
        self._forget_old()
        if block.WhichOneof("kind") != "text":
            return self._quiet()
        said = self._take(message, index, block.text)
        if said is None:
            return [*self._quiet(), Answer(block.text, end=True)]
        self._speaking = None
        return [Answer(block.text[len(said) :], end=True)]

    def doubt(self) -> None:
        """Deltas may be missing from here on: they are ignored until a whole block has come."""
        self._doubtful = True

    def hush(self) -> list[Answer]:
        """Ends what is being said; the attempt is over."""
        self._said.clear()
        self._whole_blocks.clear()
        self._doubtful = False
        return self._quiet()

    def _take(self, message: str, index: int, text: str) -> str | None:
        """What was said of the block, when it is the block's beginning; else None."""
        said = self._said.get(message, {})
        for candidate in (index, *said):
            words = said.get(candidate)
            if words and (text.startswith(words) or words.startswith(text)):
                del said[candidate]
                return words
        said.pop(index, None)
        return None

    def _turn_to(self, message: str, block: int) -> list[Answer]:
        if self._speaking == (message, block):
            return []
        answers = self._quiet()
        self._speaking = (message, block)
        return answers

    def _quiet(self) -> list[Answer]:
        if self._speaking is None:
            return []
        self._speaking = None
        return [Answer("", end=True)]

    def _forget_old(self) -> None:
        for kept in (self._said, self._whole_blocks):
            while len(kept) > MESSAGES_KEPT_MAX:
                del kept[next(iter(kept))]
