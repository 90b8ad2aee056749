"""Columns that fit: which of them a width has room for, in which order rows stand, and their lines. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.text import Text

Row = TypeVar("Row")

GAP = 2
FLEXIBLE_MIN = 10


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """A column: its cells, how its rows are sorted, and what it gives way to."""

    title: str
    cell: Callable[[Row], str]
    rank: int
    """The highest rank goes first when there is no room; 0 always stays."""
    key: Callable[[Row], Any] | None = None
    """What to sort by; None means the cell's text."""
    right: bool = False
    flexible: bool = False
    """May be cut when there is no room."""
    style: Callable[[Row], str] | None = None

    def sort_key(self, row: Row) -> Any:
        """What a row is sorted by."""
        return self.cell(row) if self.key is None else self.key(row)


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Row]):
    """Columns and their widths."""

    columns: tuple[Column[Row], ...]
    widths: tuple[int, ...]


def fit(columns: Sequence[Column[Row]], rows: Sequence[Row], width: int) -> Fitted[Row]:
    """The columns that there is room for: flexible ones are cut first, then the least wanted are left out."""
    kept = list(columns)
    natural = {one.title: max([cell_len(one.title) + 1, *(cell_len(one.cell(row)) for row in rows)]) for one in kept}
    while True:
        widths = _shrunk(kept, [natural[one.title] for one in kept], width)
        if sum(widths) + GAP * (len(kept) - 1) <= width or not any(one.rank for one in kept):
            return Fitted(tuple(kept), tuple(widths))
        kept.remove(max(kept, key=lambda one: one.rank))


def _shrunk(columns: list[Column[Row]], widths: list[int], width: int) -> list[int]:
    over = sum(widths) + GAP * (len(columns) - 1) - width
    for number, one in enumerate(columns):
        if one.flexible and over > 0:
            cut = min(over, max(0, widths[number] - FLEXIBLE_MIN))
            widths[number] -= cut
            over -= cut
    return widths


def ordered(columns: Sequence[Column[Row]], rows: Sequence[Row], title: str, reverse: bool) -> list[Row]:
    """The rows by one column; equal ones keep their order."""
    by = next((one for one in columns if one.title == title), columns[0])
    return sorted(rows, key=by.sort_key, reverse=reverse)


def header(fitted: Fitted[Any], title: str, reverse: bool, focused: bool) -> Text:
    """The line of titles; the sorted one has a mark."""
    mark = "▾" if reverse else "▴"
    line = Text()
    for one, width in zip(fitted.columns, fitted.widths, strict=True):
        text = f"{one.title}{mark}" if one.title == title else one.title
        style = "bold reverse" if focused and one.title == title else "bold"
        _add(line, text, width, one.right, style)
    return line


def line(fitted: Fitted[Row], row: Row) -> Text:
    """A row."""
    made = Text()
    for one, width in zip(fitted.columns, fitted.widths, strict=True):
        _add(made, one.cell(row), width, one.right, one.style(row) if one.style else "")
    return made


def _add(line: Text, text: str, width: int, right: bool, style: str) -> None:
    if len(line):
        line.append(" " * GAP)
    if cell_len(text) > width:
        text = set_cell_size(text, max(0, width - 1)) + "…"
    padding = " " * (width - cell_len(text))
    line.append(padding if right else "")
    line.append(text, style=style)
    line.append("" if right else padding)
