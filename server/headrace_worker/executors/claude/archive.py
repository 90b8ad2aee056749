"""Archives of a session's files: packed the same for the same files, and unpacked only when nothing in them is out of
order.

An archive may come from anybody: nothing of one is believed before all of it was looked at. What belongs into one is
for others to say. Its functions block on the disk; call them in a thread.
"""

import gzip
import io
import math
import os
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from headrace_worker.acting import as_owner
from headrace_worker.executors.limits import (
    SNAPSHOT_BYTES_MAX,
    SNAPSHOT_ENTRIES_COUNT_MAX,
    SNAPSHOT_NAME_BYTES_MAX,
    SNAPSHOT_UNPACKED_BYTES_MAX,
)
from headrace_worker.redaction import NOTHING_TO_HIDE, CleanStream, Redaction

COMPRESSION_LEVEL = 3
PIECE_BYTES = 256 * 1024
NOTE = "note.json"
"""What stands first in an archive."""
HEADER_BYTES_MAX = 64 * 1024
"""Of one entry, with all headers before it; two names of the longest kind take a third of that."""
TIME_MAX = (1 << 33) - 1
"""The latest that a file can have been changed, in seconds since 1970."""


class TooLarge(Exception):
    """It is more than an archive may hold; the text says what."""


class ArchiveRefused(Exception):
    """An archive holds what it must not; the text says what."""


@dataclass(frozen=True, slots=True)
class Source:
    """What goes into an archive."""

    name: str
    """Where it stands there."""
    path: Path
    """A file, or a folder with all that is in it."""
    owner: Path
    """The folder that it belongs to: it is read with the rights of that one's owner."""
    with_links: bool = True
    """Links in it are kept that stay inside; else all are left out."""


