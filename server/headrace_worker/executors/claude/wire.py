"""A frame of the CLI as JSON, and careful access to what it holds.

The CLI's version decides what a frame holds, so every field may be missing, of another type, or hold text that is not
valid Unicode; nothing here raises for that.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace_worker.executors.claude.framer import Line
from headrace_worker.executors.limits import PARSED_BYTES_MAX, PARSED_TEXT_CHARACTERS_MAX

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """A line and the JSON object in it."""

    line: Line
    body: Body | None
    """None when the line is no JSON object, or was cut."""

    @property
    def type(self) -> str:
        """The frame's type, empty when it has none."""
        return text(self.body, "type") if self.body is not None else ""

    @property
    def subtype(self) -> str:
        """The frame's subtype, empty when it has none."""
        return text(self.body, "subtype") if self.body is not None else ""


def parse(line: Line) -> Frame:
    """Reads a line; whatever it holds, the frame keeps it."""
    if line.cut:
        return Frame(line, None)
    try:
        body = json.loads(line.data)
        if len(line.data) > PARSED_BYTES_MAX:
            body = _trimmed(body)
    except (ValueError, RecursionError):
        return Frame(line, None)
    return Frame(line, body if isinstance(body, dict) else None)


def reread(frame: Frame) -> Body | None:
    """The frame's object with all of its texts; of a long line `body` has only their beginnings."""
    if frame.body is None or len(frame.line.data) <= PARSED_BYTES_MAX:
        return frame.body
    whole: Body = json.loads(frame.line.data)
    return whole


def _trimmed(value: Any) -> Any:
    """The same with texts cut to more than anybody keeps of one, so that a giant line is not held twice."""
    if isinstance(value, str):
        return value if len(value) <= PARSED_TEXT_CHARACTERS_MAX else value[:PARSED_TEXT_CHARACTERS_MAX]
    if isinstance(value, list):
        return [_trimmed(item) for item in value]
    return {name: _trimmed(item) for name, item in value.items()} if isinstance(value, dict) else value


def mapping(body: Body | None, name: str) -> Body:
    """An object in an object; empty when it is not there."""
    value = body.get(name) if body is not None else None
    return value if isinstance(value, dict) else {}


def mappings(body: Body, name: str) -> list[Body]:
    """The objects of a list in an object."""
    value = body.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(body: Body | None, name: str) -> str:
    """A text in an object; empty when it is not there. Valid Unicode in any case."""
    value = body.get(name) if body is not None else None
    return clean(value) if isinstance(value, str) else ""


def clean(value: str) -> str:
    """The text with every lone surrogate replaced; JSON can hold them, UTF-8 can't."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def integer(body: Body, name: str, bits: int = 63) -> int:
    """A whole number in an object, kept within its size; 0 when it is not there."""
    limit = int(2**bits)
    return max(-limit, min(limit - 1, int(number(body, name))))


def number(body: Body, name: str) -> float:
    """A finite number in an object; 0 when it is not there."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return value if -1e300 < value < 1e300 else 0
