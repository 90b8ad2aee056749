"""Node, and the packages that its client needs as `node/package-lock.json` says, fetched once.

Knows nothing of Headrace. What can't be had is said in words; whether that matters is the caller's.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

PACKAGE = Path(__file__).parent / "node"
NODE_MAJOR_MIN = 18
INSTALL_SECONDS_MAX = 90


class Unavailable(Exception):
    """Why there is no Node, or why its packages can't be had."""


def node_with_packages() -> str:
    """The Node program, with the packages in `node/node_modules`; works offline when they are there already."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Unavailable("node and npm are not on the PATH")
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NODE_MAJOR_MIN:
        raise Unavailable(f"node is {version}, these clients need {NODE_MAJOR_MIN} or newer")
    lock, installed = PACKAGE / "package-lock.json", PACKAGE / "node_modules" / ".installed"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two runs of the tests install once
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            _install(npm)
            installed.write_bytes(lock.read_bytes())
    return node


def _install(npm: str) -> None:
    command = [npm, "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"]
    settings = {"NPM_CONFIG_UPDATE_NOTIFIER": "false", "NPM_CONFIG_FETCH_RETRIES": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=PACKAGE,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm ci took more than {INSTALL_SECONDS_MAX} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("npm error ")]
        raise Unavailable(f"npm ci failed: {'; '.join(errors[:2]) or done.returncode}")
