"""A client in another language, as a child process that prints JSON documents while it runs.

Owns the process and its deadline, and the reading of documents; what they mean is the tests'.
"""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from e2e.control_plane import DEADLINE_SECONDS

Json = dict[str, Any]


class Program:
    """Runs `command`; a context manager that ends it. It is killed when its time is over, so reading always ends."""

    def __init__(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command,
            env=None if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._deadline = threading.Timer(DEADLINE_SECONDS, self._process.kill)
        self._deadline.start()

    def next(self) -> Json:
        """The next document, as soon as it was printed."""
        for document in self._documents():
            return document
        raise AssertionError(f"it has ended: {self._ended()}")

    def finish(self) -> list[Json]:
        """What it still prints; it has to succeed."""
        rest = list(self._documents())
        status, errors = self._ended()
        assert status == 0, f"{rest}\n{errors}"
        return rest

    def fail(self) -> tuple[int, Json]:
        """It has to print nothing and fail: with which status, and the document that it prints as its error."""
        assert list(self._documents()) == []
        status, errors = self._ended()
        assert status > 0, errors
        error: Json = json.loads(errors)
        return status, error

    def _documents(self) -> Iterator[Json]:
        """Each is on one line, or on several ones between `{` and `}` at the beginning of theirs."""
        assert self._process.stdout is not None
        text = ""
        for line in self._process.stdout:
            text += line
            if line.startswith("}") or (line.startswith("{") and line.rstrip().endswith("}")):
                yield json.loads(text)
                text = ""
        assert not text.strip(), text

    def _ended(self) -> tuple[int, str]:
        assert self._process.stderr is not None
        errors = self._process.stderr.read()
        return self._process.wait(), errors

    def __enter__(self) -> "Program":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadline.cancel()
        self._process.kill()
        self._process.communicate()


def events_of(messages: list[Json]) -> list[Json]:
    """Events of a stream's messages, in the order they came."""
    return [event for message in messages for event in (message.get("batch") or {}).get("events", ())]


def sequences_of(messages: list[Json]) -> list[int]:
    return [int(event["sequence"]) for event in events_of(messages)]


def kinds_of(messages: list[Json]) -> list[str]:
    """What the messages of a follow stream are, without those that only say that it lives."""
    kinds = ("opened", "batch", "gap", "end")
    return [kind for message in messages for kind in kinds if kind in message or message.get("kind") == kind]
