"""Prepares the folders that an attempt works in, and removes them.

A task's own folder has to lie, symbolic links followed, inside a root that the worker allows. Everything else lies in
the worker's data folder, readable by its user only. What runs in the folders never enters here.
"""

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from headrace.v1 import task_pb2, worker_pb2
from headrace_worker.folders import remove_folder
from headrace_worker.user import User, make_folder
from headrace_worker.worktree import (
    Git,
    GitFailed,
    Worktree,
    add_worktree,
    check_branch,
    find_worktree,
    remove_worktree,
)

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
    worktree: Worktree | None = None
    """Set for a worktree of a git repository."""
    user: User | None = None
    """Whom `folder` and `temporary` are meant for; None: the worker's own user."""

    @property
    def private(self) -> Path:
        """A folder for what the worker itself makes of the attempt's work, which no other user can reach."""
        return self.temporary if self.user is None else self.temporary.with_name(f"{self.temporary.name}.private")


class Workspaces:
    """The workspaces of one worker. Its methods block on the disk; call them in a thread."""

    def __init__(
        self,
        data_folder: Path,
        roots: Sequence[Path],
        environment: Mapping[str, str] | None = None,
        user: User | None = None,
    ) -> None:
        """`environment`: what git gets, e.g. PATH, HOME. `user`: who works in the folders, when not the worker's own;
        see `let_pass`."""
        self._git = Git(dict(environment or {}), user)
        self._user = user
        self._workspaces = data_folder / "workspaces"
        self._temporary = data_folder / "tmp"
        self._roots = tuple(Path(os.path.realpath(root)) for root in roots)
        self._left: set[Path] = set()
        """What could not be removed."""
        self._lock = Lock()

    @property
    def user(self) -> User | None:
        """Who works in the folders, when not the worker's own user."""
        return self._user

    def prepare(self, lease: worker_pb2.Lease, workspace: task_pb2.Workspace, *, resumed: bool) -> PreparedWorkspace:
        """Makes the attempt's folders. A resumed attempt finds its job's folder as the earlier one left it.

        Raises WorkspaceRefused for a folder that is not allowed, OSError for a disk that can't.
        """
        kind = workspace.WhichOneof("kind")
        worktree: Worktree | None = None
        if kind == "git_worktree":
            worktree = self._worktree(lease.job_id, workspace.git_worktree, resumed)
            folder = worktree.folder
        elif kind == "folder":
            folder = self._given_folder(workspace.folder)
        else:
            folder = self._own_folder(lease.job_id, resumed)
        self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f"{lease.attempt}-", dir=self._temporary))
        make_folder(temporary, self._user)
        prepared = PreparedWorkspace(folder, temporary, kind != "folder", worktree, self._user)
        prepared.private.mkdir(mode=0o700, exist_ok=True)
        return prepared

    def remove(self, prepared: PreparedWorkspace, *, keep_folder: bool) -> None:
        """Removes what was made for the attempt; with `keep_folder`, a later attempt will find the job's folder.

        What can't be removed just now is tried again with the next: the attempt has ended all the same.
        """
        with self._lock:
            folders, self._left = self._left, set()
        folders |= {prepared.temporary, prepared.private}
        if prepared.owned and not keep_folder:
            folders.add(prepared.folder)
            if prepared.worktree is not None:
                self._remove_worktree(prepared.worktree)
        for folder in folders:
            try:
                remove_folder(folder)
            except OSError as error:
                logger.warning("%s could not be removed: %s", folder, error)
                with self._lock:
                    self._left.add(folder)

    def anew(self, name: str, workspace: task_pb2.Workspace, base: str) -> PreparedWorkspace:
        """Makes the folders of a session that goes on here: its own folder is empty, its worktree at the commit `base`.

        Raises WorkspaceRefused, OSError.
        """
        at_base = task_pb2.Workspace()
        at_base.CopyFrom(workspace)
        if workspace.HasField("git_worktree"):
            # Its branch was checked when it began, and has been made by now.
            at_base.git_worktree.ref, at_base.git_worktree.branch = base or workspace.git_worktree.ref, ""
        return self.prepare(worker_pb2.Lease(job_id=name), at_base, resumed=False)

    def discard(self, name: str) -> None:
        """Removes a folder that was kept for a job or a session, with all that is in it. Raises OSError."""
        remove_folder(self._place(name))

    def _own_folder(self, job_id: str, resumed: bool) -> Path:
        folder = self._place(job_id)
        if not resumed:
            remove_folder(folder)
        self._make_own(folder)
        return folder

    def _make_own(self, folder: Path) -> None:
        try:
            make_folder(folder, self._user)
        except PermissionError as error:
            raise WorkspaceRefused(f"an earlier attempt ran as another user: {error}") from error

    def _worktree(self, job_id: str, wanted: task_pb2.GitWorktree, resumed: bool) -> Worktree:
        repository, folder = self._given_folder(wanted.repository), self._place(job_id)
        found = find_worktree(self._git, repository, folder) if resumed else None
        if found is not None:
            return found
        remove_folder(folder)
        try:
            if wanted.branch:
                check_branch(self._git, repository, wanted.branch, job_id)
            if self._user is not None:
                self._make_own(folder)
            return add_worktree(self._git, repository, wanted.ref, folder)
        except GitFailed as failed:
            remove_folder(folder)
            raise WorkspaceRefused(f"no worktree of {wanted.repository!r}: {failed}") from failed

    def _remove_worktree(self, worktree: Worktree) -> None:
        try:
            remove_worktree(worktree)
        except OSError as error:
            logger.warning("the worktree %s could not be removed: %s", worktree.folder, error)

    def _place(self, job_id: str) -> Path:
        if not job_id or not all(character.isalnum() or character in "-_" for character in job_id):
            raise WorkspaceRefused(f"the job id {job_id!r} can't name a folder")
        folder = self._workspaces / job_id
        with self._lock:
            self._left.discard(folder)
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
        obstacle = self._user.obstacle(folder) if self._user is not None else ""
        if obstacle:
            raise WorkspaceRefused(f"the folder {text!r} is closed to the user that programs run as: {obstacle}")
        return folder
