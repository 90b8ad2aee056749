"""X8: the worker's data folder lets the user of its programs pass, whatever happens in it meanwhile."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace_worker.user import let_pass
from worker.other_user import NEEDS_ROOT, other_user, reachable_folder

pytestmark = NEEDS_ROOT


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


def test_a_file_of_the_data_folder_that_is_removed_just_now_stops_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, scandir = folder / "data", os.scandir
    data.mkdir(exist_ok=True)
    (data / "gone").touch()
    (data / "left").touch(mode=0o644)

    def late(path: Path) -> list[Any]:
        with scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        (data / "gone").unlink()
        return entries

    monkeypatch.setattr(os, "scandir", late)
    let_pass(data, other_user(), ())
    monkeypatch.undo()
    assert stat.S_IMODE((data / "left").stat().st_mode) == 0o600
