"""Options that are given by name: one that nobody reads is the caller's mistake, not left out in silence. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def check_names(given: Iterable[str], known: type) -> None:
    """Raises TypeError for a name that the TypedDict `known` does not have."""
    for name in given:
        if name not in known.__annotations__:
            raise TypeError(f"there is no option {name!r}; there are {', '.join(known.__annotations__)}")
