"""Locks that a worker holds for its life: that of its data folder, and, for the local one, that of its control plane.

A control plane that starts again sees by the latter that its worker is still there. The kernel frees them with the
process, however that ends. Nothing is read from the file but the holder's process id.
"""

import fcntl
import os
from pathlib import Path


class LockTaken(Exception):
    """Another worker holds the lock."""


class LocalLock:
    """A lock on a file."""

    def __init__(self, path: Path) -> None:
        """Takes the lock and writes the process id into the file. Raises LockTaken, or OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            raise LockTaken(f"{path} is held by process {holder or 'unknown'}") from None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Frees the lock. The file stays, so that nobody locks one that is about to vanish."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
