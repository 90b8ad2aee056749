"""Blots out secrets in what a worker logs and sends. It knows their values; what they are for never enters here."""

import json
import re
from collections.abc import Iterable

BLOT = b"[redacted]"
SECRET_CHARACTERS_MIN = 8
"""A shorter value stands in too many places where it is no secret."""


class Redaction:
    """Finds the values of secrets, plain and as they stand inside JSON text."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            if len(secret) >= SECRET_CHARACTERS_MIN:
                forms.update((secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]))
        # The longest first, so that one secret inside another leaves nothing of the longer one.
        self._forms = sorted((form.encode("utf-8", "surrogateescape") for form in forms), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms))) if self._forms else None

    @property
    def bytes_max(self) -> int:
        """The length of the longest secret; zero when there is none."""
        return len(self._forms[0]) if self._forms else 0

    def finds(self, data: bytes) -> bool:
        """Whether a secret is in the bytes."""
        return self._pattern is not None and self._pattern.search(data) is not None

    def clean(self, data: bytes) -> bytes:
        """The bytes without any secret."""
        return self._pattern.sub(BLOT, data) if self._pattern is not None else data

    def clean_cut(self, text: str) -> str:
        """The text without any secret, and, as it may have been cut at its ends, without what is left of one there."""
        if self._pattern is None:
            return text
        data = self.clean(text.encode("utf-8", "surrogateescape"))
        beginning = self.open_at(data)
        if len(data) - beginning >= SECRET_CHARACTERS_MIN:
            data = data[:beginning] + BLOT
        for size in range(min(self.bytes_max - 1, len(data)), SECRET_CHARACTERS_MIN - 1, -1):
            if any(len(form) > size and form.endswith(data[:size]) for form in self._forms):
                data = BLOT + data[size:]
                break
        return data.decode("utf-8", "surrogateescape")

    def open_at(self, data: bytes, start: int = 0) -> int:
        """From where on, at or after `start`, the bytes could be the beginning of a secret that goes on after them;
        their length when nothing does."""
        first = len(data)
        for form in self._forms:
            place = data.find(form[:1], max(start, len(data) - len(form) + 1))
            while 0 <= place < first:
                if form.startswith(data[place:]):
                    first = place
                    break
                place = data.find(form[:1], place + 1)
        return first

    def settle(self, data: bytes) -> tuple[bytes, bytes]:
        """Of bytes that go on: their beginning, cleaned as it will be whatever follows, and the rest, which is to be
        put before what follows."""
        if self._pattern is None:
            return data, b""
        done: list[bytes] = []
        place = 0
        while True:
            found, held = self._pattern.search(data, place), self.open_at(data, place)
            if found is None or found.start() >= held:
                return b"".join((*done, data[place:held])), data[held:]
            done += (data[place : found.start()], BLOT)
            place = found.end()


class CleanStream:
    """Bytes that come in pieces, cut anywhere, without any secret. It holds back less than the longest secret."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._held = b""
        self.changed = False
        """Whether a secret was found."""

    def push(self, data: bytes) -> bytes:
        """What can be said now."""
        data = self._held + data
        clean, self._held = self._redaction.settle(data)
        self._note(clean, data[: len(data) - len(self._held)])
        return clean

    def end(self) -> bytes:
        """What is left when nothing follows."""
        data, self._held = self._held, b""
        clean = self._redaction.clean(data)
        self._note(clean, data)
        return clean

    def _note(self, clean: bytes, data: bytes) -> None:
        self.changed = self.changed or clean != data


NOTHING_TO_HIDE = Redaction(())
