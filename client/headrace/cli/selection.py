"""Which jobs a command is about: by id, or by a filter made of options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli import options
from headrace.cli.filters import job_filter

JobIds = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of jobs.", show_default=False)]


@dataclass(frozen=True, slots=True)
class Selection:
    """Jobs by what they have in common; all of it has to hold."""

    state: Annotated[list[str] | None, typer.Option(help="A state, e.g. RUNNING; repeatable: any of them.")] = None
    queue: Annotated[str, typer.Option(help="Of this queue.")] = ""
    owner: Annotated[str, typer.Option(help="Of this owner.")] = ""
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; repeatable: all of them.")] = None
    filter: Annotated[str, typer.Option(help="More terms, e.g. 'worker_id = \"w1\"'.")] = ""

    def text(self) -> str:
        """The filter for the server."""
        return job_filter(self.state or [], self.queue, self.owner, options.labels(self.label or []), self.filter)


def either(job_ids: list[str] | None, selection: Selection) -> str:
    """The filter of a command that takes ids or a filter; empty for ids. Neither or both is refused."""
    text = selection.text()
    if bool(job_ids) == bool(text):
        raise typer.BadParameter("give ids of jobs, or a filter: --state, --queue, --owner, --label, --filter")
    return text
