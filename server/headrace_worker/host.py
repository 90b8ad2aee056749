"""Facts about the host and this process that the control plane wants to know. Reads them, decides nothing."""

import os
import re
import secrets
import socket
import time
from importlib import metadata
from pathlib import Path

from headrace_worker.limits import WORKER_ID_CHARACTERS_MAX


def boot_seconds() -> float:
    """A clock that nobody can set and that goes on while the host sleeps; keepers read the same."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def host_name() -> str:
    """The host's name."""
    return socket.gethostname()


def worker_id_of(name: str) -> str:
    """A worker id made from a name that may hold any character."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:WORKER_ID_CHARACTERS_MAX] or "worker"


def new_incarnation() -> str:
    """An id that no other start of the worker has; those of later starts are greater as text."""
    return f"{time.time_ns() // 1_000_000:012x}-{os.getpid():x}-{secrets.token_hex(6)}"


def software_version() -> str:
    """Version of the installed package."""
    return metadata.version("headrace")


def state_folder() -> Path:
    """Where programs of this user keep what outlives them."""
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    return base / "headrace"
