"""The documents of a folder: which files are there, and what is text in them. Reads the disk, knows nothing of jobs."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

DOCUMENT_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Version:
    """A file is taken for unchanged while these are."""

    mtime_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class Document:
    """A text document as it was read."""

    path: str
    version: Version
    text: str


def files_of(folder: str) -> list[str]:
    """Paths of all files below a folder, sorted. Hidden names are left out, and links are not followed."""
    return sorted(_files(folder))


def version_of(path: str) -> Version | None:
    """The file's version now; None when it is no regular file, or none that could be a document."""
    try:
        stat = os.lstat(path)
    except OSError:
        return None
    if not S_ISREG(stat.st_mode) or stat.st_size > DOCUMENT_BYTES_MAX:
        return None
    return Version(stat.st_mtime_ns, stat.st_size)


def read_document(path: str, version: Version) -> Document | None:
    """The document; None when the file is not text, or can't be read."""
    try:
        text = Path(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return None
    return None if "\0" in text else Document(path, version, text)


def _files(folder: str) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(parent, name) for name in names if not name.startswith("."))
