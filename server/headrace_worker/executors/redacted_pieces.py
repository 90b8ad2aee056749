"""What an attempt delivers in pieces, a large frame or an artifact, without secrets, also where one is cut in two.

Length and digest of the whole follow in a message of their own; when a secret was blotted out, they are those of what
was delivered.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator

from headrace.v1 import event_pb2
from headrace_worker.executors.limits import CHUNK_BYTES_MAX
from headrace_worker.redaction import CleanStream, Redaction

Emit = Callable[[event_pb2.Output], Awaitable[int]]


class _Pieces:
    """A frame or an artifact on its way."""

    def __init__(self, redaction: Redaction) -> None:
        self._stream = CleanStream(redaction)
        self._digest = hashlib.sha256()
        self.size = 0
        self.first_sequence = 0
        self.last_sequence = 0
        """Of its first and of its last piece."""

    @property
    def changed(self) -> bool:
        """Whether a secret was in it."""
        return self._stream.changed

    @property
    def sha256(self) -> str:
        """Of what was delivered."""
        return self._digest.hexdigest()

    def note(self, sequence: int) -> None:
        """A piece was delivered."""
        self.first_sequence, self.last_sequence = self.first_sequence or sequence, sequence

    def push(self, data: bytes) -> Iterator[bytes]:
        """The pieces that can be delivered now."""
        return self._cut(self._stream.push(data))

    def end(self) -> Iterator[bytes]:
        """The pieces that are left."""
        return self._cut(self._stream.end())

    def _cut(self, clean: bytes) -> Iterator[bytes]:
        self._digest.update(clean)
        self.size += len(clean)
        return (clean[start : start + CHUNK_BYTES_MAX] for start in range(0, len(clean), CHUNK_BYTES_MAX))


class RedactedPieces:
    """The pieces of one attempt."""

    def __init__(self, redaction: Redaction, emit: Emit) -> None:
        self._redaction = redaction
        self._emit = emit
        self._frame: _Pieces | None = None
        self._artifacts: dict[str, _Pieces] = {}

    async def frame_piece(self, output: event_pb2.Output) -> int:
        """A chunk of a large frame; the sequence of the last piece that was delivered."""
        self._frame = self._frame or _Pieces(self._redaction)
        for data in self._frame.push(output.chunk.data):
            self._frame.note(await self._emit(_with_chunk(output, data)))
        return self._frame.last_sequence

    async def frame(self, output: event_pb2.Output) -> event_pb2.Output:
        """The frame itself, which says where its pieces are: as it is, or as they are."""
        pieces, self._frame = self._frame, None
        if pieces is None:
            return output
        piece = event_pb2.Output(dirty=output.dirty)
        piece.chunk.stream = event_pb2.OUTPUT_STREAM_FRAME
        for data in pieces.end():
            pieces.note(await self._emit(_with_chunk(piece, data)))
        said = event_pb2.Output()
        said.CopyFrom(output)
        stored = said.claude.stored
        # One piece may have become two, the first one too.
        stored.first_producer_sequence, stored.last_producer_sequence = pieces.first_sequence, pieces.last_sequence
        if pieces.changed and not stored.cut:
            stored.size_bytes, stored.sha256 = pieces.size, pieces.sha256
        return said

    async def artifact_piece(self, output: event_pb2.Output) -> int:
        """A part of an artifact."""
        part = output.artifact_part
        pieces = self._artifacts.setdefault(part.name, _Pieces(self._redaction))
        for data in pieces.push(part.data):
            pieces.note(await self._emit(_with_part(output, data)))
        return pieces.last_sequence

    async def artifact(self, output: event_pb2.Output) -> event_pb2.Output:
        """The artifact itself, as its parts are."""
        pieces = self._artifacts.pop(output.artifact.name, None)
        if pieces is None:
            return output
        part = event_pb2.Output(artifact_part=event_pb2.ArtifactPart(name=output.artifact.name))
        for data in pieces.end():
            await self._emit(_with_part(part, data))
        if not pieces.changed:
            return output
        said = event_pb2.Output()
        said.CopyFrom(output)
        said.artifact.size_bytes, said.artifact.sha256 = pieces.size, pieces.sha256
        return said


def _with_chunk(output: event_pb2.Output, data: bytes) -> event_pb2.Output:
    piece = event_pb2.Output()
    piece.CopyFrom(output)
    piece.chunk.data = data
    return piece


def _with_part(output: event_pb2.Output, data: bytes) -> event_pb2.Output:
    piece = event_pb2.Output()
    piece.CopyFrom(output)
    piece.artifact_part.data = data
    return piece
