"""The folder indexer without a control plane: what goes into the index, what is left alone, and where it goes on."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from folder_index.documents import DOCUMENT_BYTES_MAX
from folder_index.index import Found, database_path, opened
from folder_index.submit import KEY_CHARACTERS_MAX, key_of
from folder_index.worker import BATCH_COUNT, index_folder
from headrace.worker import BlockingHandlerContext, HandlerCancelled, InvalidInput


class Told:
    """A context that keeps what the handler says, and cancels it after so many looks."""

    def __init__(self, last_checkpoint: Any = None, looks: int = 10**9) -> None:
        self.last_checkpoint = last_checkpoint
        self.checkpoints: list[Any] = []
        self.notes: list[tuple[int, int, str]] = []
        self._looks = looks

    def progress(self, done: int, total: int = 0, message: str = "") -> None:
        self.notes.append((done, total, message))

    def checkpoint(self, value: Any) -> None:
        self.checkpoints.append(dict(value))

    def raise_if_cancelled(self) -> None:
        self._looks -= 1
        if self._looks < 0:
            raise HandlerCancelled


def run(folder: Path, told: Told | None = None) -> dict[str, Any]:
    return index_folder({"folder": str(folder)}, cast(BlockingHandlerContext, told or Told()))


def search(words: str) -> list[Found]:
    with opened(database_path(os.environ)) as index:
        return index.search(words, 10)


def names_of(words: str) -> list[str]:
    return sorted(Path(found.path).name for found in search(words))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to index, and an index of the test's own."""
    monkeypatch.setenv("FOLDER_INDEX_DATABASE", str(tmp_path / "state" / "index.db"))
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.txt").write_text("The water runs through the headrace.\n")
    (folder / "inner" / "b.md").write_text("Grüße: the turbine needs water, too.\n")
    return folder


def test_text_documents_are_found_by_their_words(folder: Path) -> None:
    told = Told()
    counts = run(folder, told)
    assert (counts["documents"], counts["indexed"], counts["not_text"], counts["folder"]) == (2, 2, 0, str(folder))
    assert (names_of("water"), names_of("turbine WATER"), names_of("grusse"), names_of("nothing")) == (
        *(["a.txt", "b.md"], ["b.md"]),
        *([], []),
    )
    assert search("turbine")[0].words == "Grüße: the [turbine] needs water, too."
    assert told.notes[-1] == (2, 2, "inner/b.md")


def test_what_is_no_text_is_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "picture").write_bytes(b"\x89PNG water")
    (folder / "zero").write_bytes(b"water\0")
    (folder / "large.txt").write_bytes(b"water " * (DOCUMENT_BYTES_MAX // 6 + 1))
    (folder / "link.txt").symlink_to(folder / "a.txt")
    os.mkfifo(folder / "pipe")
    for hidden in (folder / ".git" / "config", folder / ".secret"):
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_text("water")
    counts = run(folder)
    assert (counts["indexed"], counts["not_text"]) == (2, 5)
    assert names_of("water") == ["a.txt", "b.md"]


def test_a_second_run_takes_what_changed_and_drops_what_is_gone(folder: Path) -> None:
    (folder / "c.txt").write_text("soon gone")
    run(folder)
    (folder / "c.txt").unlink()
    (folder / "a.txt").write_text("Now it speaks of mills.")
    (folder / "d.txt").write_text("New mills.")
    counts = run(folder)
    assert {name: counts[name] for name in ("documents", "indexed", "unchanged", "removed")} == {
        **{"documents": 3, "indexed": 2},
        **{"unchanged": 1, "removed": 1},
    }
    assert (names_of("mills"), names_of("gone"), names_of("headrace")) == (["a.txt", "d.txt"], [], [])


def test_a_document_that_is_text_no_more_leaves_the_index(folder: Path) -> None:
    run(folder)
    (folder / "a.txt").write_bytes(b"\xff\xfe water")
    assert run(folder)["not_text"] == 1
    assert names_of("water") == ["b.md"]


def test_a_folder_beside_it_with_a_longer_name_is_not_touched(folder: Path) -> None:
    other = folder.with_name("folder-2")
    other.mkdir()
    (other / "o.txt").write_text("other water")
    run(other)
    run(folder)
    (folder / "a.txt").unlink()
    assert run(folder)["removed"] == 1
    assert names_of("water") == ["b.md", "o.txt"]


def test_words_that_mean_something_to_the_index_are_only_words(folder: Path) -> None:
    run(folder)
    assert [names_of(words) for words in ('"', "water OR", "path:a", "(", "tur*")] == [[], [], [], [], []]


@pytest.mark.parametrize("given", ["/no/such/folder", "relative", "", None, 3])
def test_a_folder_that_is_not_there_is_refused_for_good(folder: Path, given: object) -> None:
    with pytest.raises(InvalidInput, match="folder"):
        index_folder({"folder": given}, cast(BlockingHandlerContext, Told()))


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no folder"):
        run(folder / "a.txt")


def test_an_empty_folder_has_no_documents(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert run(folder / "empty")["documents"] == 0


@pytest.fixture
def many(folder: Path) -> Path:
    """Three batches and a bit."""
    for number in range(3 * BATCH_COUNT):
        (folder / f"many-{number:04}.txt").write_text(f"document {number}")
    return folder


def test_a_cancelled_attempt_leaves_whole_batches_and_the_next_goes_on_behind_them(many: Path) -> None:
    first = Told(looks=2)
    with pytest.raises(HandlerCancelled):
        run(many, first)
    (checkpoint,) = first.checkpoints[-1:]
    assert (len(first.checkpoints), checkpoint["indexed"]) == (2, 2 * BATCH_COUNT)
    with opened(database_path(os.environ)) as index:
        assert len(index.versions(str(many))) == 2 * BATCH_COUNT

    second = Told(last_checkpoint=checkpoint)
    counts = run(many, second)
    assert (counts["documents"], counts["indexed"], counts["unchanged"]) == (3 * BATCH_COUNT + 2,) * 2 + (0,)
    assert [note[:2] for note in second.notes[1:]] == [
        (done, 3 * BATCH_COUNT + 2) for done in (*range(BATCH_COUNT, 3 * BATCH_COUNT + 1, BATCH_COUNT), 302)
    ]
    assert len(second.checkpoints) == 2, "what was done is not done again"


def test_a_checkpoint_is_small(many: Path) -> None:
    told = Told()
    run(many, told)
    assert max(len(str(checkpoint)) for checkpoint in told.checkpoints) < 1000


def test_a_folder_has_one_key_however_it_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = folder.with_name("link")
    link.symlink_to(folder)
    monkeypatch.chdir(folder.parent)
    names = ["folder", "./folder/", "link", str(folder), f"{folder}/inner/..", "folder/../link"]
    assert {key_of(name) for name in names} == {f"folder:{folder}"}


@pytest.mark.parametrize("make", [lambda deep: deep, lambda deep: f"{deep}/x"])
def test_a_long_path_still_has_a_key_of_its_own(make: Callable[[str], str]) -> None:
    deep = "/deep" * 100
    assert len(key_of(make(deep))) <= KEY_CHARACTERS_MAX
    assert (key_of(make(deep)) == key_of(deep)) == (make(deep) == deep)
