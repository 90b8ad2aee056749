"""Cursors of conversations: opaque to clients, checked when they come back."""

import re
from dataclasses import dataclass

from headrace_server.core.refusal import Reason, Refusal, Refused

_CURSOR = re.compile(r"session:([0-9]{1,18}):([0-9]{1,18}):([0-9]{1,9}):([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class TurnCursor:
    """The place right after a sequence of a turn of a session; sequence zero is the beginning of the turn."""

    generation: int
    session: int
    """Its row."""
    turn: int
    sequence: int

    def text(self) -> str:
        """As clients keep it."""
        return f"session:{self.generation}:{self.session}:{self.turn}:{self.sequence}"


def parse_turn_cursor(cursor: str, generation: int, session: int, turns: int) -> TurnCursor:
    """The place that a cursor names in a session that has had so many turns. Raises Refused (INVALID_TOKEN)."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Refused(_bad_cursor("was not made by this rpc"))
    found = TurnCursor(*(int(part) for part in match.groups()))
    if (found.generation, found.session) != (generation, session) or not 1 <= found.turn <= turns + 1:
        raise Refused(_bad_cursor("is not one of this session"))
    return found


def _bad_cursor(why: str) -> Refusal:
    return Refusal(Reason.INVALID_TOKEN, f"cursor {why}", metadata={"field": "cursor"})
