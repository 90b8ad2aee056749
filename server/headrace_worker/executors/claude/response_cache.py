"""Answers that were given before, kept on the worker's disk by what was asked (X7).

Owns the files and their bounds: the least recently used go first. Which answers may be kept, and how one is given
again, is decided in `caching.py`. What blocks on the disk says so.
"""

import logging
import os
import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from headrace.v1 import event_pb2, outcome_pb2, worker_pb2, worker_service_pb2
from headrace_worker.limits import CACHE_ANSWER_BYTES_MAX, CACHE_BYTES_MAX, CACHE_ENTRIES_COUNT_MAX

_HEAD = struct.Struct(">4sQ")
_MARK = b"HRA1"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said, and the result."""

    result: outcome_pb2.Result
    outputs: Sequence[event_pb2.Output]

    def encode(self) -> bytes:
        """As a file holds it."""
        result = self.result.SerializeToString()
        batch = worker_service_pb2.OutputBatch(outputs=self.outputs)
        return _HEAD.pack(_MARK, len(result)) + result + batch.SerializeToString()

    @staticmethod
    def decode(data: bytes) -> "Answer":
        """Reads what `encode` made. Raises ValueError."""
        try:
            mark, size = _HEAD.unpack_from(data)
            result = outcome_pb2.Result.FromString(data[_HEAD.size : _HEAD.size + size])
            outputs = worker_service_pb2.OutputBatch.FromString(data[_HEAD.size + size :]).outputs
        except (struct.error, DecodeError) as error:
            raise ValueError(f"not an answer: {error}") from error
        if mark != _MARK:
            raise ValueError("not an answer, or one of another version")
        return Answer(result, outputs)


@dataclass(slots=True)
class _Kept:
    time: float
    size: int


@dataclass(slots=True)
class ResponseCache:
    """The answers of one worker. `load`, `get` and `put` block on the disk, and are called one at a time."""

    folder: Path
    now: Callable[[], float]
    """Seconds since 1970, as file times are."""
    hits: int = 0
    misses: int = 0
    _kept: OrderedDict[str, _Kept] = field(default_factory=OrderedDict)
    """By key, the least recently used first."""

    def load(self) -> None:
        """Finds what earlier starts of the worker have kept. Raises OSError. Blocks."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = sorted((entry.stat().st_mtime, entry.name, entry.stat().st_size) for entry in os.scandir(self.folder))
        for time, name, size in found:
            if name.startswith("."):
                (self.folder / name).unlink(missing_ok=True)
            else:
                self._kept[name] = _Kept(time, size)
        self._shed()

    def get(self, key: str, ttl_seconds: float) -> Answer | None:
        """The answer to a question, unless it is older. Blocks."""
        kept = self._kept.get(key)
        if kept is None or self.now() - kept.time > ttl_seconds:
            return None
        try:
            answer = Answer.decode((self.folder / key).read_bytes())
        except (OSError, ValueError) as error:
            logger.warning("a kept answer is left out: %s", error)
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return answer

    def put(self, key: str, answer: Answer) -> None:
        """Keeps an answer; one that is too large is not kept. Blocks."""
        data = answer.encode()
        if len(data) > CACHE_ANSWER_BYTES_MAX:
            return
        partial = self.folder / f".{key}"
        try:
            partial.write_bytes(data)
            partial.replace(self.folder / key)
        except OSError as error:
            logger.warning("an answer could not be kept: %s", error)
            partial.unlink(missing_ok=True)
            return
        self._kept[key] = _Kept(self.now(), len(data))
        self._kept.move_to_end(key)
        self._shed()

    def state(self) -> worker_pb2.ResponseCacheState:
        """What is kept, and how often it helped."""
        state = worker_pb2.ResponseCacheState(
            entries=len(self._kept),
            size_bytes=sum(one.size for one in self._kept.values()),
            hits=self.hits,
            misses=self.misses,
        )
        if self._kept:
            state.oldest_time.FromMicroseconds(int(min(one.time for one in self._kept.values()) * 1_000_000))
        return state

    def _shed(self) -> None:
        size = sum(one.size for one in self._kept.values())
        while self._kept and (len(self._kept) > CACHE_ENTRIES_COUNT_MAX or size > CACHE_BYTES_MAX):
            key = next(iter(self._kept))
            size -= self._kept[key].size
            self._drop(key)

    def _drop(self, key: str) -> None:
        del self._kept[key]
        try:
            (self.folder / key).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("a kept answer could not be removed: %s", error)
