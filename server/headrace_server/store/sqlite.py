"""The SQLite engine: WAL with `synchronous=FULL`, so a commit survives a power cut.

One writing connection, which also makes every checkpoint, and a few reading ones. Two connections that write or
checkpoint at the same time are what the WAL-reset bug of SQLite before 3.51.3 needs in order to corrupt a database.
"""

import errno
import fcntl
import logging
import os
import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any

import pysqlite3 as sqlite3
import sqlite_utils

from headrace_server.store.engine import Connection, Row
from headrace_server.store.errors import DataInUse, ForeignData, StoreFull, StoreUnavailable

log = logging.getLogger(__name__)

APPLICATION_ID = 0x48445243
"""`HDRC` in the database's header: tells our file from another program's."""
READERS_COUNT = 4
BUSY_SECONDS = 5.0
_SQLITE_FULL = 13
_OUR_MISTAKES = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""A statement that breaks a constraint or can't be run; the database itself is sound."""
_VALUES_ROWS_MAX = 128
_TOGETHER_BYTES_MAX = 1024
_VARIABLES_MAX = 32_000
"""SQLite takes 32,766 in a statement."""


class SqliteConnection:
    """A connection of the engine; see `Connection`."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        found: list[Row] = self._raw.execute(_prepared_once(sql), parameters).fetchall()
        return found

    def iterate(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Row]:
        cursor = self._raw.execute(_prepared_once(sql), parameters)
        try:
            yield from cursor
        finally:
            cursor.close()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self._raw.execute(sql, parameters)

    def run_many(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        self._raw.executemany(sql, parameters)

    def insert_many(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], suffix: str = "") -> None:
        """One statement for up to 128 rows.

        Every step of a statement gives up the GIL and waits to get it back, which costs more than the row. Statements
        for each number of rows are few enough to stay prepared.
        """
        rows, large = _parted(rows)
        for chunk in _chunks(rows, len(columns)):
            sql = _insert_sql(table, tuple(columns), len(chunk), suffix)
            self._raw.execute(sql, list(chain.from_iterable(chunk)))
        for row in large:
            self._raw.execute(_insert_sql(table, tuple(columns), 1, suffix), row)

    def update_many(self, table: str, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """One statement for up to 128 rows; measured, half the cost of an UPDATE for each row."""
        for chunk in _chunks(rows, len(columns) + 1):
            sql = _update_sql(table, key, tuple(columns), len(chunk))
            self._raw.execute(sql, list(chain.from_iterable(chunk)))


@lru_cache(maxsize=2048)
def _prepared_once(sql: str) -> str:
    """The query without a bare parameter as its limit: SQLite plans by its value, and so would prepare the statement
    anew for each run, which costs five times as much as a run that finds a row."""
    return sql.replace("LIMIT ?", "LIMIT (? + 0)")


def _parted(rows: Sequence[Sequence[Any]]) -> tuple[Sequence[Sequence[Any]], Sequence[Sequence[Any]]]:
    """Rows that go together, and those with a body so large that each goes alone.

    A prepared statement keeps a copy of the values of its last run: with hundreds of them kept, one for each number
    of rows, a gibibyte of output had left 40 MiB behind.
    """
    bodies = [place for place, value in enumerate(rows[0]) if isinstance(value, bytes)] if rows else []
    if not bodies:
        return rows, ()
    body = bodies[-1]
    large = [row for row in rows if len(row[body] or b"") > _TOGETHER_BYTES_MAX]
    if not large:
        return rows, ()
    return [row for row in rows if len(row[body] or b"") <= _TOGETHER_BYTES_MAX], large


def _chunks(rows: Sequence[Sequence[Any]], width: int) -> Iterator[Sequence[Sequence[Any]]]:
    largest = min(_VALUES_ROWS_MAX, _VARIABLES_MAX // width)
    for start in range(0, len(rows), largest):
        yield rows[start : start + largest]


@lru_cache(maxsize=2048)
def _insert_sql(table: str, columns: tuple[str, ...], count: int, suffix: str) -> str:
    return f"INSERT INTO {table} ({','.join(columns)}) {_values_sql(len(columns), count)} {suffix}"


@lru_cache(maxsize=512)
def _update_sql(table: str, key: str, columns: tuple[str, ...], count: int) -> str:
    if count == 1:
        # Without a join, in two thirds of the time.
        changes = ", ".join(f"{column} = ?{number}" for number, column in enumerate(columns, start=2))
        return f"UPDATE {table} SET {changes} WHERE {key} = ?1"
    changes = ", ".join(f"{column} = new.column{number}" for number, column in enumerate(columns, start=2))
    values = _values_sql(len(columns) + 1, count)
    return f"UPDATE {table} SET {changes} FROM ({values}) AS new WHERE {table}.{key} = new.column1"


def _values_sql(width: int, count: int) -> str:
    one = "(" + ",".join("?" * width) + ")"
    return "VALUES " + ",".join([one] * count)


class SqliteEngine:
    """A database in a folder that this process alone has; see `Engine`."""

    exclusive = True

    def __init__(self, folder: Path) -> None:
        """Raises DataInUse when another process has the folder, ForeignData when its file is not ours."""
        self._path = folder / "headrace.db"
        self._lock = _lock(folder / "lock")
        if (folder / "address").exists() and self._path.exists() and not self._path.stat().st_size:
            os.close(self._lock)
            raise ForeignData(f"{self._path} is empty, but was not: put its content back, or remove it to begin anew")
        self._readers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._opened: list[Any] = []
        self._closed = False
        try:
            self._writer = self._open_writer()
            self.migrate()
            for _ in range(READERS_COUNT):
                self._readers.put(self._open_reader())
        except sqlite3.DatabaseError as error:
            self._abandon()
            raise _translated(error, self._path) from error
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        for raw in self._opened:
            raw.close()
        os.close(self._lock)

    def _open_writer(self) -> Any:
        raw = self._connect()
        known = raw.execute("PRAGMA application_id").fetchone()[0]
        tables = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and known != APPLICATION_ID:
            raise ForeignData(f"{self._path} is a database of another program")
        raw.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA foreign_keys = OFF")
        return raw

    def _open_reader(self) -> Any:
        raw = self._connect()
        raw.execute("PRAGMA query_only = ON")
        # A reader never checkpoints: the writer alone does.
        raw.execute("PRAGMA wal_autocheckpoint = 0")
        return raw

    def _connect(self) -> Any:
        raw = sqlite3.connect(
            str(self._path), isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS, cached_statements=1024
        )
        self._opened.append(raw)
        return raw

    def migrate(self) -> None:
        migrations = _migrations()
        database = sqlite_utils.Database(self._writer, recursive_triggers=False, execute_plugins=False)
        unknown = {done.name for done in migrations.applied(database)} - set(_migration_names())
        if unknown:
            raise ForeignData(f"{self._path} was made by newer software (migration {max(unknown)}); upgrade this one")
        migrations.apply(database)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        raw = self._writer
        try:
            _begin(raw, "BEGIN IMMEDIATE")
            yield SqliteConnection(raw)
            raw.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(raw)
            if isinstance(error, _OUR_MISTAKES):
                raise
            raise _unavailable(error, self._path) from error
        except BaseException:
            _roll_back(raw)
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        try:
            raw = self._readers.get(timeout=BUSY_SECONDS)
        except queue.Empty:
            raise StoreUnavailable("every reading connection is busy") from None
        try:
            _begin(raw, "BEGIN")
            yield SqliteConnection(raw)
        except sqlite3.Error as error:
            if isinstance(error, _OUR_MISTAKES):
                raise
            raise _unavailable(error, self._path) from error
        finally:
            _roll_back(raw)
            self._readers.put(raw)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for _ in range(READERS_COUNT):
            try:
                self._readers.get(timeout=BUSY_SECONDS).close()
            except queue.Empty:
                log.warning("a reading connection was still busy at the end")
        self._writer.close()
        os.close(self._lock)


def _begin(raw: Any, statement: str) -> None:
    if raw.in_transaction:
        # Left open by a ROLLBACK that failed.
        raw.execute("ROLLBACK")
    raw.execute(statement)


def _roll_back(raw: Any) -> None:
    if not raw.in_transaction:
        return
    try:
        raw.execute("ROLLBACK")
    except sqlite3.Error as error:
        log.error("a transaction could not be rolled back: %s", error)


def _lock(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(descriptor, 32).decode(errors="replace").strip()
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            who = f" (process {holder})" if holder else ""
            raise DataInUse(f"{path.parent} is in use by another control plane{who}") from None
        raise
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _migration_names() -> list[str]:
    folder = resources.files("headrace_server.store") / "migrations"
    return sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))


def _migrations() -> Any:
    migrations = sqlite_utils.Migrations("headrace")
    folder = resources.files("headrace_server.store") / "migrations"
    for name in _migration_names():
        text = (folder / name).read_text()

        def migrate(database: sqlite_utils.Database, text: str = text) -> None:
            for statement in _statements(text):
                database.conn.execute(statement)

        migrations(name=name)(migrate)
    return migrations


def _statements(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [statement for statement in (part.strip() for part in "\n".join(lines).split(";")) if statement]


def _translated(error: Any, path: Path) -> Exception:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    text = str(error)
    if code == _SQLITE_FULL or "disk is full" in text:
        return StoreFull(f"no room for {path}: {text}")
    if "not a database" in text or "malformed" in text:
        return ForeignData(f"{path} is damaged or not a database: {text}")
    return StoreUnavailable(f"{path}: {text}")


def _unavailable(error: Any, path: Path) -> StoreUnavailable:
    """While it serves, a damaged database is one that can't be used: some of it may still be read."""
    translated = _translated(error, path)
    return translated if isinstance(translated, StoreUnavailable) else StoreUnavailable(str(translated))
