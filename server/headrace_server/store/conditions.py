"""The terms of a WHERE, each with its parameters, so that both stay in one order. What is asked comes from others."""

from collections.abc import Iterable, Sequence
from typing import Any


def marks(values: Sequence[object]) -> str:
    """The inside of `IN (…)`."""
    return ",".join("?" * len(values))


class Conditions:
    """What a row has to be like, all of it."""

    __slots__ = ("_terms", "parameters")

    def __init__(self, term: str, *parameters: Any) -> None:
        self._terms = [term]
        self.parameters: list[Any] = [*parameters]

    @property
    def sql(self) -> str:
        """What follows WHERE."""
        return " AND ".join(self._terms)

    def add(self, term: str, *parameters: Any) -> None:
        """One more."""
        self._terms.append(term)
        self.parameters += parameters

    def add_among(self, table: str, named: Iterable[tuple[str, Sequence[Any]]]) -> None:
        """Columns of a table, each with the values that will do; without any, all will."""
        for column, values in named:
            if values:
                self.add(f"{table}.{column} IN ({marks(values)})", *values)
