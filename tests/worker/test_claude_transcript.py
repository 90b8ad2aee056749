"""Transcripts: found again, and of no harm whatever a program has put in their place."""

import json
import os
from pathlib import Path

import pytest

from headrace_worker.executors.claude import transcript

CONVERSATION = "0190a0b0-0000-7000-8000-000000000001"
MESSAGE = "0190a0b0-0000-7000-8000-000000000002"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the transcript of the conversation lies."""
    folder = tmp_path / "config" / "projects" / "-x"
    folder.mkdir(parents=True)
    return folder / f"{CONVERSATION}.jsonl"


def test_a_message_is_found_by_its_id_and_not_where_it_is_only_named(place: Path) -> None:
    place.write_text(json.dumps({"type": "assistant", "uuid": "x", "text": MESSAGE}) + "\n")
    assert not transcript.holds(place, MESSAGE)
    with place.open("a") as file:
        file.write(json.dumps({"type": "user", "uuid": MESSAGE}) + "\nhalf of a li")
    assert transcript.holds(place, MESSAGE)


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_x8_what_is_no_file_is_neither_waited_for_nor_read(tmp_path: Path, place: Path, kind: str) -> None:
    if kind == "a pipe":
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero")
    assert transcript.find(tmp_path / "config", CONVERSATION) == place
    with pytest.raises(OSError, match="no plain file"):
        transcript.holds(place, MESSAGE)
    with pytest.raises(OSError, match="no plain file"):
        transcript.copy(place, tmp_path / "other")
    assert transcript.find(tmp_path / "other", CONVERSATION) is None
