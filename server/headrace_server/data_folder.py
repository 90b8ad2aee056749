"""A control plane's data folder: where its socket and its local worker's files lie, and who may pass through it.

What is in the files is their owners' affair.
"""

import hashlib
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from headrace_server.rpc.server import SOCKET_PATH_BYTES_MAX
from headrace_server.runtime.local_worker import LocalWorkerCommand
from headrace_server.settings import Settings

LOCAL_WORKER_ID = "local"
"""The name of the local worker."""
PASSAGE = 0o711


def socket_path(data: Path) -> Path:
    """The Unix socket of a data folder: inside it, or, when that is too long for a socket, in a private folder for
    temporary files."""
    path = data / "headrace.sock"
    if len(str(path).encode()) <= SOCKET_PATH_BYTES_MAX:
        return path
    digest = hashlib.blake2b(str(data.resolve()).encode(), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"headrace-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise OSError(f"{folder} is not a private folder of this user")
    return folder / f"{digest}.sock"


def local_worker_command(settings: Settings, socket: Path) -> LocalWorkerCommand:
    """How the local worker is started: the same program as on any other host, over the Unix socket."""
    lock = settings.data / "local-worker.lock"
    arguments = [sys.executable, "-m", "headrace_worker", "--server", f"unix:{socket}", "--id", LOCAL_WORKER_ID]
    arguments += ["--slots", str(settings.workers), "--data", str(settings.data / "local-worker"), "--lock", str(lock)]
    for program in settings.allow_command:
        arguments += ["--allow-command", program]
    for root in settings.allow_root:
        arguments += ["--allow-root", str(root)]
    for module in settings.handlers:
        arguments += ["--handlers", module]
    if settings.claude:
        arguments += ["--claude", settings.claude]
    if settings.run_as:
        arguments += ["--run-as", settings.run_as]
    arguments += ["--drain-seconds", str(settings.drain_seconds)]
    return LocalWorkerCommand(
        arguments, lock, settings.data / "local-worker.log", settings.data / "local-worker.options"
    )


def let_others_pass(data: Path) -> None:
    """Lets other users pass through the data folder, to the local worker's, and read nothing in it. Raises OSError.

    What this process makes from now on is readable by its own user only. The worker's own folder stays as open as it
    is: one that is adopted has jobs that work in there.
    """
    os.umask(0o077)
    for entry in os.scandir(data):
        # The local worker that is adopted, and the journal of the store, may remove files just now.
        with suppress(FileNotFoundError):
            if not entry.is_symlink():
                kept = PASSAGE if entry.is_dir() else 0o700
                os.chmod(entry.path, stat.S_IMODE(entry.stat().st_mode) & kept)
    data.chmod(PASSAGE)
