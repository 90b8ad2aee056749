"""Archives of sessions: the same for the same files, within bounds, and nothing of a hostile one is ever written."""

import gzip
import io
import os
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace_worker.executors.claude import archive as archives
from headrace_worker.executors.claude.archive import NOTE, Archive, ArchiveRefused, Source, TooLarge, expand, pack
from headrace_worker.executors.limits import SNAPSHOT_NAME_BYTES_MAX
from headrace_worker.folders import remove_folder
from headrace_worker.redaction import NOTHING_TO_HIDE, Redaction

ROOTS = ("config", "workspace")
Make = Callable[[tarfile.TarFile], None]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with some of everything."""
    folder = tmp_path / "files"
    (folder / "inner" / "empty").mkdir(parents=True)
    (folder / "inner" / "data.bin").write_bytes(bytes(range(256)) * 20)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "inner" / "link").symlink_to("../run.sh")
    return folder


def packed(
    tmp_path: Path, folder: Path, name: str = "one.tar.gz", redaction: Redaction = NOTHING_TO_HIDE
) -> tuple[Path, int]:
    target = tmp_path / name
    sources = [Source("workspace", folder, folder)]
    return target, pack(target, b"{}", sources, redaction)


def opened(tmp_path: Path, packed_file: Path) -> Archive:
    expand(packed_file, tmp_path / "expanded")
    return Archive(tmp_path / "expanded", ROOTS)


def unpacked(tmp_path: Path, packed_file: Path) -> Path:
    target = tmp_path / "unpacked"
    target.mkdir()
    archive = opened(tmp_path, packed_file)
    archive.unpack({"workspace": target})
    archive.close()
    return target


def tree(folder: Path) -> dict[str, object]:
    """What is in a folder, with what tells it from others."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = None if path.is_dir() else (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


def test_what_was_packed_is_unpacked_as_it_was(tmp_path: Path, files: Path) -> None:
    archive, left_out = packed(tmp_path, files)
    assert left_out == 0
    assert tree(unpacked(tmp_path, archive)) == tree(files)


def test_a_file_from_a_time_of_no_use_is_packed(tmp_path: Path, files: Path) -> None:
    os.utime(files / "run.sh", (-5, -5))
    archive, _ = packed(tmp_path, files)
    assert (unpacked(tmp_path, archive) / "run.sh").stat().st_mtime == 0


def test_the_same_files_make_the_same_archive(tmp_path: Path, files: Path) -> None:
    first, _ = packed(tmp_path, files)
    second, _ = packed(tmp_path, files, "two.tar.gz")
    assert first.read_bytes() == second.read_bytes()


def test_links_to_the_outside_and_what_is_no_file_are_left_out(tmp_path: Path, files: Path) -> None:
    expected = tree(files)
    (files / "absolute").symlink_to("/etc/passwd")
    (files / "inner" / "up").symlink_to("../../other")
    os.mkfifo(files / "pipe")
    archive, left_out = packed(tmp_path, files)
    assert left_out == 3
    assert tree(unpacked(tmp_path, archive)) == expected


