"""What a follow view consists of: pieces of an answer, bytes of output, lines beside them. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Tone(Enum):
    """What a line is about; a terminal gives each its colour."""

    NOTE = "note"
    TOOL = "tool"
    DETAIL = "detail"
    WARNING = "warning"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Line:
    """A whole line beside the output."""

    text: str
    tone: Tone = Tone.NOTE


@dataclass(frozen=True, slots=True)
class Answer:
    """A piece of what the model says; `end` closes its line."""

    text: str
    end: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes of output, exactly as they came."""

    data: bytes
    to_stderr: bool = False


Part = Line | Answer | Raw


def printable(text: str) -> str:
    """The text without control characters, so that output can't steer a terminal; tabs and newlines stay."""
    return "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and not 127 <= ord(c) < 160))


def one_line(text: str, length: int = 100) -> str:
    """The text as one line, cut with an ellipsis."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
