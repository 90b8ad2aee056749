"""A control plane as a user starts it: the real program as a child process, in a folder of its own.

Owns its processes and its folder, ends them, and finds what was left behind. It knows nothing of jobs.
"""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from headrace import blocking

DEADLINE_SECONDS = 20.0
BIN = Path(sys.executable).parent
Value = TypeVar("Value")


class ControlPlane:
    """`headrace serve` with what `options` say; a context manager that leaves nothing and checks that."""

    def __init__(self, root: Path, *options: str, **environment: str) -> None:
        """`root`: an empty folder with a short path. `environment`: added to the little that the program gets."""
        self.root = root
        self.data = root / "d"
        self.folder = root / "work"
        self.address = ""
        self.metrics_url = ""
        """Set when it was told to show metrics."""
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._seen: set[Process] = set()
        for name in ("work", "home", "t"):
            (root / name).mkdir()
        self.environment = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(root / "home"),
            "LANG": "C.UTF-8",
            "TMPDIR": str(root / "t"),
            "HEADRACE_SIMULATOR_PACE": "0",
            **environment,
        }

    def start(self, *options: str) -> None:
        """Starts it, on the address that it had before if it had one; returns when it serves."""
        assert self._process is None, "runs already"
        where = ["--data", str(self.data), "--listen", self.address or "127.0.0.1:0"]
        allowed = ["--allow-root", str(self.folder)]
        with (self.root / "serve.err").open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headrace_server", *where, *allowed, *self._options, *options],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("headrace serves on "), f"{line}{self.stderr}"
        self.address = line.split()[3]
        if "--metrics" in (*self._options, *options):
            self.metrics_url = self._process.stdout.readline().split()[-1]
        assert (self.data / "address").read_text() == f"{self.address}\n"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def stderr(self) -> str:
        return (self.root / "serve.err").read_text()

    @property
    def worker_pid(self) -> int:
        """Process id of the local worker, which is waited for."""
        return wait_for(self._lock_holder, "the local worker holds its lock")

    def connect(self) -> blocking.Client:
        return blocking.connect(self.address)

    def processes(self) -> dict[int, str]:
        """What lives of it, the whole tree, by process id: the command line. What was seen once is recognised again."""
        live = live_processes()
        needle = f"{self.root}/".encode()
        found = {process for process in live if process in self._seen or process.mentions(needle)}
        while more := {process for process in live - found if process.parent in {one.pid for one in found}}:
            found |= more
        self._seen |= found
        return {process.pid: process.line for process in found}

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self.processes()
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits for the end of the program; its exit status. What it started may still run."""
        assert self._process is not None
        status = self._process.wait(DEADLINE_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return status

    def kill(self) -> None:
        """kill -9 of the control plane alone."""
        self.signal(signal.SIGKILL)
        assert self.wait() == -signal.SIGKILL

    def stop(self) -> None:
        """The orderly end."""
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.stderr

    def __enter__(self) -> "ControlPlane":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                self.stop()
            if kind is None:
                left = self.leftovers()
                assert not left, left
        finally:
            self._end_all()

    def leftovers(self) -> list[str]:
        """Processes, sockets and temporary files that an orderly end should not have left."""
        wait_for(lambda: not self.processes(), "its processes end", must=False)
        left = [f"process {pid}: {line}" for pid, line in self.processes().items()]
        left += [f"socket {path}" for path in self.root.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
        for folder in (self.root / "t", self.data / "local-worker" / "tmp", self.data / "local-worker" / "spool"):
            left += [f"file {path}" for path in folder.glob("*")]
        return left

    def _lock_holder(self) -> int:
        """Zero while nobody holds the lock; the kernel's list of locks tells, so that nothing is locked here."""
        path = self.data / "local-worker.lock"
        if not path.exists():
            return 0
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "FLOCK" in words and "->" not in words and words[-3].endswith(f":{inode}"):
                return int(words[-4])
        return 0

    def _end_all(self) -> None:
        if self._process is not None:
            self.kill()
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        shutil.rmtree(self.root / "d", ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one with its id by when it started."""

    pid: int
    start: int
    parent: int = field(compare=False)

    @property
    def line(self) -> str:
        return self._read("cmdline").replace(b"\0", b" ").decode(errors="replace").strip()

    def mentions(self, text: bytes) -> bool:
        """Whether the text stands in its command line, its environment or its working folder."""
        try:
            folder = os.readlink(f"/proc/{self.pid}/cwd").encode() + b"/"
        except OSError:
            folder = b""
        return text in self._read("cmdline") + self._read("environ") + folder

    def _read(self, name: str) -> bytes:
        try:
            return Path(f"/proc/{self.pid}/{name}").read_bytes()
        except OSError:
            return b""


def live_processes() -> set[Process]:
    """Everything that runs and is not a zombie, but this process."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            if words[0] not in "ZX":
                found.add(Process(int(entry.name), start=int(words[19]), parent=int(words[1])))
    return found


def wait_for(condition: Callable[[], Value], what: str, *, must: bool = True) -> Value:
    """Polls until the condition is truthy; fails when it is not in time, unless it need not."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (value := condition()):
        if time.monotonic() > deadline:
            assert not must, f"not in time: {what}"
            return value
        time.sleep(0.02)
    return value


class Gate:
    """A FIFO in a job's folder: whoever reads it is held until the test opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = 0
        os.mkfifo(path)

    def hold(self) -> None:
        """Returns once somebody is held."""
        if not self._descriptor:
            self._descriptor = wait_for(self._write_end, f"somebody waits at {self.path.name}")

    def open(self) -> None:
        """Lets the reader go on, for which it waits. The gate is gone afterwards."""
        self.hold()
        self.path.unlink()
        os.close(self._descriptor)

    def open_to(self, name: str) -> "Gate":
        """The same, with another gate that stands before the reader goes on."""
        self.hold()
        following = Gate(self.path.with_name(name))
        self.open()
        return following

    def _write_end(self) -> int:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return 0
