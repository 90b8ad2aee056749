"""Says on stderr where a run is: a bar at a terminal, else a line for each row."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Telling(Protocol):
    """How a run says where it is."""

    def begin(self, row: str) -> None:
        """A row begins."""
        ...

    def step(self, what: str) -> None:
        """The row is at a step."""
        ...

    def done(self) -> None:
        """The row has ended."""
        ...


class Lines:
    """A line for each row."""

    def begin(self, row: str) -> None:
        print(f"bench: {row}", file=sys.stderr, flush=True)

    def step(self, what: str) -> None:
        """Nothing: logs have no use for it."""

    def done(self) -> None:
        """Nothing: the next line says it."""


class Bar:
    """A bar with the row and its step."""

    def __init__(self, progress: Progress, rows_count: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=rows_count)
        self._row = ""

    def begin(self, row: str) -> None:
        self._row = row
        self._progress.update(self._task, description=row)

    def step(self, what: str) -> None:
        self._progress.update(self._task, description=f"{self._row}: {what}")

    def done(self) -> None:
        self._progress.advance(self._task)


@contextmanager
def telling(rows_count: int) -> Iterator[Telling]:
    """A bar when stderr is a terminal, else lines."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        yield Bar(progress, rows_count)
