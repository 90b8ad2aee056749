"""What the simulated tools really do: read, list and write files inside the workspace, and a few harmless commands.

Nothing outside of the workspace is touched and no shell is started; `sleep` is a real child in a session of its own,
as the real program's are, so that process trees exist.
"""

import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headrace_worker.simulator.output import Json
from headrace_worker.simulator.timing import Timing, TurnInterruptedError

_FILES_COUNT_MAX = 1000
_FILE_BYTES_MAX = 4 * 1024 * 1024
_SLEEP_SECONDS_MAX = 24 * 3600.0
_HIDDEN = frozenset({".git", "__pycache__", "node_modules", ".venv"})


@dataclass(frozen=True, slots=True)
class Done:
    """What a tool call came to."""

    content: str
    outcome: object
    is_error: bool = False


class ToolError(Exception):
    """A tool call that fails; the model reads the text."""


class Children:
    """The processes that tools have started and that may still live."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
        with self._lock:
            process = subprocess.Popen(
                arguments,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._processes.append(process)
            return process

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._processes.remove(process)

    def end_all(self) -> None:
        """Ends what lives, for good: the lock stays taken, so that nothing starts after it."""
        self._lock.acquire()
        for process in self._processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders that tools may touch."""

    root: Path
    others: tuple[Path, ...] = ()

    def resolve(self, path: str) -> Path:
        resolved = (self.root / path).resolve()
        if not any(resolved.is_relative_to(folder.resolve()) for folder in (self.root, *self.others)):
            raise ToolError(f"Path is outside of the workspace: {path}")
        return resolved

    def files(self) -> list[str]:
        """Relative names of the files, sorted; a large folder is cut."""
        names: list[str] = []
        folders = [self.root]
        while folders and len(names) < _FILES_COUNT_MAX:
            for entry in sorted(folders.pop(0).iterdir()):
                if entry.is_symlink() or entry.name in _HIDDEN:
                    continue
                if entry.is_dir():
                    folders.append(entry)
                else:
                    names.append(str(entry.relative_to(self.root)))
        return sorted(names[:_FILES_COUNT_MAX])


