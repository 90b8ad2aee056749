"""A Claude CLI as a child process, real or simulated: lines in, frames out, every wait with a deadline.

Owns the process and its pipes. It knows the outer shape of the protocol and nothing of what a frame means.
"""

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

Json = dict[str, Any]

DEADLINE_SECONDS = 20.0
STREAM_FLAGS = ("--output-format", "stream-json", "--verbose", "--input-format", "stream-json")


class ClaudeProcess:
    """One process, as a context manager that leaves nothing running."""

    def __init__(self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._arrived: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr: list[bytes] = []
        self.lines: list[bytes] = []
        self._readers = [
            threading.Thread(target=self._read_stdout, daemon=True),
            threading.Thread(target=self._read_stderr, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stderr(self) -> str:
        """What was said there; whole once the process has ended."""
        return b"".join(self._stderr).decode("utf-8", "replace")

    def send(self, frame: Json) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(frame).encode() + b"\n")
        self._process.stdin.flush()

    def say(self, text: str, uuid: str | None = None) -> None:
        """One user line."""
        frame: Json = {"type": "user", "message": {"role": "user", "content": text}, "parent_tool_use_id": None}
        self.send({**frame, "session_id": "", **({} if uuid is None else {"uuid": uuid})})

    def request(self, subtype: str, **fields: Any) -> None:
        """A control request, named after what it asks."""
        self.send({"type": "control_request", "request_id": subtype, "request": {"subtype": subtype, **fields}})

    def answer(self, question: Json, response: Json) -> None:
        reply = {"subtype": "success", "request_id": question["request_id"], "response": response}
        self.send({"type": "control_response", "response": reply})

    def close_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def until(self, wanted: Callable[[Json], bool]) -> list[Json]:
        """The frames up to the first wanted one, which is the last; fails when it does not come."""
        seen: list[Json] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                line = self._arrived.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"did not come in time, only {[kind(frame) for frame in seen]}") from None
            assert line is not None, f"ended after {[kind(frame) for frame in seen]}, stderr: {self.stderr}"
            seen.append(json.loads(line))
            if wanted(seen[-1]):
                return seen

    def until_result(self) -> list[Json]:
        return self.until(lambda frame: frame["type"] == "result")

    def until_kind(self, name: str) -> list[Json]:
        return self.until(lambda frame: kind(frame) == name)

    def end(self) -> int:
        """Waits for the end of the process and its output; the exit code."""
        code = self._process.wait(DEADLINE_SECONDS)
        for reader in self._readers:
            reader.join(DEADLINE_SECONDS)
        return code

    def finish(self) -> list[Json]:
        """Closes stdin, waits for the end, and returns the frames that were not read yet."""
        self.close_input()
        self.end()
        return self.rest()

    def rest(self) -> list[Json]:
        """What had not been read when the process ended."""
        frames: list[Json] = []
        while (line := self._arrived.get(timeout=DEADLINE_SECONDS)) is not None:
            frames.append(json.loads(line))
        return frames

    def __enter__(self) -> "ClaudeProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            children = _children(self.pid)
            self._process.kill()
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue

    def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self.lines.append(line)
                self._arrived.put(line)
        except ValueError:
            pass  # closed under us by __exit__
        self._arrived.put(None)

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        try:
            while chunk := os.read(self._process.stderr.fileno(), 65536):
                self._stderr.append(chunk)
        except ValueError:
            pass  # closed under us by __exit__


def _children(pid: int) -> list[int]:
    """The direct children of a process that still runs; tools lead sessions of their own, so no group has them all."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def kind(frame: Json) -> str:
    """A short name for a frame: its type, its subtype, and what a stream event or a message holds."""
    match frame["type"]:
        case "stream_event":
            return str(frame["event"]["type"])
        case "assistant" | "user":
            content = frame["message"]["content"]
            block = "text" if isinstance(content, str) else content[0]["type"]
            return f"{frame['type']}/{block}"
        case "control_request":
            return f"control_request/{frame['request']['subtype']}"
        case "system" | "result":
            return f"{frame['type']}/{frame['subtype']}"
    return str(frame["type"])


def kinds(frames: Sequence[Json]) -> list[str]:
    return [kind(frame) for frame in frames]
