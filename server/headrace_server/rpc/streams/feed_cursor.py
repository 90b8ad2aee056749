"""Cursors of the feed: opaque to clients, checked when they come back."""

import re
from dataclasses import dataclass

from headrace_server.core.ids import Micros
from headrace_server.core.refusal import Reason, Refusal, Refused

_CURSOR = re.compile(r"feed:([0-9]{1,18}):([0-9]{1,18})(?::([0-9]{1,18}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class FeedPlace:
    """The place right after a position of a generation of the store."""

    generation: int
    position: int
    not_before: Micros = Micros(0)
    """What is earlier is not wanted: of a reader who asked for a time that has not come."""

    def cursor(self) -> str:
        """As clients keep it."""
        later = f":{self.not_before}" if self.not_before else ""
        return f"feed:{self.generation}:{self.position}{later}"


def parse_cursor(cursor: str) -> FeedPlace:
    """The place that a cursor names. Raises Refused (INVALID_TOKEN)."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Refused(bad_cursor("was not made by this rpc"))
    generation, position, not_before = match.groups()
    return FeedPlace(int(generation), int(position), Micros(int(not_before or 0)))


def bad_cursor(why: str) -> Refusal:
    """The refusal of a cursor."""
    return Refusal(Reason.INVALID_TOKEN, f"cursor {why}", metadata={"field": "cursor"})
