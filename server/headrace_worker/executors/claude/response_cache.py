"""Answers that were given before, kept on the worker's disk by what was asked (X7).

Owns the files and their bounds: the least recently used go first. Every time in them is one of the server's clock, in
microseconds. Which answers may be kept, and how one is given again, is decided in `caching.py`. What blocks on the disk
says so.
"""

import hashlib
import logging
import os
import re
import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf.message import DecodeError

from headrace.v1 import event_pb2, outcome_pb2, worker_pb2, worker_service_pb2
from headrace_worker.limits import (
    CACHE_ANSWER_BYTES_MAX,
    CACHE_BYTES_MAX,
    CACHE_ENTRIES_COUNT_MAX,
    CACHE_INVALIDATIONS_COUNT_MAX,
)

_MARK = b"HRA2"
_START = struct.Struct(">4s32s")
"""The mark, and the SHA-256 of all that follows."""
_HEAD = struct.Struct(">QQQHQ")
"""Asked, given, until; how long the namespace is, and the result."""
_HEAD_BYTES_MAX = 4096
"""Enough for the head with any namespace."""
_KEY = re.compile(r"[0-9a-f]{64}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said, and the result."""

    result: outcome_pb2.Result
    outputs: Sequence[event_pb2.Output]


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of an answer without reading it."""

    namespace: str
    asked: int
    """When the attempt was granted that asked."""
    given: int
    """When the answer was whole."""
    until: int
    """When it is removed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    kept: Kept
    size: int


@dataclass(frozen=True, slots=True)
class _Summary:
    entries: int = 0
    size: int = 0
    oldest: int = 0
    newest: int = 0


def encode(kept: Kept, answer: Answer) -> bytes:
    """An answer as a file holds it."""
    namespace, result = kept.namespace.encode(), answer.result.SerializeToString()
    head = _HEAD.pack(kept.asked, kept.given, kept.until, len(namespace), len(result))
    outputs = worker_service_pb2.OutputBatch(outputs=answer.outputs).SerializeToString()
    rest = head + namespace + result + outputs
    return _START.pack(_MARK, hashlib.sha256(rest).digest()) + rest


def decode_head(data: bytes) -> Kept:
    """Reads the beginning of what `encode` made. Raises ValueError."""
    try:
        mark, _ = _START.unpack_from(data)
        asked, given, until, length, _ = _HEAD.unpack_from(data, _START.size)
    except struct.error as error:
        raise ValueError(f"not an answer: {error}") from error
    if mark != _MARK:
        raise ValueError("not an answer, or one of another version")
    begin = _START.size + _HEAD.size
    if len(data) < begin + length:
        raise ValueError("an answer that is not whole")
    return Kept(data[begin : begin + length].decode(), asked, given, until)


def decode(data: bytes) -> Answer:
    """Reads what `encode` made. Raises ValueError for anything else, whatever is missing or changed."""
    decode_head(data)
    _, digest = _START.unpack_from(data)
    if hashlib.sha256(memoryview(data)[_START.size :]).digest() != digest:
        raise ValueError("an answer that is not whole")
    _, _, _, length, size = _HEAD.unpack_from(data, _START.size)
    begin = _START.size + _HEAD.size + length
    try:
        result = outcome_pb2.Result.FromString(data[begin : begin + size])
        outputs = worker_service_pb2.OutputBatch.FromString(data[begin + size :]).outputs
    except DecodeError as error:
        raise ValueError(f"not an answer: {error}") from error
    return Answer(result, outputs)


@dataclass(slots=True)
class ResponseCache:
    """The answers of one worker. What blocks is called one at a time, on any thread; the rest on the event loop."""

    folder: Path
    hits: int = 0
    misses: int = 0
    shared: int = 0
    stores: int = 0
    evictions: int = 0
    _entries: OrderedDict[str, _Entry] = field(default_factory=OrderedDict)
    """By key, the least recently used first."""
    _invalidated: dict[str, int] = field(default_factory=dict)
    """By namespace: answers that were asked for up to then count no more."""
    _summary: _Summary = _Summary()
    """Of the entries; replaced as a whole, so that the event loop may read it meanwhile."""

    def load(self, now: int) -> None:
        """Finds what earlier starts of the worker have kept, and removes what can't be used. Raises OSError. Blocks."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = sorted(os.scandir(self.folder), key=lambda one: (one.stat().st_mtime_ns, one.name))
        for one in found:
            kept = self._read_head(one.name)
            if kept is None or kept.until <= now:
                self._unlink(one.name)
            else:
                self._entries[one.name] = _Entry(kept, one.stat().st_size)
        self._shed()
        self._summarise()

    def get(self, key: str, now: int, ttl: int, after: int) -> Answer | None:
        """The answer to a question, unless it is older than `ttl`, or was asked for by `after`. Blocks."""
        entry = self._entries.get(key)
        # One that was given long after now has a time that nobody can trust.
        if entry is None or abs(now - entry.kept.given) > ttl:
            return None
        if entry.kept.asked <= after:
            self._drop(key)
            return None
        path = self.folder / key
        try:
            answer = decode(path.read_bytes())
            os.utime(path)
        except (OSError, ValueError) as error:
            logger.warning("a kept answer is left out: %s", error)
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return answer

    def put(self, key: str, kept: Kept, answer: Answer) -> None:
        """Keeps an answer, unless it is too large, or counts no more already. Blocks."""
        if kept.asked <= self._invalidated.get(kept.namespace, 0):
            return
        data = encode(kept, answer)
        if len(data) > CACHE_ANSWER_BYTES_MAX:
            return
        partial = self.folder / f".{key}"
        try:
            partial.write_bytes(data)
            partial.replace(self.folder / key)
        except OSError as error:
            logger.warning("an answer could not be kept: %s", error)
            self._unlink(partial.name)
            return
        self._entries[key] = _Entry(kept, len(data))
        self._entries.move_to_end(key)
        self.stores += 1
        self._shed()
        self._summarise()

    def until(self, key: str) -> int:
        """When the answer to a question is removed; zero when there is none."""
        entry = self._entries.get(key)
        return entry.kept.until if entry is not None else 0

    def invalidate(self, namespace: str, time: int) -> bool:
        """Takes note that answers of a namespace which were asked for by then count no more; `sweep` removes them.

        Returns whether that is news.
        """
        if time <= self._invalidated.get(namespace, 0):
            return False
        self._invalidated[namespace] = time
        if len(self._invalidated) > CACHE_INVALIDATIONS_COUNT_MAX:
            # Nobody is given an answer of that one either: the next who asks is told of it.
            del self._invalidated[min(self._invalidated, key=self._invalidated.__getitem__)]
        return True

    def sweep(self, now: int) -> None:
        """Removes what is too old and what counts no more. Blocks."""
        invalidated = dict(self._invalidated)
        for key, entry in list(self._entries.items()):
            kept = entry.kept
            if kept.until <= now or kept.asked <= invalidated.get(kept.namespace, 0):
                self._remove(key)
        self._summarise()

    def state(self) -> worker_pb2.ResponseCacheState:
        """What is kept, and how often it helped."""
        summary = self._summary
        state = worker_pb2.ResponseCacheState(
            entries=summary.entries,
            size_bytes=summary.size,
            hits=self.hits,
            misses=self.misses,
            shared=self.shared,
            stores=self.stores,
            evictions=self.evictions,
        )
        if summary.entries:
            state.oldest_time.FromMicroseconds(summary.oldest)
            state.newest_time.FromMicroseconds(summary.newest)
        return state

    def _read_head(self, name: str) -> Kept | None:
        if not _KEY.fullmatch(name):
            return None
        try:
            with (self.folder / name).open("rb") as file:
                return decode_head(file.read(_HEAD_BYTES_MAX))
        except (OSError, ValueError) as error:
            logger.warning("a kept answer is left out: %s", error)
            return None

    def _shed(self) -> None:
        size = sum(one.size for one in self._entries.values())
        while self._entries and (len(self._entries) > CACHE_ENTRIES_COUNT_MAX or size > CACHE_BYTES_MAX):
            key = next(iter(self._entries))
            size -= self._entries[key].size
            self._remove(key)
            self.evictions += 1

    def _summarise(self) -> None:
        given = [one.kept.given for one in self._entries.values()]
        size = sum(one.size for one in self._entries.values())
        self._summary = _Summary(len(given), size, min(given), max(given)) if given else _Summary()

    def _drop(self, key: str) -> None:
        self._remove(key)
        self._summarise()

    def _remove(self, key: str) -> None:
        del self._entries[key]
        self._unlink(key)

    def _unlink(self, name: str) -> None:
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("a kept answer could not be removed: %s", error)
