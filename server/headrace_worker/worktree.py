"""Git worktrees for jobs: made from a repository on the host, told apart from what they began with, and removed.

It runs `git` for short, with the repository's own hooks, watchers and prompts off. Which repositories are allowed, and
when a worktree is wanted, is decided elsewhere. Its functions block; call them in a thread.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from headrace_worker.acting import as_owner, open_plain
from headrace_worker.errand import ErrandFailed, run_errand
from headrace_worker.executors.limits import GIT_SECONDS
from headrace_worker.folders import remove_folder
from headrace_worker.process import Program
from headrace_worker.user import User

SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.allow=never",
    "submodule.recurse=false",
    "commit.gpgSign=false",
    "gc.auto=0",
)
"""Nothing that a repository says is run, and nothing is fetched."""
NOBODY = {
    "GIT_AUTHOR_NAME": "Headrace",
    "GIT_AUTHOR_EMAIL": "headrace@localhost",
    "GIT_COMMITTER_NAME": "Headrace",
    "GIT_COMMITTER_EMAIL": "headrace@localhost",
}
OWN_VARIABLES = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
_NONE: Mapping[str, str] = {}
BASE_FILE = "headrace-base"
"""In the worktree's own git folder: the commit that it began with."""
_COMMIT = re.compile(rb"[0-9a-f]{40,64}")
_COMMIT_BYTES_MAX = 64


class GitFailed(Exception):
    """Git could not do it; the text says why."""


