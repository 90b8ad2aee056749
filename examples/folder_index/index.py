"""The index: documents in an SQLite database with full-text search (FTS5). Knows words and files, and no jobs."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from folder_index.documents import Document, Version

BUSY_MILLISECONDS = 30_000
VARIABLE = "FOLDER_INDEX_DATABASE"


@dataclass(frozen=True, slots=True)
class Found:
    """A document that matches, with the words around the match."""

    path: str
    words: str


def database_path(environment: Mapping[str, str]) -> Path:
    """FOLDER_INDEX_DATABASE, else a file in the user's state folder."""
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE])
    state = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "headrace" / "folder-index.db"


@contextmanager
def opened(path: Path) -> Iterator["Index"]:
    """The index in a file, which is made when it is missing. For one thread."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = Database(path)
    try:
        yield Index(database)
    finally:
        database.close()


class Index:
    """Documents by path. What was stored is durable when the call returns."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.execute(f"pragma busy_timeout = {BUSY_MILLISECONDS}")
        database.enable_wal()
        self._documents = database.table("documents")
        with database.atomic():
            if not self._documents.exists():
                columns = {"id": int, "path": str, "mtime_ns": int, "size": int, "text": str}
                self._documents.create(columns, pk="id", not_null={"path"})
                self._documents.create_index(["path"], unique=True)
                self._documents.enable_fts(["path", "text"], create_triggers=True)

    def versions(self, folder: str) -> dict[str, Version]:
        """The versions of all documents below a folder, by path."""
        rows = self._database.query(
            "select path, mtime_ns, size from documents where substr(path, 1, length(:below)) = :below",
            {"below": os.path.join(folder, "")},
        )
        return {row["path"]: Version(row["mtime_ns"], row["size"]) for row in rows}

    def store(self, documents: Iterable[Document]) -> None:
        """Adds documents, in place of earlier versions."""
        with self._database.atomic():
            for document in documents:
                self._database.execute(
                    "insert into documents (path, mtime_ns, size, text) values (?, ?, ?, ?) on conflict (path)"
                    " do update set mtime_ns = excluded.mtime_ns, size = excluded.size, text = excluded.text",
                    [document.path, document.version.mtime_ns, document.version.size, document.text],
                )

    def remove(self, paths: Iterable[str]) -> None:
        """Removes documents."""
        with self._database.atomic():
            for path in paths:
                self._database.execute("delete from documents where path = ?", [path])

    def search(self, words: str, limit: int) -> list[Found]:
        """The documents that hold all the words, best first."""
        rows = self._database.query(
            "select path, snippet(documents_fts, 1, '[', ']', '…', 12) as words from documents_fts"
            " where documents_fts match ? order by rank limit ?",
            [all_of(words), limit],
        )
        return [Found(row["path"], " ".join(row["words"].split())) for row in rows]


def all_of(words: str) -> str:
    """A query for documents that hold every word; no word means anything else to FTS5."""
    return " ".join('"' + word.replace('"', '""') + '"' for word in words.split())
