"""The transcripts that the CLI keeps in its config folder: whether one is there, what was said in it, and copies.

They are the CLI's: nothing is written into one here. Its functions block on the disk; call them in a thread.
"""

import json
import shutil
from pathlib import Path


def find(config_folder: Path, claude_session_id: str) -> Path | None:
    """The transcript of a conversation, whichever folder it was held in."""
    found = (config_folder / "projects").glob(f"*/{claude_session_id}.jsonl")
    return next(iter(sorted(found)), None)


def holds(transcript: Path, message: str) -> bool:
    """Whether a message of the user with that id stands in the transcript."""
    needle = message.encode()
    with transcript.open("rb") as file:
        return any(needle in line and _is_message(line, message) for line in file)


def copy(transcript: Path, config_folder: Path) -> None:
    """Gives another config folder the transcript, with what the CLI keeps beside it."""
    target = config_folder / "projects" / transcript.parent.name / transcript.name
    if target == transcript or target.exists():
        return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = transcript.with_suffix("")
    if beside.is_dir():
        shutil.copytree(beside, target.with_suffix(""), symlinks=True, dirs_exist_ok=True)
    # The transcript last, and whole at once: what is there is taken for complete.
    part = target.with_suffix(".part")
    shutil.copyfile(transcript, part)
    part.replace(target)


def _is_message(line: bytes, message: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and entry.get("type") == "user" and entry.get("uuid") == message
