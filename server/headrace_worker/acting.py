"""Looking at files with the rights of another user, in one thread and for a moment.

What a job's programs own may hold anything: links to files of others under any name. Whatever the worker reads or
writes there, it does with the rights of the folder's owner, so that a link leads it no further than the owner. Linux
keeps these rights for each thread, and what a thread starts inherits them: start neither process nor thread meanwhile,
and wait for nothing.
"""

import ctypes
import errno
import os
import platform
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CAPABILITY_VERSION = 0x20080522
SETGROUPS = {"x86_64": 116, "aarch64": 159, "riscv64": 159}
"""The number of the system call: the C library's function would change every thread."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose rights."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@contextmanager
def acting_as(identity: Identity) -> Iterator[None]:
    """Within it, this thread has no more right to any file than the other user, and no capability.

    Raises PermissionError when this process can't do so.
    """
    own_groups, own = os.getgroups(), _capabilities()
    dropped = (ctypes.c_uint32 * 6)(*own)
    dropped[0] = dropped[3] = 0
    _set_groups(identity.groups)
    try:
        _set(identity.gid, "setfsgid")
        _set(identity.uid, "setfsuid")
        _set_capabilities(dropped)
        yield
    finally:
        _set(os.geteuid(), "setfsuid")
        _set(os.getegid(), "setfsgid")
        _set_capabilities(own)
        _set_groups(tuple(own_groups))


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Within it, this thread has the rights of a folder's owner only. Nothing changes when that is its own user.

    The folder's parent has to be the worker's own. Raises OSError.
    """
    found = folder.lstat()
    if found.st_uid == os.geteuid():
        yield
        return
    with acting_as(Identity(found.st_uid, found.st_gid)):
        yield


def open_plain(path: Path) -> IO[bytes]:
    """Opens a file to read it. A pipe or a device is refused, not waited for. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return open(descriptor, "rb")


def effective_capabilities() -> int:
    """What this thread may do, a bit for each."""
    held = _capabilities()
    return held[0] | held[3] << 32


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _capabilities() -> "ctypes.Array[ctypes.c_uint32]":
    """Effective, permitted, inheritable; the lower halves before the upper ones."""
    header, data = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    _check(_library().capget(header, data))
    return data


def _set_capabilities(data: "ctypes.Array[ctypes.c_uint32]") -> None:
    _check(_library().capset((ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), data))


def _set(number: int, function: str) -> None:
    """Says nothing when it fails; asked again with what can't be set, it tells what is."""
    call = getattr(_library(), function)
    call.argtypes, call.restype = (ctypes.c_uint32,), ctypes.c_uint32
    call(number)
    if call(0xFFFFFFFF) != number:
        raise PermissionError(f"{function} was refused")


def _set_groups(groups: tuple[int, ...]) -> None:
    number = SETGROUPS.get(platform.machine())
    if number is None:
        raise PermissionError(f"the rights of another user can't be taken on {platform.machine()}")
    _check(_library().syscall(number, len(groups), (ctypes.c_uint32 * len(groups))(*groups)))


def _check(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise PermissionError(code, os.strerror(code))
