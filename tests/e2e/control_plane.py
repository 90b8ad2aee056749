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
        self._options = options
        self._process: subprocess.Popen[str] | None = None
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

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
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
                assert self.leftovers() == []
        finally:
            self._end_all()

    def leftovers(self) -> list[str]:
        """Processes, sockets and temporary files that an orderly end should not have left."""
        wait_for(lambda: not processes_of(self.root), "its processes end", must=False)
        left = [f"process {pid}: {line}" for pid, line in processes_of(self.root).items()]
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
        for pid in processes_of(self.root):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        shutil.rmtree(self.root / "d", ignore_errors=True)


def processes_of(root: Path) -> dict[int, str]:
    """Live processes with the folder in their command line, environment or working folder, with their command line."""
    found = {}
    needle = f"{root}/".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            line, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            folder = os.readlink(entry / "cwd").encode() + b"/"
        except OSError:
            continue
        if needle in line + environment or folder.startswith(needle):
            found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace").strip()
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
        os.mkfifo(path)

    def open(self, then: Callable[[], object] = lambda: None) -> None:
        """Lets the reader go on, after `then`; waits until there is one. The gate is gone afterwards."""
        descriptor = wait_for(self._write_end, f"somebody waits at {self.path.name}")
        then()
        self.path.unlink()
        os.close(descriptor)

    def _write_end(self) -> int:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return 0
