"""X8: a secret that is cut in two, by deltas or by the pieces of something large, is as hidden as a whole one."""

import asyncio
import hashlib
import random
from collections.abc import Sequence

import pytest

from headrace.v1 import event_pb2, outcome_pb2
from headrace_worker.executors.contract import Attempt, Failed, Outcome, Succeeded
from headrace_worker.executors.limits import CHUNK_BYTES_MAX
from headrace_worker.executors.redacted_deltas import CONVERSATIONS_COUNT_MAX, RedactedDeltas
from headrace_worker.executors.redacting import RedactingExecutor, Run
from headrace_worker.redaction import CleanStream, Redaction

SECRET = "sk-ant-secret-1"
REDACTION = Redaction([SECRET])
DONE = Succeeded(outcome_pb2.Result())
FRAME = event_pb2.OUTPUT_STREAM_FRAME


def text(said: str, block: int = 0, conversation: str = "", message: str = "m") -> event_pb2.Delta:
    return event_pb2.Delta(text=said, block_index=block, message_id=message, parent_tool_use_id=conversation)


def said_of(deltas: Sequence[event_pb2.Delta]) -> list[str]:
    heard: list[event_pb2.Delta] = []
    redacted = RedactedDeltas(REDACTION, heard.append)
    for delta in deltas:
        redacted.say(delta)
    return [delta.text for delta in heard]


def cut_anywhere(data: bytes, chance: random.Random) -> list[bytes]:
    borders = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(12)))
    return [data[start:end] for start, end in zip([0, *borders], [*borders, len(data)], strict=True)]


@pytest.mark.parametrize("seed", range(300))
def test_x8_a_stream_cut_anywhere_says_what_the_whole_would_say(seed: int) -> None:
    """Secrets of two letters overlap, begin and hold one another."""
    chance = random.Random(seed)
    secrets = ["".join(chance.choices("ab", k=chance.randrange(8, 13))) for _ in range(chance.randrange(1, 5))]
    whole = "".join(
        chance.choice(secrets)[: chance.randrange(1, 14)] if chance.random() < 0.7 else chance.choice("abc€")
        for _ in range(chance.randrange(1, 30))
    ).encode()
    redaction = Redaction(secrets)
    stream = CleanStream(redaction)
    pieces = [stream.push(piece) for piece in cut_anywhere(whole, chance)]
    assert b"".join((*pieces, stream.end())) == redaction.clean(whole)
    assert stream.changed == redaction.finds(whole)


@pytest.mark.parametrize("seed", range(100))
def test_x8_the_deltas_of_blocks_cut_anywhere_say_what_the_whole_blocks_would_say(seed: int) -> None:
    chance = random.Random(seed)
    waiting: dict[str, list[event_pb2.Delta]] = {}
    wholes: dict[tuple[str, int], str] = {}
    for conversation in ("", "a", "b"):
        for block in range(3):
            whole = "".join(chance.choice((SECRET, SECRET[:9], "s", "word ", "€")) for _ in range(6))
            wholes[conversation, block] = whole
            pieces = [piece.decode("utf-8", "surrogateescape") for piece in cut_anywhere(whole.encode(), chance)]
            if any("\udc00" <= character <= "\udfff" for piece in pieces for character in piece):
                pieces = list(whole)
            waiting.setdefault(conversation, []).extend(text(piece, block, conversation) for piece in pieces)
    heard: list[event_pb2.Delta] = []
    redacted = RedactedDeltas(REDACTION, heard.append)
    while waiting:
        conversation = chance.choice(sorted(waiting))
        redacted.say(waiting[conversation].pop(0))
        if not waiting[conversation]:
            del waiting[conversation]
            redacted.end(conversation)
    for (conversation, block), whole in wholes.items():
        said = [d.text for d in heard if (d.parent_tool_use_id, d.block_index) == (conversation, block)]
        assert "".join(said) == REDACTION.clean(whole.encode()).decode()


def test_deltas_come_at_once_unless_a_secret_may_have_begun() -> None:
    assert said_of([text("one "), text("two s"), text("o on "), text("sk-ant"), text("ique ")]) == [
        "one ",
        "two ",
        "so on ",
        "sk-antique ",
    ]


def test_what_was_held_back_is_said_when_the_block_ends() -> None:
    assert said_of([text("it is sk-ant"), text("next", block=1)]) == ["it is ", "sk-ant", "next"]
    assert said_of([text("sk-ant"), event_pb2.Delta(tool_name="Bash", block_index=1)]) == ["sk-ant", ""]
    assert said_of([text("sk-ant"), text("other", conversation="a"), text(SECRET[6:])]) == ["other", "[redacted]"]


def test_x8_after_a_gap_the_rest_of_a_secret_is_not_said() -> None:
    gap = event_pb2.Delta(dropped=3)
    rest = [text(SECRET[7:]), text("x" * 40), text("y" * 40), text("z")]
    assert said_of([text(f"a {SECRET[:7]}"), gap, *rest]) == ["a ", "", "y" * 40, "z"]
    assert said_of([gap, *rest, text("new", block=1)]) == ["", "y" * 40, "z", "new"]
    assert said_of([gap, event_pb2.Delta(tool_name="Bash"), text("new")]) == ["", "", "new"]


