"""The SQLite engine: whose data it opens, how safe a commit is, and how a schema comes to be."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pysqlite3
import pytest

from headrace_server.core.refusal import Reason
from headrace_server.store import sqlite
from headrace_server.store.errors import DataInUse, ForeignData, StoreFull, StoreUnavailable
from headrace_server.store.sqlite import SqliteEngine
from store.checkers import check_store
from store.driving import Bench, new_job

FILE = "headrace.db"


@contextmanager
def opened(folder: Path) -> Iterator[SqliteEngine]:
    engine = SqliteEngine(folder)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def raw(folder: Path) -> Iterator[Any]:
    """The file itself, past the engine."""
    connection = pysqlite3.connect(str(folder / FILE), isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def schema(folder: Path) -> list[tuple[str, str]]:
    with raw(folder) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name")
        return [tuple(row) for row in found]


def test_a_folder_in_use_is_refused_and_names_the_process(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(DataInUse, match=rf"{tmp_path} is in use.*process {os.getpid()}"):
        SqliteEngine(tmp_path)
    with opened(tmp_path):
        pass


def test_a_folder_in_use_by_another_process_is_refused_until_it_ends(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from headrace_server.store.sqlite import SqliteEngine\n"
        "engine = SqliteEngine(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"open\n"
            with pytest.raises(DataInUse, match=f"process {other.pid}"):
                SqliteEngine(tmp_path)
        finally:
            other.kill()
    with opened(tmp_path):
        pass


def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with raw(tmp_path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(ForeignData, match="another program"):
        SqliteEngine(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_what_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"a letter to my mother\n" * 100)
    with pytest.raises(ForeignData, match="not a database"):
        SqliteEngine(tmp_path)
    assert (tmp_path / FILE).read_bytes() == b"a letter to my mother\n" * 100


def test_data_of_newer_software_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    with raw(tmp_path) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('headrace', '9999_later.sql', '')"
        )
    with pytest.raises(ForeignData, match=r"9999_later\.sql.*upgrade"):
        SqliteEngine(tmp_path)


def test_a_refusal_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no" * 1000)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ForeignData):
            SqliteEngine(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_can_not_be_written_is_said_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file"):
        SqliteEngine(tmp_path / "file" / "data")
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    nobody = 65534
    as_nobody = os.geteuid() == 0
    if as_nobody:
        os.seteuid(nobody)
    try:
        with pytest.raises(PermissionError) as caught:
            SqliteEngine(folder)
    finally:
        if as_nobody:
            os.seteuid(0)
    assert str(caught.value.filename).startswith(str(tmp_path))


def test_every_commit_survives_a_power_cut(tmp_path: Path) -> None:
    with opened(tmp_path) as engine, engine.writing() as connection:
        assert connection.rows("PRAGMA journal_mode") == [("wal",)]
        assert connection.rows("PRAGMA synchronous") == [(2,)], "FULL"


def test_a_reader_can_not_write_and_never_checkpoints(tmp_path: Path) -> None:
    with opened(tmp_path) as engine, engine.reading() as connection:
        assert connection.rows("PRAGMA query_only") == [(1,)]
        assert connection.rows("PRAGMA wal_autocheckpoint") == [(0,)]


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    sql = "SELECT value FROM sequences WHERE name = 'job'"
    with opened(tmp_path) as engine, engine.reading() as reader:
        assert reader.rows(sql) == [(0,)]
        with engine.writing() as writer:
            writer.run("UPDATE sequences SET value = 5 WHERE name = 'job'")
        assert reader.rows(sql) == [(0,)]
        with engine.reading() as later:
            assert later.rows(sql) == [(5,)]


def test_the_file_is_marked_as_ours_and_private(tmp_path: Path) -> None:
    with opened(tmp_path / "new"):
        pass
    with raw(tmp_path / "new") as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (sqlite.APPLICATION_ID,)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_migrations_run_from_empty_once(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        first = schema(tmp_path)
        engine.migrate()
        assert schema(tmp_path) == first
    with opened(tmp_path):
        assert schema(tmp_path) == first
    names = {name for name, _ in first}
    assert {"jobs", "events", "outputs", "requests", "state_counts", "ready_keys", "workers"} <= names


def test_keys_from_before_there_were_folders_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sqlite._migration_names
    before = (1, "default", "default", "me", "k", 5, 2, 1, 1, 170, 30, 4, 9)
    columns = (
        "ready_group, namespace, queue, owner, concurrency_key, live, ready, leased, leased_slots, leased_since, head"
    )
    columns += ", head_job, parked"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_migration_names", lambda: [name for name in names() if name < "0008"])
        with opened(tmp_path) as engine, engine.writing() as connection:
            connection.run(f"INSERT INTO ready_keys (key, {columns}) VALUES (7, {', '.join('?' * 13)})", before)
    with opened(tmp_path) as engine, engine.reading() as connection:
        assert connection.rows(f"SELECT key, folder, {columns} FROM ready_keys") == [(7, "", *before)]


def test_a_migration_that_fails_leaves_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sqlite._statements

    def cut(text: str) -> list[str]:
        return [*whole(text)[:4], "CREATE NONSENSE"]

    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "_statements", cut)
        with pytest.raises(StoreUnavailable, match="NONSENSE"):
            SqliteEngine(tmp_path)
    assert [name for name, _ in schema(tmp_path) if not name.startswith(("_", "idx"))] == []
    with opened(tmp_path) as engine, engine.reading() as connection:
        assert connection.rows("SELECT count(*) FROM jobs") == [(0,)]


def test_comments_hold_no_statements() -> None:
    assert sqlite._statements("-- one; two\nSELECT 1;\n\nSELECT\n  2;\n") == ["SELECT 1", "SELECT\n  2"]


def test_a_full_disk_is_said_as_such_and_changes_nothing(tmp_path: Path) -> None:
    bench = Bench(SqliteEngine(tmp_path))
    bench.submit(new_job("before"))
    pages = bench.write(lambda ledger: ledger.look_up("PRAGMA page_count"))[0][0]
    bench.write(lambda ledger: ledger.look_up(f"PRAGMA max_page_count = {pages}"))
    big = new_job("big", traceparent="x" * 100_000)
    with pytest.raises(StoreFull) as caught:
        bench.submit(big)
    assert caught.value.refusal.reason is Reason.DISK_FULL
    bench.write(lambda ledger: ledger.look_up("PRAGMA max_page_count = 1000000"))
    assert len(bench.submit(new_job("after"), big)) == 2
    bench.read(check_store)
    bench.close()


def test_a_transaction_that_raises_is_rolled_back_and_the_next_one_runs(tmp_path: Path) -> None:
    def write_and_raise(engine: SqliteEngine, error: BaseException) -> None:
        with engine.writing() as connection:
            connection.run("UPDATE sequences SET value = 7")
            raise error

    with opened(tmp_path) as engine:
        for error in (KeyError("x"), KeyboardInterrupt()):
            with pytest.raises(type(error)):
                write_and_raise(engine, error)
        with engine.writing() as connection:
            assert connection.rows("SELECT max(value) FROM sequences") == [(1,)]


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 1000])
def test_any_number_of_rows_is_inserted_and_updated(tmp_path: Path, count: int) -> None:
    with opened(tmp_path) as engine, engine.writing() as connection:
        rows = [(f"n{n:04}", n) for n in range(count)]
        connection.insert_many("sequences", ("name", "value"), rows)
        connection.update_many("sequences", "name", ("value",), [(name, -value) for name, value in rows])
        found = connection.rows("SELECT name, value FROM sequences WHERE name LIKE 'n%' ORDER BY name")
    assert found == [(name, -value) for name, value in rows]


def test_close_may_be_called_twice(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path)
    engine.close()
    engine.close()


def test_a_query_with_a_limit_is_prepared_once(tmp_path: Path) -> None:
    prepared: list[int] = []

    def allow(*arguments: object) -> int:
        prepared.append(1)
        return int(pysqlite3.SQLITE_OK)

    with opened(tmp_path) as engine, engine.writing() as connection:
        engine._writer.set_authorizer(allow)
        sizes = []
        for count in (1, 2, 3):
            assert len(connection.rows("SELECT name FROM sequences ORDER BY name LIMIT ?", (count,))) == count
            assert len(list(connection.iterate("SELECT value FROM sequences LIMIT ?", (count,)))) == count
            sizes.append(len(prepared))
        engine._writer.set_authorizer(None)
    assert sizes[0] > 0
    assert sizes == [sizes[0]] * 3