def test_a_folder_that_is_a_link_is_not_followed(tmp_path: Path, files: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(files)
    archive, left_out = packed(tmp_path, link)
    assert left_out == 1
    assert tree(unpacked(tmp_path, archive)) == {}


def test_files_are_kept_apart_whatever_their_names(tmp_path: Path, files: Path) -> None:
    for name in ("a", ".a.part", "n" * 255, os.fsdecode(b"\xff"), "two\nlines", "10 path=x"):
        (files / name).write_bytes(os.fsencode(name))
    archive, _ = packed(tmp_path, files)
    assert tree(unpacked(tmp_path, archive)) == tree(files)


def test_links_are_left_out_where_an_archive_may_have_none(tmp_path: Path, files: Path) -> None:
    target, sources = tmp_path / "one.tar.gz", [Source("config/beside", files, files, with_links=False)]
    assert pack(target, b"{}", sources) == 1
    archive = opened(tmp_path, target)
    assert archive.has("config")
    archive.close()


def test_r6_folders_may_be_deeper_than_the_stack_of_the_interpreter(tmp_path: Path) -> None:
    place = top = tmp_path / "deep"
    top.mkdir()
    for _ in range(sys.getrecursionlimit() + 200):
        place = place / "d"
        place.mkdir()
    try:
        archive, _ = packed(tmp_path, top)
        found = opened(tmp_path, archive)
        assert found.has("workspace")
        found.close()
    finally:
        # pytest would remove it folder in folder.
        remove_folder(top)


def test_x8_secrets_are_blotted_out_of_what_is_packed(tmp_path: Path, files: Path) -> None:
    secret = "very-secret-value"
    (files / "log").write_bytes(b"x" * (archives.PIECE_BYTES - 5) + secret.encode() + b"\nand " + secret.encode())
    archive, _ = packed(tmp_path, files, redaction=Redaction([secret]))
    log = (unpacked(tmp_path, archive) / "log").read_bytes()
    assert secret.encode() not in log
    assert (log.count(b"[redacted]"), log.startswith(b"x" * 200_000)) == (2, True)


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("SNAPSHOT_BYTES_MAX", 1000),
        ("SNAPSHOT_ENTRIES_COUNT_MAX", 3),
        ("SNAPSHOT_UNPACKED_BYTES_MAX", 5000),
        ("SNAPSHOT_NAME_BYTES_MAX", 15),
    ],
)
def test_what_is_too_large_is_not_packed(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    (files / "noise").write_bytes(os.urandom(4000))
    monkeypatch.setattr(archives, limit, value)
    with pytest.raises(TooLarge, match=str(value)):
        packed(tmp_path, files)


def test_files_that_vanish_meanwhile_are_not_missed(
    tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*listdir(path), "gone"])
    archive, left_out = packed(tmp_path, files)
    monkeypatch.undo()
    assert left_out == 0
    assert tree(unpacked(tmp_path, archive)) == tree(files)


def test_what_can_not_fit_costs_no_compression(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SNAPSHOT_UNPACKED_BYTES_MAX", 5000)
    with pytest.raises(TooLarge, match="5000"):
        packed(tmp_path, files)
    assert not (tmp_path / "one.tar.gz").exists()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **fields: Any) -> Make:
    def add(archive: tarfile.TarFile) -> None:
        made = tarfile.TarInfo(name)
        made.type, made.linkname = kind, link
        for field, value in fields.items():
            setattr(made, field, value)
        made.size = 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(made, io.BytesIO(b"data") if made.size else None)

    return add


def extension(archive: tarfile.TarFile) -> None:
    """A header that says something of the one after it."""
    made, content = tarfile.TarInfo("x"), b"8 a=bcd\n"
    made.type, made.size = tarfile.XHDTYPE, len(content)
    archive.addfile(made, io.BytesIO(content))


def both(*makers: Make) -> Make:
    def add(archive: tarfile.TarFile) -> None:
        for make in makers:
            make(archive)

    return add