def pack(target: Path, note: bytes, sources: Sequence[Source], redaction: Redaction = NOTHING_TO_HIDE) -> int:
    """Writes an archive of the sources, in their order, and of a note; returns how many files were left out, because
    they are links to the outside, or no files.

    Nothing of what `redaction` hides leaves with it. Raises TooLarge, OSError.
    """
    _weigh(sources)
    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", COMPRESSION_LEVEL, _Bounded(file), mtime=0) as squeezed,
        tarfile.TarFile(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        packing = _Packing(archive, redaction)
        packing.add_bytes(NOTE, note)
        for source in sources:
            with as_owner(source.owner):
                packing.add(source)
    return packing.left_out


def _weigh(sources: Sequence[Source]) -> None:
    """What can't fit is told before any of it is compressed, which would cost seconds after every turn."""
    size = 0
    for source in sources:
        with as_owner(source.owner):
            # `os.walk` goes no deeper than Python's stack.
            pending = [str(source.path)]
            while pending:
                path = pending.pop()
                # What is left running in the background may remove files meanwhile.
                with suppress(FileNotFoundError):
                    found = os.lstat(path)
                    if stat.S_ISDIR(found.st_mode):
                        pending += [os.path.join(path, name) for name in os.listdir(path)]
                    else:
                        size += found.st_size
                if size > SNAPSHOT_UNPACKED_BYTES_MAX:
                    raise TooLarge(f"it has more than {SNAPSHOT_UNPACKED_BYTES_MAX} bytes")


class _Bounded(io.RawIOBase):
    """A file that may not grow too large."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._size += len(data)
        if self._size > SNAPSHOT_BYTES_MAX:
            raise TooLarge(f"it has more than {SNAPSHOT_BYTES_MAX} bytes when compressed")
        return self._file.write(data)


class _Packing:
    """An archive that is being written."""

    def __init__(self, archive: tarfile.TarFile, redaction: Redaction) -> None:
        self.left_out = 0
        self._archive = archive
        self._redaction = redaction
        self._count = 0
        self._size = 0

    def add_bytes(self, name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o600
        self._add(entry, io.BytesIO(data))

    def add(self, source: Source) -> None:
        """Adds a file, or a folder with what is in it."""
        pending = [(source.name, source.path)]
        while pending:
            name, path = pending.pop()
            # One that is removed just now is as good as one that was never there.
            with suppress(FileNotFoundError):
                pending += self._add_one(name, path, source)

    def _add_one(self, name: str, path: Path, source: Source) -> list[tuple[str, Path]]:
        """Adds it, and returns what is in it."""
        found = path.lstat()
        entry = tarfile.TarInfo(name)
        entry.mode = stat.S_IMODE(found.st_mode) & 0o777
        entry.mtime = min(max(0, int(found.st_mtime)), TIME_MAX)
        if stat.S_ISDIR(found.st_mode):
            inside = sorted(os.listdir(path), reverse=True)
            entry.type = tarfile.DIRTYPE
            self._add(entry)
            return [(f"{name}/{one}", path / one) for one in inside]
        if stat.S_ISREG(found.st_mode):
            self._add_file(entry, path)
        elif stat.S_ISLNK(found.st_mode) and source.with_links and path != source.path:
            self._add_link(entry, path.relative_to(source.path), os.readlink(path))
        else:
            self.left_out += 1
        return []

    def _add_link(self, entry: tarfile.TarInfo, link: Path, target: str) -> None:
        if not _stays_inside(link, target):
            self.left_out += 1
            return
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._add(entry)

    def _add_file(self, entry: tarfile.TarInfo, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                self.left_out += 1
                return
            if not self._redaction.bytes_max:
                entry.size = os.fstat(descriptor).st_size
                self._add(entry, file)
                return
            entry.size = sum(map(len, cleaned(file, self._redaction)))
            file.seek(0)
            self._add(entry, io.BufferedReader(_Pieces(cleaned(file, self._redaction)), PIECE_BYTES))

    def _add(self, entry: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        self._count += 1
        self._size += entry.size
        if self._count > SNAPSHOT_ENTRIES_COUNT_MAX:
            raise TooLarge(f"it has more than {SNAPSHOT_ENTRIES_COUNT_MAX} files")
        if self._size > SNAPSHOT_UNPACKED_BYTES_MAX:
            raise TooLarge(f"it has more than {SNAPSHOT_UNPACKED_BYTES_MAX} bytes")
        if len(os.fsencode(entry.name)) > SNAPSHOT_NAME_BYTES_MAX:
            raise TooLarge(f"it has a path of more than {SNAPSHOT_NAME_BYTES_MAX} bytes")
        self._archive.addfile(entry, content)


def cleaned(file: IO[bytes], redaction: Redaction) -> Iterator[bytes]:
    """What is in a file, without any secret, wherever it is cut."""
    stream = CleanStream(redaction)
    while data := file.read(PIECE_BYTES):
        yield stream.push(data)
    yield stream.end()


class _Pieces(io.RawIOBase):
    """Pieces that are read as one file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


def expand(archive: Path, target: Path) -> None:
    """Undoes the compression, as far as an archive may go. Raises ArchiveRefused, OSError."""
    left = SNAPSHOT_UNPACKED_BYTES_MAX + SNAPSHOT_ENTRIES_COUNT_MAX * 2048
    try:
        with gzip.open(archive, "rb") as file, target.open("wb") as expanded:
            while data := file.read(PIECE_BYTES):
                left -= len(data)
                if left < 0:
                    raise ArchiveRefused("it expands to more than is allowed")
                expanded.write(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise ArchiveRefused(f"it can't be expanded: {fault}") from fault


class Archive:
    """An expanded archive of which every entry was looked at. Close it."""

    def __init__(self, path: Path, roots: Sequence[str]) -> None:
        """Below `roots` alone may something stand, links below the last of them only. Raises ArchiveRefused."""
        self._file = _Unhurried(path)
        self._roots = roots
        try:
            self._archive = tarfile.TarFile(fileobj=self._file, mode="r")
            self._entries = list(self._looked_at())
            self._refuse_what_is_below_no_folder()
            self.note = self._read_note()
        except BaseException as fault:
            self._file.close()
            if isinstance(fault, tarfile.TarError | ValueError | OverflowError | EOFError | RecursionError):
                raise ArchiveRefused(f"it can't be read: {fault}") from fault
            raise

    def close(self) -> None:
        """Gives the file back."""
        self._archive.close()
        self._file.close()

    def has(self, root: str) -> bool:
        """Whether something stands below a root."""
        return any(entry.name.startswith(f"{root}/") for entry in self._entries)

    def unpack(self, folders: Mapping[str, Path]) -> None:
        """Writes what stands below each root into a folder, with the rights of that one's owner: files first, links
        last, so that nothing is written through one. A file that is there is replaced, whole at once. Raises
        OSError."""
        for root, folder in folders.items():
            own = [entry for entry in self._entries if entry.name.startswith(f"{root}/")]
            with as_owner(folder):
                for entry in sorted(own, key=lambda entry: entry.issym()):
                    self._write(entry, folder / entry.name.removeprefix(f"{root}/"))

    def write_file(self, name: str, target: Path, owner: Path) -> None:
        """Writes one file of it. Raises OSError."""
        with as_owner(owner):
            for entry in self._entries:
                if entry.name == name and entry.isreg():
                    self._write(entry, target)

    def _write(self, entry: tarfile.TarInfo, target: Path) -> None:
        if entry.isdir():
            target.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if entry.issym():
            target.symlink_to(entry.linkname)
            return
        # A name made of the file's could be too long, or another file's.
        descriptor, part = tempfile.mkstemp(".part", ".", target.parent)
        try:
            with open(descriptor, "wb") as file:
                self._write_content(entry, file)
                os.fchmod(descriptor, entry.mode & 0o777 | 0o600)
            os.utime(part, (entry.mtime, entry.mtime))
            os.replace(part, target)
        except BaseException:
            os.unlink(part)
            raise

    def _write_content(self, entry: tarfile.TarInfo, file: IO[bytes]) -> None:
        content = self._archive.extractfile(entry)
        assert content is not None, "an entry that was looked at"
        with content:
            while data := content.read(PIECE_BYTES):
                file.write(data)

    def _looked_at(self) -> Iterator[tarfile.TarInfo]:
        size, names = 0, set()
        for count, entry in enumerate(self._archive):
            size += entry.size
            if count >= SNAPSHOT_ENTRIES_COUNT_MAX or size > SNAPSHOT_UNPACKED_BYTES_MAX:
                raise ArchiveRefused("it holds more than is allowed")
            if entry.name in names:
                raise ArchiveRefused(f"it holds {entry.name[:64]!r} twice")
            names.add(entry.name)
            self._look_at(entry)
            _lighten(entry)
            self._file.bytes_left = HEADER_BYTES_MAX
            yield entry
        self._file.bytes_left = math.inf

    def _look_at(self, entry: tarfile.TarInfo) -> None:
        if entry.sparse is not None or self._archive.pax_headers:
            raise ArchiveRefused(f"it holds {entry.name[:64]!r} with headers that no session needs")
        path = PurePosixPath(entry.name)
        plain = str(path) == entry.name and not path.is_absolute() and ".." not in path.parts
        if not plain or "\0" in entry.name or len(os.fsencode(entry.name)) > SNAPSHOT_NAME_BYTES_MAX:
            raise ArchiveRefused(f"it holds a file of the name {entry.name[:64]!r}")
        in_root = len(path.parts) > 1 and path.parts[0] in self._roots
        if len(path.parts) > 1 and not in_root:
            raise ArchiveRefused(f"it holds {entry.name[:64]!r}, which has no place")
        if entry.issym() and in_root and path.parts[0] == self._roots[-1]:
            if not _stays_inside(PurePosixPath(*path.parts[1:]), entry.linkname):
                raise ArchiveRefused(f"it holds a link to the outside, {entry.name[:64]!r}")
        elif entry.type not in (tarfile.REGTYPE, tarfile.DIRTYPE) or entry.size < 0 or not 0 <= entry.mtime <= TIME_MAX:
            raise ArchiveRefused(f"it holds {entry.name[:64]!r}, which is neither a file nor a folder")

    def _refuse_what_is_below_no_folder(self) -> None:
        leaves = {entry.name for entry in self._entries if not entry.isdir()}
        for entry in self._entries:
            if any(str(parent) in leaves for parent in PurePosixPath(entry.name).parents):
                raise ArchiveRefused(f"it holds {entry.name[:64]!r} below what is no folder")

    def _read_note(self) -> bytes:
        entry = self._entries[0] if self._entries else None
        if entry is None or entry.name != NOTE or not entry.isreg() or entry.size > PIECE_BYTES:
            raise ArchiveRefused("it has no note")
        content = self._archive.extractfile(entry)
        assert content is not None, "an entry that was looked at"
        return content.read()


def _lighten(entry: tarfile.TarInfo) -> None:
    """Drops what is said of an entry and not needed: all of them are kept."""
    entry.pax_headers, entry.uname, entry.gname = {}, "", ""
    if not entry.issym():
        entry.linkname = ""


class _Unhurried(io.FileIO):
    """A file of which nobody reads much at once, nor in all before somebody has looked at what was read: headers are
    read whole, and say themselves how long they are and how many there are."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bytes_left: float = HEADER_BYTES_MAX
        """What may be read until somebody looks."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= min(PIECE_BYTES, self.bytes_left):
            raise ArchiveRefused("it has a header that is too long")
        self.bytes_left -= size
        return super().read(size)


def _stays_inside(link: PurePosixPath | Path, target: str) -> bool:
    """Whether a link, by its path below a folder, leads to something below that."""
    depth = len(link.parts) - 1
    if not target or target.startswith("/") or "\0" in target or len(os.fsencode(target)) > SNAPSHOT_NAME_BYTES_MAX:
        return False
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return False
    return True
