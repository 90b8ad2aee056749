"""The values of the contract's enums in the words that people write: `any-succeeded`, `buffer-one`. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

Value = TypeVar("Value", bound=int)


def value_of(kind: Any, word: str) -> Any:
    """The value of an enum for a word, in any case, with `-` or `_`. Raises ValueError with the words there are."""
    wanted = word.replace("-", "_").upper()
    name = _prefix(kind) + wanted
    if wanted == "UNSPECIFIED" or name not in kind.keys():  # noqa: SIM118  # an enum of protobuf is no mapping
        raise ValueError(f"{word!r} is not one of {', '.join(words(kind))}")
    return kind.Value(name)


def word_of(kind: Any, value: int) -> str:
    """The word for a value; empty when it is not set, its number when this version does not know it."""
    if value == 0:
        return ""
    if value not in kind.values():
        return str(value)
    return str(kind.Name(value)).removeprefix(_prefix(kind)).lower().replace("_", "-")


def words(kind: Any) -> list[str]:
    """Every word of an enum, in the order of the contract."""
    return [word_of(kind, value) for value in kind.values() if value]


def chosen(kind: Any, choice: str | Value | None) -> Any:
    """The value for a word, for a value itself, or for None, which leaves it to the server."""
    if choice is None:
        return 0
    return value_of(kind, choice) if isinstance(choice, str) else choice


def _prefix(kind: Any) -> str:
    """`JOB_STATE_` of JobState: what the names of an enum begin with."""
    return str(kind.Name(0)).removesuffix("UNSPECIFIED")
