"""What an engine gives to the store: connections that run SQL, and transactions. An engine knows no job.

SQL has `?` for parameters and stays within the dialect that SQLite and PostgreSQL share.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]
Query = Callable[[str, Sequence[Any]], list[Row]]
"""Reads rows of one moment, by SQL and its parameters."""


def in_list(values: Sequence[Any]) -> tuple[str, list[Any]]:
    """Marks and values for `IN (…)`. Their number is rounded up to a power of two with the last value, so that few
    statements are ever prepared."""
    count = 1 << max(0, len(values) - 1).bit_length()
    return ",".join("?" * count), [*values, *[values[-1]] * (count - len(values))]


class Connection(Protocol):
    """Runs SQL inside the transaction that its engine has opened."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        ...

    def iterate(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        """The rows of a query, read as they are asked for."""
        ...

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Runs a statement."""
        ...

    def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        """Runs a statement once for each row of parameters, in few round trips."""
        ...

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], suffix: str = "") -> None:
        """Inserts rows in few statements; `suffix` may hold an ON CONFLICT clause."""
        ...

    def update_many(self, table: str, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Sets columns of the rows with a key, in few statements; each of `rows` is the key and then the new values."""
        ...


class Engine(Protocol):
    """A database. Writes come from one thread at a time; reads from any."""

    exclusive: bool
    """Nobody else can write to it, so what was committed last is what is there."""

    def migrate(self) -> None:
        """Brings the schema up to date. Raises ForeignData when it can't be."""
        ...

    def writing(self) -> AbstractContextManager[Connection]:
        """One write transaction: committed when the block ends, rolled back when it raises.

        Raises StoreUnavailable or StoreFull when it can't be committed; then nothing of it has happened.
        """
        ...

    def reading(self) -> AbstractContextManager[Connection]:
        """One read transaction that sees one moment of the database."""
        ...

    def close(self) -> None:
        """Closes every connection. May be called twice."""
        ...
