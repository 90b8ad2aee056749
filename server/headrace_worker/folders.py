"""Removing folders, whatever they hold: read-only parts, what somebody else is just removing, what is old."""

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


def remove_older_than(parent: Path, seconds: float, now: float, keep: frozenset[str]) -> list[str]:
    """Removes the folders in `parent` that nothing was made or removed in since, but for those named in `keep`.

    `now` in seconds since 1970, as file times are. Returns the names of those removed.
    """
    removed = []
    for entry in os.scandir(parent) if parent.is_dir() else ():
        if entry.name not in keep and entry.stat(follow_symlinks=False).st_mtime < now - seconds:
            remove_folder(Path(entry.path))
            removed.append(entry.name)
    return removed


def remove_folder(folder: Path) -> None:
    """Removes a folder with all that is in it, read-only parts included; what is not there is no fault. Raises
    OSError."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        try:
            shutil.rmtree(folder, onerror=_make_writable_and_retry)
        except RecursionError:
            _remove_deep(folder)


def _remove_deep(folder: Path) -> None:
    """Folders may be nested deeper than Python's stack goes; `rm` has no such limit."""
    subprocess.run(["rm", "-rf", "--", str(folder)], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if folder.exists():
        raise OSError(errno.ENOTEMPTY, "is nested too deeply to be removed", str(folder))


def _make_writable_and_retry(remove: Callable[..., Any], path: str, fault: tuple[Any, BaseException, Any]) -> None:
    if isinstance(fault[1], FileNotFoundError):
        return
    if not isinstance(fault[1], PermissionError):
        raise fault[1]
    parent = os.path.dirname(path)
    os.chmod(parent, stat.S_IRWXU)
    if not os.path.islink(path) and os.path.isdir(path):
        os.chmod(path, stat.S_IRWXU)
        shutil.rmtree(path)
    else:
        os.unlink(path)
