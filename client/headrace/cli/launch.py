"""`headrace serve` and `headrace work`: this process becomes the server or the worker, with its arguments untouched."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

PROGRAMS = {"serve": ("headrace_server", "sqlite_utils", "server"), "work": ("headrace_worker", "psutil", "worker")}
"""By command: the module to run, a module that only its extra brings, and the extra."""


def launch(command: str, arguments: Sequence[str]) -> NoReturn:
    """Replaces this process."""
    module, needed, extra = PROGRAMS[command]
    if not all(importlib.util.find_spec(name) for name in (module, needed)):
        sys.exit(f"headrace: `headrace {command}` needs more than the client: pip install 'headrace[{extra}]'")
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
