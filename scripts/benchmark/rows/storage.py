"""Row `storage`: what the database holds for each event and each piece of output, beside the bytes that were meant."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2 as sqlite

from benchmark.bench import Bench
from benchmark.figures import KIB, Figure, Floor
from benchmark.rows.handlers import SLOTS, wait_count
from benchmark.rows.output import CHUNK_BYTES, LINE_BYTES, Written, run_flood
from benchmark.system import System
from headrace.v1 import job_pb2

DATABASE = "headrace.db"
CHUNKS_SHARE = 400
"""So many times fewer chunks than lines."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its indexes, as it is on disk when it stands alone."""

    rows: int
    size: int
    body: float
    """Bytes of a row's body, on average."""

    @property
    def row_bytes(self) -> float:
        """Bytes of a row, with everything around it."""
        return self.size / self.rows


async def measure_storage(bench: Bench) -> list[Figure]:
    """Events of jobs that did nothing, then lines and chunks of output."""
    jobs = bench.size.storage_jobs_count
    async with bench.launcher.system() as system:
        bench.step(f"{jobs:,} jobs")
        before = used_bytes(system.data / DATABASE)
        await _run(system, jobs)
        each = (used_bytes(system.data / DATABASE) - before) / jobs
        events = measured(system.data / DATABASE, "events")
    lines = await _output(bench, Written(jobs), "lines")
    chunks = await _output(bench, Written(max(1, jobs // CHUNKS_SHARE), CHUNK_BYTES), "chunks")
    return [
        Figure("storage", "a job that ran, in all", each, "bytes", details={"events": events.rows / jobs}),
        Figure("storage", "an event", events.row_bytes, "bytes", Floor("its body", events.body)),
        Figure("storage", "a line of 200 bytes", lines.row_bytes, "bytes", Floor("the line", LINE_BYTES)),
        Figure("storage", "a chunk of 64 KiB", chunks.row_bytes / KIB, "KiB", Floor("it", CHUNK_BYTES / KIB)),
    ]


async def _run(system: System, count: int) -> None:
    await system.fill("empty", count)
    worker = await system.start_worker(SLOTS)
    await wait_count(system, job_pb2.JOB_STATE_SUCCEEDED, count)
    await worker.end()


async def _output(bench: Bench, written: Written, what: str) -> Table:
    async with bench.launcher.system() as system:
        bench.step(f"{written.events_count:,} {what} of output")
        await run_flood(system, written, followers_count=1)
        return measured(system.data / DATABASE, "outputs")


def used_bytes(path: Path) -> int:
    """Of the pages that hold something, those in the write-ahead log too."""
    with reading(path) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def measured(path: Path, table: str) -> Table:
    """A table of a database that is served just now, copied to one that holds nothing else."""
    alone = path.with_name(f"{table}.db")
    with reading(path) as connection:
        rows, body = connection.execute(f"SELECT count(*), avg(length(body)) FROM {table}").fetchone()
        schema = connection.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = ? AND sql <> '' ORDER BY type DESC", (table,)
        ).fetchall()
        _copy(alone, table, [sql for (sql,) in schema], connection.execute(f"SELECT * FROM {table} ORDER BY rowid"))
    return Table(rows, used_bytes(alone), body)


def _copy(path: Path, table: str, schema: Sequence[str], rows: Any) -> None:
    copy = sqlite.connect(path)
    try:
        for sql in schema:
            copy.execute(sql)
        marks = ",".join("?" * len(rows.description))
        copy.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        copy.commit()
    finally:
        copy.close()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Any]:
    """A connection that writes nothing."""
    connection = sqlite.connect(f"file:{path}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()
