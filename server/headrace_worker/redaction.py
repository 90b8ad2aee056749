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
        ordered = sorted((form.encode("utf-8", "surrogateescape") for form in forms), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, ordered))) if ordered else None

    def finds(self, data: bytes) -> bool:
        """Whether a secret is in the bytes."""
        return self._pattern is not None and self._pattern.search(data) is not None

    def clean(self, data: bytes) -> bytes:
        """The bytes without any secret."""
        return self._pattern.sub(BLOT, data) if self._pattern is not None else data

    def clean_text(self, text: str) -> str:
        """The text without any secret."""
        if self._pattern is None:
            return text
        return self.clean(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


NOTHING_TO_HIDE = Redaction(())