class Tools:
    """Runs tool calls."""

    def __init__(self, workspace: Workspace, children: Children, timing: Timing) -> None:
        self.workspace = workspace
        self.children = children
        self._timing = timing
        self._table: dict[str, Callable[[Json], Done]] = {
            "Read": self._read,
            "Glob": self._glob,
            "Grep": self._grep,
            "Write": self._write,
            "Edit": self._edit,
            "Bash": self._bash,
        }

    def run(self, name: str, tool_input: Json) -> Done:
        """Runs one call to its end. Raises TurnInterruptedError, and then nothing of it is left running."""
        tool = self._table.get(name)
        if tool is None:
            return Done(f"[simulated] {name} did nothing", {"simulated": True})
        try:
            return tool(tool_input)
        except (ToolError, OSError, re.error) as problem:
            return Done(f"<tool_use_error>{problem}</tool_use_error>", f"Error: {problem}", is_error=True)

    def _read(self, tool_input: Json) -> Done:
        path = self.workspace.resolve(str(tool_input.get("file_path", "")))
        if not path.is_file():
            raise ToolError("File does not exist.")
        lines = path.read_bytes()[:_FILE_BYTES_MAX].decode("utf-8", "replace").split("\n")
        start = max(1, int(tool_input.get("offset", 1)))
        chosen = lines[start - 1 : start - 1 + int(tool_input.get("limit", 2000))]
        content = "\n".join(f"{number:6}\t{line}" for number, line in enumerate(chosen, start))
        file = {"filePath": str(path), "content": "\n".join(chosen), "numLines": len(chosen), "startLine": start}
        return Done(content, {"type": "text", "file": {**file, "totalLines": len(lines)}})

    def _glob(self, tool_input: Json) -> Done:
        pattern = str(tool_input.get("pattern", "**/*")).removeprefix("**/")
        names = [name for name in self.workspace.files() if Path(name).match(pattern)]
        return Done("\n".join(names) or "No files found", {"filenames": names, "numFiles": len(names)})

    def _grep(self, tool_input: Json) -> Done:
        wanted = re.compile(str(tool_input.get("pattern", "")))
        names = [name for name in self.workspace.files() if wanted.search(self._text(name))]
        content = f"Found {len(names)} files\n" + "\n".join(names) if names else "No files found"
        return Done(content, {"mode": "files_with_matches", "filenames": names, "numFiles": len(names)})

    def _write(self, tool_input: Json) -> Done:
        path = self.workspace.resolve(str(tool_input.get("file_path", "")))
        content = str(tool_input.get("content", ""))
        existed = path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", errors="surrogateescape")
        said = f"The file {path} has been updated successfully." if existed else f"File created successfully at: {path}"
        kind = "update" if existed else "create"
        return Done(said, {"type": kind, "filePath": str(path), "content": content, "structuredPatch": []})

    def _edit(self, tool_input: Json) -> Done:
        path = self.workspace.resolve(str(tool_input.get("file_path", "")))
        old, new = str(tool_input.get("old_string", "")), str(tool_input.get("new_string", ""))
        text = path.read_text(encoding="utf-8")
        if not old or text.count(old) != 1:
            raise ToolError("String to replace was not found exactly once in file.")
        path.write_text(text.replace(old, new), encoding="utf-8")
        return Done(f"The file {path} has been updated successfully.", {"filePath": str(path), "oldString": old})

    def _bash(self, tool_input: Json) -> Done:
        stdout = "".join(self._command(part) for part in _commands(str(tool_input.get("command", "")))).rstrip("\n")
        outcome = {"stdout": stdout, "stderr": "", "interrupted": False, "isImage": False, "noOutputExpected": False}
        return Done(stdout or "(Bash completed with no output)", outcome)

    def _command(self, words: list[str]) -> str:
        match words:
            case ["echo", *rest]:
                return " ".join(rest) + "\n"
            case ["pwd"]:
                return f"{self.workspace.root}\n"
            case ["ls", *rest]:
                folder = self.workspace.resolve(next((word for word in rest if not word.startswith("-")), "."))
                return "".join(f"{name}\n" for name in sorted(entry.name for entry in folder.iterdir()))
            case ["touch", *names] if names:
                for name in names:
                    self.workspace.resolve(name).touch()
                return ""
            case ["sleep", seconds]:
                self._wait_for(self.start_sleep(seconds))
                return ""
        raise ToolError(f"the simulated Bash knows echo, pwd, ls, touch and sleep, not: {shlex.join(words)}")

    def start_sleep(self, seconds: str) -> subprocess.Popen[bytes]:
        try:
            length = min(float(seconds), _SLEEP_SECONDS_MAX)
        except ValueError:
            raise ToolError(f"sleep: invalid time interval '{seconds}'") from None
        return self.children.start(["sleep", str(length)], self.workspace.root)

    def _wait_for(self, process: subprocess.Popen[bytes]) -> None:
        try:
            while process.poll() is None:
                self._timing.exactly(0.02)
        except TurnInterruptedError:
            process.terminate()
            process.wait()
            raise
        finally:
            if process.returncode is not None:
                self.children.forget(process)

    def _text(self, name: str) -> str:
        return (self.workspace.root / name).read_bytes()[:_FILE_BYTES_MAX].decode("utf-8", "replace")


def background_seconds(tool_input: Json) -> str | None:
    """The length of a command that is to run in the background, when it is one that can."""
    if not tool_input.get("run_in_background"):
        return None
    sleeps = [words[1] for words in _commands(str(tool_input.get("command", ""))) if words[:1] == ["sleep"]]
    return sleeps[0] if sleeps else "0"


def _commands(line: str) -> list[list[str]]:
    """Splits at `;` and `&&`; everything else that a shell would understand stays text."""
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";&")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError as problem:
        raise ToolError(f"bash: {problem}") from problem
    commands: list[list[str]] = [[]]
    for word in words:
        if word in (";", "&&"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]
