"""How text stands in columns: tables, and names beside values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len, set_cell_size


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(header))]
    lines = ("  ".join(set_cell_size(*cell) for cell in zip(row, widths, strict=True)) for row in cells)
    return [line.rstrip() for line in lines]


def dense_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The same without the columns that are empty in every row."""
    kept = [i for i in range(len(header)) if any(row[i] for row in rows)]
    return table([header[i] for i in kept], [[row[i] for i in kept] for row in rows])


def fields(values: Mapping[str, str], *more: tuple[str, str]) -> list[str]:
    """Names and values, aligned; what is empty is left out. In `more` a name may come again."""
    shown = [(name, value) for name, value in (*values.items(), *more) if value]
    width = max((10, *(len(name) for name, _ in shown)))
    return [f"{name:<{width}} {value}" for name, value in shown]
