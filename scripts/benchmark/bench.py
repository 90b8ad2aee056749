"""What every row is given: how to start systems, the floors, the size of the run, and a way to say where it is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmark.figures import Figure
from benchmark.floors import Floors
from benchmark.size import Size
from benchmark.system import Launcher


@dataclass(frozen=True, slots=True)
class Bench:
    """The run that a row is part of."""

    launcher: Launcher
    floors: Floors
    size: Size
    step: Callable[[str], None]
    """Says what is being done just now."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: what it measures, and how."""

    name: str
    what: str
    measure: Callable[[Bench], Awaitable[list[Figure]]]
