"""The transcripts that the CLI keeps in its config folder: whether one is there, what was said in it, and copies.

They are the CLI's: nothing is written into one here, and whatever is read there is read with the rights of the config
folder's owner. Its functions block on the disk; call them in a thread.
"""

import json
import shutil
from functools import partial
from pathlib import Path

from headrace_worker.acting import as_owner, open_plain
from headrace_worker.executors.limits import FRAME_LINE_BYTES_MAX
from headrace_worker.user import make_folder_like


def find(config_folder: Path, claude_session_id: str) -> Path | None:
    """The transcript of a conversation, whichever folder it was held in."""
    if not config_folder.is_dir():
        return None
    with as_owner(config_folder):
        found = sorted((config_folder / "projects").glob(f"*/{claude_session_id}.jsonl"))
    return next(iter(found), None)


def holds(transcript: Path, message: str) -> bool:
    """Whether a message of the user with that id stands in the transcript. Raises OSError."""
    needle = message.encode()
    with as_owner(_config_folder(transcript)), open_plain(transcript) as file:
        lines = iter(partial(file.readline, FRAME_LINE_BYTES_MAX), b"")
        return any(needle in line and _is_message(line, message) for line in lines)


def copy(transcript: Path, config_folder: Path) -> None:
    """Gives another config folder the transcript, with what the CLI keeps beside it. Raises OSError."""
    source = _config_folder(transcript)
    make_folder_like(config_folder, source)
    with as_owner(source):
        _copy(transcript, config_folder / "projects" / transcript.parent.name / transcript.name)


def _copy(transcript: Path, target: Path) -> None:
    if target == transcript or target.exists():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = transcript.with_suffix("")
    if beside.is_dir():
        shutil.copytree(beside, target.with_suffix(""), symlinks=True, dirs_exist_ok=True)
    # The transcript last, and whole at once: what is there is taken for complete.
    part = target.with_suffix(".part")
    with open_plain(transcript) as source, part.open("wb") as target_file:
        shutil.copyfileobj(source, target_file)
    part.replace(target)


def _config_folder(transcript: Path) -> Path:
    return transcript.parents[2]


def _is_message(line: bytes, message: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get("type") == "user" and entry.get("uuid") == message
