"""Stands between an executor and its attempt, and blots the worker's secrets out of whatever leaves it: output, deltas,
questions, results and failures (X8).

It looks at the bytes of a message first, and into its fields only when a secret is there: most messages have none. What
comes in pieces is cleaned as a whole: `redacted_deltas.py`, `redacted_pieces.py`.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from headrace.v1 import event_pb2, input_pb2
from headrace_worker.executors.contract import Attempt, Failed, Outcome, Succeeded
from headrace_worker.executors.redacted_deltas import RedactedDeltas
from headrace_worker.executors.redacted_pieces import RedactedPieces
from headrace_worker.redaction import Redaction

SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
"""A variable whose name holds one of them has a secret for its value."""

M = TypeVar("M", bound=Message)
Run = Callable[[Attempt], Awaitable[Outcome]]


def secrets_of(*environments: Mapping[str, str]) -> Iterator[str]:
    """The values that nobody else may see."""
    for environment in environments:
        for name, value in environment.items():
            if any(word in name.upper() for word in SECRET_WORDS):
                yield value


class RedactingExecutor:
    """Stands before an executor."""

    def __init__(self, run: Run, redaction: Redaction) -> None:
        self._run = run
        self._redaction = redaction

    async def run(self, attempt: Attempt) -> Outcome:
        """Runs one attempt to its end; see `Executor`."""
        outcome = await self._run(_Redacted(attempt, self._redaction))
        if isinstance(outcome, Succeeded):
            return replace(outcome, result=redacted(outcome.result, self._redaction))
        if isinstance(outcome, Failed):
            # Its texts are cut to their limits.
            return replace(outcome, failure=redacted(outcome.failure, self._redaction, cut=True))
        return outcome


class _Redacted:
    """An attempt that is told everything but secrets."""

    def __init__(self, attempt: Attempt, redaction: Redaction) -> None:
        self._attempt = attempt
        self._redaction = redaction
        self._deltas = RedactedDeltas(redaction, attempt.emit_delta)
        self._pieces = RedactedPieces(redaction, attempt.emit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._attempt, name)

    async def emit(self, output: event_pb2.Output) -> int:
        """See `Attempt`."""
        if not self._redaction.bytes_max:
            return await self._attempt.emit(output)
        kind = output.WhichOneof("kind")
        if kind == "chunk" and output.chunk.stream == event_pb2.OUTPUT_STREAM_FRAME:
            return await self._pieces.frame_piece(output)
        if kind == "artifact_part":
            return await self._pieces.artifact_piece(output)
        if kind == "artifact":
            output = await self._pieces.artifact(output)
        elif kind == "claude":
            if output.claude.HasField("assistant"):
                self._deltas.end(output.claude.assistant.parent_tool_use_id)
            if output.claude.HasField("stored"):
                output = await self._pieces.frame(output)
        large = kind == "claude" and output.claude.HasField("stored")
        return await self._attempt.emit(redacted(output, self._redaction, cut=large))

    def emit_delta(self, delta: event_pb2.Delta) -> None:
        """See `Attempt`."""
        self._deltas.say(delta)

    async def ask(self, request: input_pb2.InputRequest) -> input_pb2.InputAnswer:
        """See `Attempt`."""
        return await self._attempt.ask(redacted(request, self._redaction))


def redacted(message: M, redaction: Redaction, *, cut: bool = False) -> M:
    """The message without any secret: itself when it has none. `cut`: its texts may end within one."""
    if not redaction.bytes_max or not (cut or redaction.finds(message.SerializeToString())):
        return message
    clean = type(message)()
    clean.CopyFrom(message)
    _clean(clean, redaction)
    return clean


def _clean(message: Message, redaction: Redaction) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _clean_map(field.message_type, value, redaction)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for inner in value if _is_list(field) else (value,):
                _clean(inner, redaction)
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            clean = [_cleaned(one, redaction) for one in (value if _is_list(field) else (value,))]
            if _is_list(field):
                value[:] = clean
            else:
                setattr(message, field.name, clean[0])


def _clean_map(entry: Descriptor, entries: Any, redaction: Redaction) -> None:
    kind = entry.fields_by_name["value"].type
    for key in list(entries):
        if kind == FieldDescriptor.TYPE_MESSAGE:
            _clean(entries[key], redaction)
        elif kind in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            entries[key] = _cleaned(entries[key], redaction)


def _cleaned(value: str | bytes, redaction: Redaction) -> str | bytes:
    return redaction.clean(value) if isinstance(value, bytes) else redaction.clean_cut(value)


def _is_list(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)
