"""Prepares the folders that an attempt works in, and removes them.

A task's own folder has to lie, symbolic links followed, inside a root that the worker allows. Everything else lies in
the worker's data folder, readable by its user only. What runs in the folders never enters here.
"""

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from headrace.v1 import task_pb2, worker_pb2

logger = logging.getLogger(__name__)


class WorkspaceRefused(Exception):
    """The task's workspace can't be had; the text says why, for the person who asked for it."""


@dataclass(frozen=True, slots=True)
class PreparedWorkspace:
    """Where an attempt works."""

    folder: Path
    temporary: Path
    """Its TMPDIR, of this attempt alone."""
    owned: bool
    """Whether `folder` was made for the job, and goes with it."""


class Workspaces:
    """The workspaces of one worker. Its methods block on the disk; call them in a thread."""

    def __init__(self, data_folder: Path, roots: Sequence[Path]) -> None:
        self._workspaces = data_folder / "workspaces"
        self._temporary = data_folder / "tmp"
        self._roots = tuple(Path(os.path.realpath(root)) for root in roots)
        self._left: set[Path] = set()
        """What could not be removed."""
        self._lock = Lock()

    def prepare(self, lease: worker_pb2.Lease, workspace: task_pb2.Workspace, *, resumed: bool) -> PreparedWorkspace:
        """Makes the attempt's folders. A resumed attempt finds its job's folder as the earlier one left it.

        Raises WorkspaceRefused for a folder that is not allowed, OSError for a disk that can't.
        """
        kind = workspace.WhichOneof("kind")
        if kind == "git_worktree":
            raise WorkspaceRefused("git worktrees are not supported")
        owned = kind != "folder"
        folder = self._own_folder(lease.job_id, resumed) if owned else self._given_folder(workspace.folder)
        self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f"{lease.attempt}-", dir=self._temporary))
        return PreparedWorkspace(folder, temporary, owned)

    def remove(self, prepared: PreparedWorkspace, *, keep_folder: bool) -> None:
        """Removes what was made for the attempt; with `keep_folder`, a later attempt will find the job's folder.

        What can't be removed just now is tried again with the next: the attempt has ended all the same.
        """
        with self._lock:
            folders, self._left = self._left, set()
        folders.add(prepared.temporary)
        if prepared.owned and not keep_folder:
            folders.add(prepared.folder)
        for folder in folders:
            try:
                remove_folder(folder)
            except OSError as error:
                logger.warning("%s could not be removed: %s", folder, error)
                with self._lock:
                    self._left.add(folder)

    def _own_folder(self, job_id: str, resumed: bool) -> Path:
        if not job_id or not all(character.isalnum() or character in "-_" for character in job_id):
            raise WorkspaceRefused(f"the job id {job_id!r} can't name a folder")
        folder = self._workspaces / job_id
        with self._lock:
            self._left.discard(folder)
        if not resumed:
            remove_folder(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _given_folder(self, text: str) -> Path:
        if not os.path.isabs(text) or "\0" in text:
            raise WorkspaceRefused(f"the folder {text!r} is not an absolute path")
        try:
            folder = Path(os.path.realpath(text, strict=True))
        except OSError as error:
            raise WorkspaceRefused(f"the folder {text!r} can't be reached: {error.strerror}") from error
        if not any(folder.is_relative_to(root) for root in self._roots):
            raise WorkspaceRefused(f"the folder {text!r} does not lie inside a root that this worker allows")
        if not folder.is_dir():
            raise WorkspaceRefused(f"{text!r} is not a folder")
        return folder


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
    """Removes a folder with all that is in it, read-only parts included; what is not there is no fault."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder, onerror=_make_writable_and_retry)


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
