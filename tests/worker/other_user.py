"""What tests need that run programs as another user: who it is, a folder that it can reach, a Python that it can run.

pytest's own temporary folders are closed to everybody else, and so may the interpreter of the tests be.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace_worker.app import PASSED_FOLDERS
from headrace_worker.user import User, find_user, let_pass

NAME = "nobody"
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run programs as another user")


def other_user() -> User:
    """A user that is not the tests'."""
    return find_user(NAME)


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that anybody can pass through; with `data` in it as a worker's data folder, open to the other user."""
    folder = Path(tempfile.mkdtemp(prefix="headrace-user-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        let_pass(folder / "data", other_user(), PASSED_FOLDERS)
        yield folder
    finally:
        shutil.rmtree(folder)


def anybodys_python() -> str:
    """An interpreter that the other user can run. Skips the test where there is none."""
    user = other_user()
    for program in (sys.executable, shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")):
        try:
            subprocess.run([program or "", "-c", "import json"], user=user.uid, cwd="/", check=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            continue
        return program or ""
    pytest.skip(f"there is no Python that the user {NAME} can run")
