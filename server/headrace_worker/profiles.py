"""Environment profiles: named sets of variables, credentials mostly, that the tasks of a worker may name.

Read once at start from files that only the worker's user may read; every fault is found at once. Values never leave
the worker: a task names its profile, and what is logged or sent has them blotted out (`redaction.py`).
"""

import re
import stat
from collections.abc import Mapping
from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
RESERVED = frozenset({"PATH", "HOME", "TMPDIR", "CLAUDE_CONFIG_DIR", "HEADRACE_TREE", "HEADRACE_KEEPER"})
"""What the worker itself sets."""
FILE_BYTES_MAX = 256 * 1024


class ProfilesUnusable(Exception):
    """Profiles that can't be used; `faults` names everything that is wrong with them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def read_profiles(files: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """The profiles by name. A file has a line NAME=VALUE for each variable; NAME=@FILE takes the value from a file of
    its own; empty lines and lines that begin with # mean nothing.

    Raises ProfilesUnusable.
    """
    faults: list[str] = []
    profiles = {name: _read(name, path, faults) for name, path in files.items()}
    if faults:
        raise ProfilesUnusable(faults)
    return profiles


def _read(name: str, path: Path, faults: list[str]) -> dict[str, str]:
    if not NAME.fullmatch(name):
        faults.append(f"profile {name!r}: a name has 1 to 64 characters of a-z, 0-9, _, . and -")
    text = _private_text(path, f"profile {name!r}", faults)
    variables: dict[str, str] = {}
    for number, line in enumerate((text or "").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        variable, equals, value = line.partition("=")
        place = f"{path}:{number}"
        if not equals or not VARIABLE.fullmatch(variable):
            faults.append(f"{place}: is not NAME=VALUE")
        elif variable in RESERVED or variable.startswith("LD_"):
            faults.append(f"{place}: {variable} is the worker's own to set")
        elif value.startswith("@"):
            secret = _private_text(path.parent / value[1:], f"{place}: {variable}", faults)
            variables[variable] = (secret or "").strip()
        else:
            variables[variable] = value
    return variables


def _private_text(path: Path, what: str, faults: list[str]) -> str | None:
    """What a file holds, if nobody else may read it."""
    try:
        found = path.stat()
        if stat.S_IMODE(found.st_mode) & 0o077:
            faults.append(f"{what}: {path} can be read by others (mode {stat.S_IMODE(found.st_mode):o}); chmod 600 it")
        elif found.st_size > FILE_BYTES_MAX:
            faults.append(f"{what}: {path} has {found.st_size} bytes; at most {FILE_BYTES_MAX} are allowed")
        else:
            return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{what}: {path} can't be read: {getattr(error, 'strerror', None) or error}")
    return None
