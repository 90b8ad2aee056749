"""What people and machines are shown of a run: a table, or JSON; and on what machine it was."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from pysqlite3 import dbapi2 as sqlite
from rich.console import Console
from rich.table import Table

from benchmark.figures import Figure, Target
from benchmark.floors import Measured


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a run found."""

    size: str
    seconds: float
    figures: Sequence[Figure]
    floors: Sequence[Measured]
    fdatasync_p50_millis: float
    fdatasync_p99_millis: float

    def environment(self) -> dict[str, Any]:
        """The machine and the versions that the figures belong to."""
        return {
            "cpus": len(os.sched_getaffinity(0)),
            "load": [round(one, 2) for one in os.getloadavg()],
            "python": platform.python_version(),
            "grpcio": version("grpcio"),
            "sqlite": sqlite.sqlite_version,
            "fdatasync_p50_millis": round(self.fdatasync_p50_millis, 3),
            "fdatasync_p99_millis": round(self.fdatasync_p99_millis, 3),
        }

    def as_json(self) -> str:
        """For machines."""
        document = {
            "size": self.size,
            "seconds": round(self.seconds, 1),
            "environment": self.environment(),
            "floors": [{"what": one.what, "value": one.value, "unit": one.unit} for one in self.floors],
            "figures": [as_object(figure) for figure in self.figures],
        }
        return json.dumps(document, indent=2, ensure_ascii=False)

    def show(self, console: Console) -> None:
        """For people."""
        table = Table(show_lines=False)
        for name in ("row", "what"):
            table.add_column(name, overflow="fold")
        for name in ("ours", "floor", "ratio", "target"):
            table.add_column(name, justify="right", no_wrap=name != "floor")
        table.add_column("met")
        last = ""
        for figure in self.figures:
            if last and figure.row != last:
                table.add_section()
            table.add_row("" if figure.row == last else figure.row, *cells(figure))
            last = figure.row
        console.print(table)
        for one in self.floors:
            console.print(f"floor: {one.what}: {amount(one.value)} {one.unit}", highlight=False)
        facts = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.environment().items())
        console.print(f"{facts}; {self.size} run of {self.seconds:.0f} s", highlight=False)


def as_object(figure: Figure) -> dict[str, Any]:
    """One figure for machines."""
    return {
        "row": figure.row,
        "what": figure.what,
        "unit": figure.unit,
        "ours": figure.ours,
        "floor": None if figure.floor is None else {"what": figure.floor.what, "value": figure.floor.value},
        "ratio": figure.ratio,
        "target": None if figure.target is None else target_object(figure.target),
        "met": figure.met,
        "details": dict(figure.details),
    }


def target_object(target: Target) -> dict[str, Any]:
    """A target for machines."""
    return {"of": target.of.value, "bound": target.bound.value, "value": target.value}


def cells(figure: Figure) -> list[str]:
    """One figure for people, from its second column on."""
    floor = "" if figure.floor is None else f"{amount(figure.floor.value)} {figure.floor.what}"
    target = figure.target
    wanted = "" if target is None else f"{target.of.value} {target.bound.value} {amount(target.value)}"
    met = {True: "[green]yes", False: "[red]no", None: ""}[figure.met]
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return [figure.what, f"{amount(figure.ours)} {figure.unit}", floor, ratio, wanted, met]


def amount(value: float) -> str:
    """A number with about three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