@dataclass(frozen=True, slots=True)
class Git:
    """How git is run."""

    environment: Mapping[str, str]
    """PATH, LANG, HOME: what every program of the worker gets."""
    user: User | None = None
    """Whom it runs as, kept like every program of that user: what it is told to run by a repository has no other
    rights, and ends with it. None: the worker's own user."""

    def run(
        self,
        folder: Path,
        *arguments: str,
        output: IO[bytes] | None = None,
        variables: Mapping[str, str] = _NONE,
    ) -> str:
        """Runs git in a folder; returns what it printed, unless that goes to `output`. Raises GitFailed."""
        command = ["git", "-C", str(folder), "-c", "safe.directory=*"]
        for setting in SETTINGS:
            command += ["-c", setting]
        command += arguments
        environment = {**self.environment, **OWN_VARIABLES, **variables}
        run = _run_here if self.user is None else partial(_run_as, self.user)
        status, printed, complaint = run(command, environment, output)
        if status:
            words = complaint.decode("utf-8", "replace").strip().splitlines()
            raise GitFailed(f"git {arguments[0]}: {words[-1] if words else f'exit status {status}'}")
        return printed.decode("utf-8", "replace").strip()


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree that is there."""

    repository: Path
    folder: Path
    how: Git

    def git(self, *arguments: str, output: IO[bytes] | None = None, variables: Mapping[str, str] = _NONE) -> str:
        """Runs git in the worktree; returns what it printed. Raises GitFailed."""
        return self.how.run(self.folder, *arguments, output=output, variables=variables)

    def base(self) -> str:
        """The commit that it began with. Raises GitFailed, OSError."""
        path = self._base_file()
        with as_owner(self.folder), open_plain(path) as file:
            noted = file.read(_COMMIT_BYTES_MAX + 1)
        if not _COMMIT.fullmatch(noted):
            raise GitFailed(f"{BASE_FILE} names no commit")
        return noted.decode()

    def write_changes(self, target: Path, index: Path) -> None:
        """Writes everything that differs from its base as a patch: commits, changes, and files that git did not know.

        `index` is the path of a file of its own, so that the worktree's index stays as it is. Raises GitFailed,
        OSError.
        """
        tree = self._tree(index)
        with target.open("wb") as output:
            self.git(
                "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", self.base(), tree, output=output
            )

    def takes_changes(self, patch: Path, index: Path) -> bool:
        """Whether a patch could be applied to its base; `index` as above. Raises GitFailed, OSError."""
        index.unlink(missing_ok=True)
        own = {"GIT_INDEX_FILE": str(index)}
        self.git("read-tree", self.base(), variables=own)
        try:
            self.git("apply", "--cached", "--check", "--binary", "--whitespace=nowarn", "--", str(patch), variables=own)
        except GitFailed:
            return False
        return True

    def apply_changes(self, patch: Path) -> None:
        """Makes the changes of a patch, without a commit. Raises GitFailed."""
        self.git("apply", "--binary", "--whitespace=nowarn", "--", str(patch))

    def make_branch(self, name: str, index: Path, job_id: str) -> None:
        """Makes a branch of everything that is in it now, with a commit that names the job. Raises GitFailed."""
        tree = self._tree(index)
        message = f"Changes of a job\n\n{_trailer(job_id)}"
        commit = self.git("commit-tree", tree, "-p", "HEAD", "-m", message, variables=NOBODY)
        self.git("branch", "--no-track", "--force", "--", name, commit)

    def note_base(self) -> None:
        """Notes the commit that it is at as the one that it began with."""
        path, commit = self._base_file(), self.git("rev-parse", "HEAD")
        with as_owner(self.folder):
            path.write_text(commit)

    def _base_file(self) -> Path:
        return Path(self.folder, self.git("rev-parse", "--git-dir"), BASE_FILE)

    def _tree(self, index: Path) -> str:
        index.unlink(missing_ok=True)
        own = {"GIT_INDEX_FILE": str(index)}
        self.git("read-tree", "HEAD", variables=own)
        self.git("add", "--all", "--", ".", variables=own)
        return self.git("write-tree", variables=own)


def add_worktree(git: Git, repository: Path, ref: str, folder: Path) -> Worktree:
    """Makes a worktree of a repository at a commit, in a folder that is not there. Raises GitFailed."""
    git.run(repository, "rev-parse", "--git-dir")
    commit = git.run(repository, "rev-parse", "--verify", "--end-of-options", f"{ref or 'HEAD'}^{{commit}}")
    git.run(repository, "worktree", "prune")
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    git.run(repository, "worktree", "add", "--detach", "--quiet", str(folder), commit)
    worktree = Worktree(repository, folder, git)
    worktree.note_base()
    return worktree


def check_branch(git: Git, repository: Path, branch: str, job_id: str) -> None:
    """Whether a branch can be made for a job: it must not be there, but of an earlier attempt. Raises GitFailed."""
    if branch.startswith("-"):
        raise GitFailed("the name of a branch can't begin with a hyphen")
    git.run(repository, "check-ref-format", "--branch", branch)
    name = f"refs/heads/{branch}"
    there = git.run(repository, "for-each-ref", "--format=%(refname)", name).splitlines()
    if name in there and _trailer(job_id) not in git.run(repository, "log", "-1", "--format=%B", name):
        raise GitFailed(f"there is a branch {branch!r} already")


def find_worktree(git: Git, repository: Path, folder: Path) -> Worktree | None:
    """The worktree that an earlier attempt left, or None."""
    worktree = Worktree(repository, folder, git)
    with suppress(GitFailed, OSError):
        with as_owner(folder):
            found = (folder / ".git").is_file()
        if found and worktree.base():
            return worktree
    return None


def remove_worktree(worktree: Worktree) -> None:
    """Removes a worktree, also when its repository is gone. Raises OSError."""
    remove_folder(worktree.folder)
    with suppress(GitFailed):
        worktree.how.run(worktree.repository, "worktree", "prune")


def _trailer(job_id: str) -> str:
    return f"Headrace-Job: {job_id}"


def _run_here(command: list[str], environment: Mapping[str, str], output: IO[bytes] | None) -> tuple[int, bytes, bytes]:
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise GitFailed(f"git can't be run: {error.strerror}") from error
    try:
        printed, complaint = process.communicate(timeout=GIT_SECONDS)
    except subprocess.TimeoutExpired as expired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        # What has left the group keeps the pipes open for as long as it likes.
        for pipe in filter(None, (process.stdout, process.stderr)):
            pipe.close()
        process.wait()
        raise GitFailed(f"git took longer than {GIT_SECONDS:g} s") from expired
    return process.returncode, printed or b"", complaint


def _run_as(
    user: User, command: list[str], environment: Mapping[str, str], output: IO[bytes] | None
) -> tuple[int, bytes, bytes]:
    program = shutil.which(command[0], path=environment.get("PATH", ""))
    if program is None:
        raise GitFailed("git can't be run: it is not on the PATH")
    try:
        ended = run_errand(Program((program, *command[1:]), "/", environment, user), GIT_SECONDS, output)
    except ErrandFailed as failed:
        raise GitFailed(f"git {failed}") from failed
    return ended.status, ended.printed, ended.complaint
