"""Ends the processes that carry a tree's mark in their environment.

The second line of defence, for a tree whose keeper was itself killed. A process that emptied its environment escapes
it, which is why it is only the second.
"""

import os
import signal
import time

MARKER = "HEADRACE_TREE"
SWEEP_SECONDS = 10.0
SWEEP_INTERVAL_SECONDS = 0.05


def marked(marker: str) -> list[int]:
    """Every process, this one excepted, whose environment holds the mark."""
    needle = f"{MARKER}={marker}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and needle in _environment(name):
            found.append(int(name))
    return found


def sweep(marker: str) -> int:
    """Kills whoever carries the mark until nobody does, and returns how many are left."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while (left := marked(marker)) and time.monotonic() < deadline:
        for pid in left:
            _kill(pid, f"{MARKER}={marker}".encode())
        time.sleep(SWEEP_INTERVAL_SECONDS)
    return len(left)


def _kill(pid: int, needle: bytes) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if needle in _environment(str(pid)):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(handle)


def _environment(name: str) -> list[bytes]:
    try:
        with open(f"/proc/{name}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []
