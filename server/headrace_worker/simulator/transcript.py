"""The conversation on disk, as the real program lays it out, one JSON object a line.

Owns paths, appending, and reading back what a resume needs. Lines are written whole, so a kill leaves a file that can
be resumed.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_worker.simulator.ledger import Usage
from headrace_worker.simulator.output import Json, encode
from headrace_worker.simulator.script import has_script


@dataclass(frozen=True, slots=True)
class Memory:
    """What a resumed conversation starts with."""

    lines: int = 0
    characters: int = 0
    totals: Mapping[str, Usage] | None = None
    messages: frozenset[str] = frozenset()
    """Ids of the user's lines."""
    scripted: str | None = None
    """The last line with a script."""
    answers: int = 0
    """How often the model has spoken about it."""


class Transcript:
    """The file of one session."""

    def __init__(self, path: Path | None) -> None:
        """Without a path nothing is kept."""
        self._path = path

    def append(self, entry: Json) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(encode(entry) + b"\n")

    def recall(self) -> Memory:
        lines = list(self._entries())
        totals: dict[str, Usage] = {}
        for line in lines:
            spent = line.get("spent")
            if isinstance(spent, dict):
                totals = {model: Usage(*tokens) for model, tokens in spent.items()}
        characters = sum(len(str(line.get("message", ""))) for line in lines)
        messages = frozenset(str(line.get("uuid")) for line in lines if line.get("type") == "user")
        scripted, answers = _last_scripted(lines)
        return Memory(len(lines), characters, totals, messages, scripted, answers)

    def copy_to(self, target: "Transcript", session_id: str) -> None:
        """Gives a fork its own copy of the past."""
        for line in self._entries():
            target.append({**line, "sessionId": session_id})

    def _entries(self) -> Iterator[dict[str, Any]]:
        if self._path is None or not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict):
                    yield entry


def _last_scripted(lines: Sequence[Mapping[str, Any]]) -> tuple[str | None, int]:
    scripted: str | None = None
    spoken: set[str] = set()
    for line in lines:
        message = line.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        if line.get("type") == "user" and isinstance(content, str) and has_script(content):
            scripted, spoken = content, set()
        elif line.get("type") == "assistant" and isinstance(message, dict) and message.get("model") != "<synthetic>":
            spoken.add(str(message.get("id")))
    return scripted, len(spoken)


def projects_folder(environment: Mapping[str, str]) -> Path:
    configured = environment.get("CLAUDE_CONFIG_DIR")
    base = Path(configured) if configured else Path(environment.get("HOME", os.path.expanduser("~"))) / ".claude"
    return base / "projects"


def project_name(folder: str) -> str:
    """The folder's path with every other character as a dash."""
    return re.sub(r"[^A-Za-z0-9]", "-", folder)


def path_for(projects: Path, folder: str, session_id: str) -> Path:
    return projects / project_name(folder) / f"{session_id}.jsonl"


def find(projects: Path, folder: str, session_id: str) -> Path | None:
    """The transcript of a session: this folder's, else any other's."""
    if not re.fullmatch(r"[0-9A-Fa-f-]{36}", session_id):
        return None
    own = path_for(projects, folder, session_id)
    if own.exists():
        return own
    return next(iter(sorted(projects.glob(f"*/{session_id}.jsonl"))), None)