def test_conversations_without_end_cost_bounded_memory() -> None:
    heard: list[event_pb2.Delta] = []
    redacted = RedactedDeltas(REDACTION, heard.append)
    for number in range(CONVERSATIONS_COUNT_MAX + 50):
        redacted.say(text("sk-ant", conversation=str(number)))
    assert len(redacted._blocks) == CONVERSATIONS_COUNT_MAX
    redacted.say(text(SECRET[6:], conversation="0"))
    assert heard == [], "what was forgotten may have been the beginning of a secret"


class Told:
    """An attempt that keeps what it is told, numbered as the worker does."""

    def __init__(self) -> None:
        self.heard: list[event_pb2.Output] = []

    async def emit(self, output: event_pb2.Output) -> int:
        kept = event_pb2.Output()
        kept.CopyFrom(output)
        self.heard.append(kept)
        return len(self.heard)

    def emit_delta(self, delta: event_pb2.Delta) -> None:
        self.heard.append(event_pb2.Output())


def told_by(run: Run, redaction: Redaction = REDACTION) -> list[event_pb2.Output]:
    told = Told()
    asyncio.run(RedactingExecutor(run, redaction).run(told))  # type: ignore[arg-type]  # a double
    return told.heard


def large_frame(line: bytes, piece_bytes: int) -> Run:
    async def run(attempt: Attempt) -> Outcome:
        stored = event_pb2.StoredFrame(size_bytes=len(line), sha256=hashlib.sha256(line).hexdigest())
        for start in range(0, len(line), piece_bytes):
            chunk = event_pb2.Chunk(stream=FRAME, data=line[start : start + piece_bytes])
            stored.last_producer_sequence = await attempt.emit(event_pb2.Output(chunk=chunk, dirty=True))
            stored.first_producer_sequence = stored.first_producer_sequence or stored.last_producer_sequence
        await attempt.emit(event_pb2.Output(claude=event_pb2.ClaudeFrame(stored=stored)))
        return DONE

    return run


@pytest.mark.parametrize("border", range(len(SECRET) + 1))
def test_x8_a_secret_across_the_pieces_of_a_large_frame_is_hidden_and_the_frame_is_whole(border: int) -> None:
    line = b"x" * (CHUNK_BYTES_MAX - border) + SECRET.encode() + b"y" * 100 + SECRET[:5].encode()
    *pieces, frame = told_by(large_frame(line, CHUNK_BYTES_MAX))
    kept = b"".join(piece.chunk.data for piece in pieces)
    assert kept == REDACTION.clean(line)
    stored = frame.claude.stored
    assert (stored.first_producer_sequence, stored.last_producer_sequence) == (1, len(pieces))
    assert (stored.size_bytes, stored.sha256) == (len(kept), hashlib.sha256(kept).hexdigest())
    assert all(piece.dirty and len(piece.chunk.data) <= CHUNK_BYTES_MAX for piece in pieces[:-1])


def test_a_large_frame_that_grows_as_its_secrets_are_hidden_is_whole() -> None:
    line = b"8letters" * (CHUNK_BYTES_MAX // 4)
    redaction = Redaction(["8letters"])
    *pieces, frame = told_by(large_frame(line, CHUNK_BYTES_MAX), redaction)
    assert b"".join(piece.chunk.data for piece in pieces) == redaction.clean(line)
    stored = frame.claude.stored
    assert (stored.first_producer_sequence, stored.last_producer_sequence) == (1, len(pieces))


def test_a_large_frame_without_a_secret_keeps_its_bytes_and_its_digest() -> None:
    line = bytes(range(256)) * 4096
    *pieces, frame = told_by(large_frame(line, CHUNK_BYTES_MAX))
    assert b"".join(piece.chunk.data for piece in pieces) == line
    assert frame.claude.stored.sha256 == hashlib.sha256(line).hexdigest()


def test_x8_a_secret_across_the_parts_of_an_artifact_is_hidden_and_the_artifact_is_whole() -> None:
    data = b"+" + SECRET.encode() + b"\n+sk-"

    async def run(attempt: Attempt) -> Outcome:
        for start in range(0, len(data), 7):
            part = event_pb2.ArtifactPart(name="changes.patch", data=data[start : start + 7])
            await attempt.emit(event_pb2.Output(artifact_part=part))
        artifact = outcome_pb2.Artifact(
            name="changes.patch", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
        await attempt.emit(event_pb2.Output(artifact=artifact))
        return DONE

    *parts, told = told_by(run)
    kept = b"".join(part.artifact_part.data for part in parts)
    assert kept == b"+[redacted]\n+sk-"
    assert (told.artifact.size_bytes, told.artifact.sha256) == (len(kept), hashlib.sha256(kept).hexdigest())


def test_x8_what_a_limit_left_of_a_secret_in_a_failure_is_hidden() -> None:
    async def run(attempt: Attempt) -> Outcome:
        return Failed(outcome_pb2.Failure(message=f"it is {SECRET[:9]}", detail=f"{SECRET[4:]}\nmore sk-"))

    failed = asyncio.run(RedactingExecutor(run, REDACTION).run(Told()))  # type: ignore[arg-type]  # a double
    assert isinstance(failed, Failed)
    assert (failed.failure.message, failed.failure.detail) == ("it is [redacted]", "[redacted]\nmore sk-")
