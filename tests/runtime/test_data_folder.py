"""Who may pass through a data folder, whatever happens in it meanwhile."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_server.data_folder import let_others_pass


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data folder that everybody may read."""
    before = os.umask(0o022)
    folder = tmp_path / "data"
    (folder / "local-worker").mkdir(parents=True)
    for name in ("a-journal", "headrace.db", "z-journal"):
        (folder / name).touch(mode=0o644)
    yield folder
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_x8_others_pass_through_and_read_nothing(data: Path) -> None:
    let_others_pass(data)
    assert (mode(data), mode(data / "local-worker"), mode(data / "headrace.db")) == (0o711, 0o711, 0o600)


def test_a_file_that_is_removed_just_now_stops_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def late(path: Path) -> list[Any]:
        with scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        (data / "a-journal").unlink()
        return entries

    monkeypatch.setattr(os, "scandir", late)
    let_others_pass(data)
    monkeypatch.undo()
    assert (mode(data), mode(data / "headrace.db"), mode(data / "z-journal")) == (0o711, 0o600, 0o600)
