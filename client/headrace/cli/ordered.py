"""The order of the commands of a noun in its help: what one comes to need first is first, whatever file it is in."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

VERBS = (
    *("submit", "create", "list", "show", "logs", "stats", "explain", "tree", "artifact", "answer", "preview"),
    *("update", "trigger", "pause", "resume", "drain", "cancel", "retry", "purge", "delete"),
)


class Ordered(TyperGroup):
    """Commands of `VERBS` in that order, then the others as they were made."""

    def list_commands(self, ctx: Any) -> list[str]:
        made = super().list_commands(ctx)
        return [verb for verb in VERBS if verb in made] + [verb for verb in made if verb not in VERBS]
