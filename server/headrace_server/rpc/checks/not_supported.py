"""The fields that the contract has and this server does not honour yet, in one table.

A field that is set and would be ignored is refused instead: a caller must never believe in a limit that nobody keeps.
Whoever makes a field work removes its line here.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headrace_server.core.refusal import Reason, Refusal


def _is_set(value: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class NotSupported:
    """One field, by its path from the message that the table is about."""

    path: str
    why: str
    applies: Callable[[Any], bool] = _is_set
    """Whether a value that is set asks for what is not there."""


SPEC: Sequence[NotSupported] = ()
QUEUE: Sequence[NotSupported] = ()


class Table:
    """A list of such fields, made ready for looking only at what is set."""

    def __init__(self, entries: Iterable[NotSupported]) -> None:
        self._leaves: dict[str, NotSupported] = {}
        below: dict[str, list[NotSupported]] = {}
        for entry in entries:
            name, _, rest = entry.path.partition(".")
            if rest:
                below.setdefault(name, []).append(NotSupported(rest, entry.why, entry.applies))
            else:
                self._leaves[name] = entry
        self._below = {name: Table(inner) for name, inner in below.items()}

    def find(self, message: Any, prefix: str, only: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
        """Path and why of each field that is set and not honoured; with `only`, below these fields of the message."""
        if not (self._leaves or self._below):
            return
        for field, value in message.ListFields():
            name = field.name
            if only is not None and name not in only:
                continue
            leaf = self._leaves.get(name)
            if leaf is not None and leaf.applies(value):
                yield prefix + name, leaf.why
            elif name in self._below:
                yield from self._below[name].find(value, f"{prefix}{name}.")


def of_session(entries: Iterable[NotSupported]) -> Iterator[NotSupported]:
    """The same fields where a session states them for its turns."""
    for entry in entries:
        yield replace(entry, path=entry.path.replace("claude.", "task.", 1))


SPEC_TABLE = Table(SPEC)
SESSION_TABLE = Table(of_session(SPEC))
QUEUE_TABLE = Table(QUEUE)


def refuse_first(found: Iterator[tuple[str, str]]) -> Refusal | None:
    """The refusal for the first field that was found. One is enough: a client that needs it needs another server."""
    for path, why in found:
        return Refusal(Reason.NOT_SUPPORTED, f"{path} is not supported: {why}", metadata={"field": path})
    return None