def crafted(tmp_path: Path, make: Make, note: str = NOTE) -> Path:
    """An archive that somebody has made by hand."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        head = tarfile.TarInfo(note)
        head.size = 2
        archive.addfile(head, io.BytesIO(b"{}"))
        make(archive)
    path = tmp_path / "crafted.tar.gz"
    path.write_bytes(gzip.compress(content.getvalue()))
    return path


def sparse(numbers: int) -> Make:
    """A file that says of itself in how many places it has bytes, as GNU tar does."""
    content = b"%d\n" % (numbers // 2) + b"0\n" * numbers
    content += bytes(-len(content) % tarfile.BLOCKSIZE)

    def add(archive: tarfile.TarFile) -> None:
        made = tarfile.TarInfo("workspace/sparse")
        made.size = len(content)
        made.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "5"}
        archive.addfile(made, io.BytesIO(content))

    return add


def everybody(archive: tarfile.TarFile) -> None:
    """A header that says something of all entries after it."""
    header = tarfile.TarInfo.create_pax_global_header({"comment": "x"})
    assert archive.fileobj is not None
    archive.fileobj.write(header)
    archive.offset += len(header)


LINK = tarfile.SYMTYPE
HOSTILE = {
    "an absolute path": entry("/etc/cron.d/x"),
    "a path upwards": entry("workspace/../../x"),
    "a path upwards at its end": entry("workspace/.."),
    "a path that is not plain": entry("workspace//x"),
    "a folder that is not ours": entry("other/x"),
    "a link to the outside": entry("workspace/x", LINK, "../../etc"),
    "an absolute link": entry("workspace/x", LINK, "/etc"),
    "a link among transcripts": entry("config/projects/x", LINK, "y"),
    "a root that is a link": entry("workspace", LINK, "config"),
    "a file through a link": both(entry("workspace/a", LINK, "b"), entry("workspace/a/x")),
    "a link through a link": both(entry("workspace/a", LINK, "b"), entry("workspace/a/x", LINK, "y")),
    "a file below a file": both(entry("workspace/a"), entry("workspace/a/x")),
    "a hard link": entry("workspace/x", tarfile.LNKTYPE, "/etc/passwd"),
    "a device": entry("workspace/x", tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a pipe": entry("workspace/x", tarfile.FIFOTYPE),
    "the same file twice": both(entry("workspace/x"), entry("workspace/x")),
    "a time of no use": entry("workspace/x", mtime=-5),
    "headers of headers": both(*[extension] * 1200, entry("workspace/x")),
    "a file with holes": sparse(4),
    "a header for everybody": both(everybody, entry("workspace/x")),
    "a header that is long": entry("workspace/x", pax_headers={"comment": "x" * 70_000}),
    "a header without an end": entry("workspace/x", pax_headers={"comment": "x" * 400_000}),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_archive_with_something_hostile_is_refused_as_a_whole(tmp_path: Path, make: Make) -> None:
    path = crafted(tmp_path, both(entry("workspace/harmless"), make))
    with pytest.raises(ArchiveRefused):
        opened(tmp_path, path)


def test_a_map_of_holes_without_an_end_takes_no_memory(tmp_path: Path) -> None:
    path = crafted(tmp_path, sparse(2_000_000))
    expand(path, tmp_path / "expanded")
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveRefused, match="a header that is too long"):
            Archive(tmp_path / "expanded", ROOTS)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_what_is_said_of_entries_beside_what_they_are_is_not_kept(tmp_path: Path) -> None:
    said = {"comment": "x" * 50_000, "uname": "u" * 5_000}
    path = crafted(tmp_path, both(*(entry(f"workspace/{number}", pax_headers=said) for number in range(200))))
    expand(path, tmp_path / "expanded")
    tracemalloc.start()
    try:
        Archive(tmp_path / "expanded", ROOTS).close()
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_names_of_the_greatest_length_are_taken(tmp_path: Path) -> None:
    name = "/".join(["workspace", *["x" * 200] * 20])
    assert 4000 < len(name) < SNAPSHOT_NAME_BYTES_MAX
    link = "y" * SNAPSHOT_NAME_BYTES_MAX
    archive = opened(tmp_path, crafted(tmp_path, both(*(entry(f"{name}{n}", LINK, link) for n in range(50)))))
    assert archive.has("workspace")
    archive.close()


def test_what_is_harmless_is_taken(tmp_path: Path) -> None:
    path = crafted(tmp_path, both(entry("workspace/x"), entry("workspace/y", LINK, "x"), entry("changes.patch")))
    archive = opened(tmp_path, path)
    assert (archive.has("workspace"), archive.has("config")) == (True, False)
    archive.close()


def test_an_archive_without_a_note_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveRefused, match="no note"):
        opened(tmp_path, crafted(tmp_path, entry("workspace/x"), note="other"))


@pytest.mark.parametrize(
    "content", [b"", b"no gzip", gzip.compress(b"no tar" * 300), gzip.compress(b"x" * 99_999)[:60]]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ArchiveRefused):
        opened(tmp_path, tmp_path / "x")


def test_an_archive_that_expands_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "SNAPSHOT_UNPACKED_BYTES_MAX", 1_000_000)
    monkeypatch.setattr(archives, "SNAPSHOT_ENTRIES_COUNT_MAX", 100)
    (tmp_path / "bomb").write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(ArchiveRefused, match="expands"):
        expand(tmp_path / "bomb", tmp_path / "expanded")
    assert (tmp_path / "expanded").stat().st_size <= 1_300_000


def test_an_archive_with_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = crafted(tmp_path, both(*(entry(f"workspace/{number}") for number in range(10))))
    monkeypatch.setattr(archives, "SNAPSHOT_ENTRIES_COUNT_MAX", 10)
    with pytest.raises(ArchiveRefused, match="more than is allowed"):
        opened(tmp_path, path)


def test_a_file_that_is_there_is_replaced(tmp_path: Path, files: Path) -> None:
    archive, _ = packed(tmp_path, files)
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "run.sh").write_text("older")
    opening = opened(tmp_path, archive)
    opening.unpack({"workspace": tmp_path / "unpacked"})
    opening.close()
    assert (tmp_path / "unpacked" / "run.sh").read_text() == "#!/bin/sh\n"
