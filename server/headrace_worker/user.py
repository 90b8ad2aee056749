"""The user that a worker runs the programs of its jobs as, when that is another one than its own.

Who it is, whether the worker may become it, and which folders are its own or can be passed by it. How a program gives
up everything else stands in `keeper.py`; how the worker itself looks at what belongs to the user, in `acting.py`.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace_worker.acting import Identity, acting_as, effective_capabilities

NEEDED = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_FOWNER": 3,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_PTRACE": 19,
}
"""To hand folders over and remove them, to become the user, to end its processes, and to find those that were left."""
PASSAGE = 0o711
"""Of a folder that others pass through and can't read."""


class UserUnusable(Exception):
    """The worker can't run programs as the user; the text says why, for the operator."""


@dataclass(frozen=True, slots=True)
class User:
    """Another user of the host than the worker's own."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @property
    def identity(self) -> Identity:
        """For `acting_as`."""
        return Identity(self.uid, self.gid, self.groups)

    def message(self) -> dict[str, Any]:
        """What a keeper is told of it."""
        return {"name": self.name, "uid": self.uid, "gid": self.gid, "groups": list(self.groups)}

    def could_replace_in(self, folder: Path) -> bool:
        """Whether the user may rename and remove what others have in a folder. Raises OSError."""
        found = folder.stat()
        of_group = found.st_mode & stat.S_IWGRP and found.st_gid in self.groups
        writable = bool(of_group or found.st_mode & stat.S_IWOTH)
        return found.st_uid == self.uid or (writable and not found.st_mode & stat.S_ISVTX)

    def obstacle(self, folder: Path) -> str:
        """Why the user can't work in a folder; empty when it can. Raises OSError for one that is not there."""
        with acting_as(self.identity):
            for place in (*reversed(folder.parents), folder):
                if not _can_pass(place):
                    return f"the user {self.name} may not pass through {place}"
            try:
                os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
            except PermissionError:
                return f"the user {self.name} may not read {folder}"
        return ""


def _can_pass(place: Path) -> bool:
    try:
        os.stat(f"{place}/.")
    except PermissionError:
        return False
    return True


def find_user(name: str) -> User:
    """The user of that name. Raises UserUnusable, also when this process can't become it."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UserUnusable(f"there is no user {name!r} on this host") from None
    if entry.pw_uid in (0, os.geteuid()):
        raise UserUnusable(f"{name!r} is {'root' if entry.pw_uid == 0 else 'the user that the worker runs as'}")
    held = effective_capabilities()
    missing = [capability for capability, number in NEEDED.items() if not held >> number & 1]
    if missing:
        raise UserUnusable(f"this process can't switch users: start it as root, or give it {', '.join(missing)}")
    groups = tuple(sorted(os.getgrouplist(name, entry.pw_gid)))
    if 0 in groups:
        raise UserUnusable(f"{name!r} is in the group {grp.getgrgid(0).gr_name!r}, which is root's")
    return User(name, entry.pw_uid, entry.pw_gid, groups, entry.pw_dir)


def make_folder(folder: Path, user: User | None) -> None:
    """Makes a folder for what a job's programs do, readable by their user only. What lies above it is the worker's.

    Raises PermissionError for one that is there and belongs to somebody else, OSError for a disk that can't.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is None:
        return
    owner = folder.lstat().st_uid
    if owner == user.uid:
        return
    if owner != os.geteuid() or any(folder.iterdir()):
        raise PermissionError(f"{folder} holds what belongs to another user than {user.name}")
    os.chown(folder, user.uid, user.gid)


def make_folder_like(folder: Path, other: Path) -> None:
    """Makes a folder that belongs to the owner of another one. What lies above it is the worker's. Raises OSError."""
    owner = other.lstat()
    if folder.exists() or owner.st_uid == os.geteuid():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.parent.chmod(PASSAGE)
    folder.mkdir(mode=0o700)
    os.chown(folder, owner.st_uid, owner.st_gid)


def make_passage(folder: Path, user: User | None) -> None:
    """Makes a folder of the worker's own; another user passes through it to what lies below, and can't read it.

    Raises OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is not None:
        folder.chmod(PASSAGE)


def let_pass(data: Path, user: User, below: Iterable[str]) -> None:
    """Lets a user pass through the worker's data folder to some of the folders in it, and read nothing on the way.

    Raises UserUnusable when it can't get so far, or could put something else in the place of the data folder; OSError.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in Path(os.path.realpath(data)).parents:
        if user.could_replace_in(place):
            raise UserUnusable(f"the user {user.name} may rename what is in {place}; give --data another folder")
    for entry in os.scandir(data):
        # Another process may remove its own file just now.
        with suppress(FileNotFoundError):
            if not entry.is_symlink():
                os.chmod(entry.path, stat.S_IMODE(entry.stat().st_mode) & 0o700)
    data.chmod(PASSAGE)
    for name in below:
        make_passage(data / name, user)
        with acting_as(user.identity):
            reached = _can_pass(data / name)
        if not reached:
            raise UserUnusable(f"{user.obstacle(data)}; give --data a folder that it can reach")
