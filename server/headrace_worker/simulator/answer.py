"""One model call: its blocks, streamed piece by piece where the host wants that, each closed by its assistant frame.

Owns the order of frames within a message and what is left of it when an interrupt cuts it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from headrace_worker.simulator import apierrors
from headrace_worker.simulator.frames import text_block, thinking_block, tool_block
from headrace_worker.simulator.ledger import Usage, estimate
from headrace_worker.simulator.output import Json, encode
from headrace_worker.simulator.script import Answer, ToolCall
from headrace_worker.simulator.session import Session, Turn, aborted
from headrace_worker.simulator.timing import TurnInterruptedError

_DELTA_CHARACTERS = 24
_EMPTY_USAGE_OUTPUT_TOKENS = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """A tool call that has its place in the message."""

    identifier: str
    call: ToolCall


@dataclass(frozen=True, slots=True)
class _Block:
    """A content block: how it starts, the deltas that fill it, and the whole."""

    start: Json
    deltas: tuple[Json, ...]
    whole: Json


class Delivery:
    """Delivers one answer."""

    def __init__(self, session: Session, turn: Turn, answer: Answer) -> None:
        self._session = session
        self._turn = turn
        self._answer = answer
        self._message_id = session.ids.message()
        self._request_id = session.ids.request()
        self._model = session.switches.model
        said = answer.text + answer.thinking + "".join(str(tool.input) for tool in answer.tools)
        self._usage = estimate(session.context_characters, said, answer.usage)
        self._usage_at_start = replace(self._usage, output_tokens=_EMPTY_USAGE_OUTPUT_TOKENS)
        self._deltas_sent = 0
        self._dropped = False
        """Whether nothing is left of it, and the call is repeated."""
        session.context_characters += len(said)

    def run(self) -> list[Wanted]:
        """Says everything and returns the tool calls in it. An interrupt ends the turn (TurnEndError)."""
        wanted = [Wanted(self._session.ids.tool_use(), call) for call in self._answer.tools]
        self._turn.calls += 1
        started = self._session.timing.monotonic()
        self._wait_for_first_token()
        for index, block in enumerate(self._blocks(wanted)):
            self._say(index, block)
            if self._dropped:
                self._book(self._usage_at_start)
                return []
        stop_reason = "tool_use" if wanted else "end_turn"
        self._stream(
            {
                "type": "message_delta",
                "delta": {"stop_reason": stop_reason, "stop_sequence": None},
                "usage": {"output_tokens": self._usage.output_tokens},
            }
        )
        self._stream({"type": "message_stop"})
        self._book(self._usage)
        self._session.ledger.api_seconds += self._session.timing.monotonic() - started
        apierrors.tell_limit_is_over(self._session)
        self._turn.text = self._answer.text
        return wanted

    def _wait_for_first_token(self) -> None:
        session, given = self._session, self._answer.first_token_seconds
        if not self._turn.repeats:
            session.send_requesting()
        self._turn.repeats = False
        try:
            if given is None:
                session.timing.natural(session.ids.between(0.2, 0.5))
            else:
                session.timing.exactly(given)
        except TurnInterruptedError:
            session.send_user(self._turn, session.frames.user_text("[Request interrupted by user]"))
            raise aborted("aborted_streaming", None) from None
        self._turn.first_token = self._turn.first_token or session.timing.monotonic()
        self._turn.message_ids.append(self._message_id)
        start = session.frames.message_start(self._message_id, self._model, self._usage_at_start)
        self._stream(start, ttft_ms=round((self._turn.first_token - self._turn.started) * 1000))

    def _blocks(self, wanted: list[Wanted]) -> Iterator[_Block]:
        answer = self._answer
        if answer.thinking:
            pieces = tuple({"type": "thinking_delta", "thinking": piece} for piece in self._pieces(answer.thinking))
            signed = (*pieces, {"type": "signature_delta", "signature": "simulated"})
            yield _Block({"type": "thinking", "thinking": "", "signature": ""}, signed, thinking_block(answer.thinking))
        if answer.text:
            pieces = tuple({"type": "text_delta", "text": piece} for piece in self._pieces(answer.text))
            yield _Block(text_block(""), pieces, text_block(answer.text))
        for tool in wanted:
            whole = tool_block(tool.identifier, tool.call.name, tool.call.input)
            parts = ("", *self._pieces(encode(tool.call.input).decode()))
            deltas = tuple({"type": "input_json_delta", "partial_json": part} for part in parts)
            yield _Block(tool_block(tool.identifier, tool.call.name, {}), deltas, whole)

    def _pieces(self, text: str) -> tuple[str, ...]:
        """Cuts a text as it would arrive: after a blank where one is near, else anywhere."""
        size = self._answer.delta_characters or _DELTA_CHARACTERS
        pieces: list[str] = []
        start = 0
        while start < len(text):
            end = start + size
            blank = text.rfind(" ", start, end)
            if self._answer.delta_characters is None and blank > start and end < len(text):
                end = blank + 1
            pieces.append(text[start:end])
            start = end
        return tuple(pieces)

    def _say(self, index: int, block: _Block) -> None:
        self._stream({"type": "content_block_start", "index": index, "content_block": block.start})
        for count, delta in enumerate(block.deltas):
            try:
                self._pace()
            except TurnInterruptedError:
                self._abandon(index, block, block.deltas[:count])
            self._stream({"type": "content_block_delta", "index": index, "delta": delta})
            self._deltas_sent += 1
            if self._deltas_sent == self._answer.hang_after_deltas:
                self._hang(index, block, block.deltas[: count + 1])
        if self._answer.cut:
            self._drop(index)
            if self._dropped:
                return
        self._finish_block(block.whole)
        self._stream({"type": "content_block_stop", "index": index})

    def _hang(self, index: int, block: _Block, heard: tuple[Json, ...]) -> None:
        if not self._answer.interruptible:
            self._session.freeze()
        try:
            self._session.timing.forever()
        except TurnInterruptedError:
            self._abandon(index, block, heard)

    def _drop(self, index: int) -> None:
        """The connection is cut: the call is repeated, and at last made without streaming, which nothing cuts."""
        self._turn.cuts += 1
        self._turn.repeats = self._dropped = self._turn.cuts <= apierrors.retries_allowed(self._session)
        self._stream({"type": "content_block_stop", "index": index})
        self._stream({"type": "message_stop"})
        if self._dropped:
            apierrors.retry(self._session, apierrors.FAILURES["network"], {"retries": 1})

    def _pace(self) -> None:
        timing, given = self._session.timing, self._answer.delta_seconds
        if given is not None:
            timing.exactly(given)
        else:
            timing.natural(self._session.ids.between(0.02, 0.08))

    def _finish_block(self, whole: Json, **extra: bool) -> None:
        session, message_uuid = self._session, self._turn.message_uuid
        asked = (
            {} if message_uuid is None else {"user_message_uuid": message_uuid, "user_message_uuids": [message_uuid]}
        )
        frame = session.frames.assistant(
            self._message_id, self._request_id, self._model, whole, self._usage_at_start, **extra, **asked
        )
        session.send(frame)
        session.keep("assistant", frame["message"])

    def _abandon(self, index: int, block: _Block, heard: tuple[Json, ...]) -> None:
        """Closes the message as far as it came, and ends the turn."""
        session = self._session
        text = "".join(delta.get("text", "") for delta in heard)
        if text:
            self._finish_block(text_block(text), aborted=True)
        session.send_user(self._turn, session.frames.user_text("[Request interrupted by user]"))
        self._stream({"type": "content_block_stop", "index": index})
        self._stream(
            {
                "type": "message_delta",
                "delta": {"stop_reason": None, "stop_sequence": None},
                "usage": {"output_tokens": self._usage_at_start.output_tokens},
            }
        )
        left = {"api_message_id": self._message_id, "from_block_index": index + 1}
        self._stream({"type": "message_stop"}, abandoned_blocks=left)
        session.ledger.add(self._model, Usage(self._usage.input_tokens, max(1, len(text) // 4)))
        self._turn.usage = Usage()
        raise aborted("aborted_streaming", None)

    def _book(self, usage: Usage) -> None:
        self._turn.usage += usage
        self._session.ledger.add(self._model, usage)

    def _stream(self, event: Json, **extra: object) -> None:
        session = self._session
        if session.options.partial_messages:
            session.send(session.frames.stream_event(self._message_id, event, **extra))
