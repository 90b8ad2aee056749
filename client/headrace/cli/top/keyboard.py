"""Single keys from a terminal while it shows a screen, and the terminal given back as it was. No key has a meaning."""

from __future__ import annotations

import os
import sys
import termios
import tty
from types import TracebackType
from typing import Any, Self

SEQUENCES = {
    "\x1b[A": "up",
    "\x1b[B": "down",
    "\x1b[C": "right",
    "\x1b[D": "left",
    "\x1bOA": "up",
    "\x1bOB": "down",
    "\x1bOC": "right",
    "\x1bOD": "left",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[Z": "backtab",
    "\t": "tab",
}


class Keyboard:
    """Standard input, a key at a time; when that is no terminal there are no keys."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._before: list[Any] | None = None

    @property
    def descriptor(self) -> int | None:
        """What to wait on; None when there are no keys."""
        return self._descriptor

    def __enter__(self) -> Self:
        if self._descriptor is not None:
            self._before = termios.tcgetattr(self._descriptor)
            tty.setcbreak(self._descriptor)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None and self._before is not None:
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
            self._before = None

    def read(self) -> list[str]:
        """The keys that were pressed; `q` when the terminal is gone."""
        if self._descriptor is None:
            return []
        try:
            data = os.read(self._descriptor, 1024)
        except OSError:
            return ["q"]
        return keys(data.decode("utf-8", "replace")) if data else ["q"]


def keys(text: str) -> list[str]:
    """Names of the keys in what a terminal sent; sequences of other keys are left out."""
    found = []
    while text:
        known = next((one for one in SEQUENCES if text.startswith(one)), None)
        if known is not None:
            found.append(SEQUENCES[known])
            text = text[len(known) :]
        elif text.startswith("\x1b"):
            text = _after_sequence(text)
        else:
            found.append(text[0])
            text = text[1:]
    return found


def _after_sequence(text: str) -> str:
    """The text after an escape sequence that has no name here."""
    if text[1:2] not in ("[", "O"):
        return text[2:]
    end = next((number for number, one in enumerate(text[2:], 2) if "@" <= one <= "~"), len(text))
    return text[end + 1 :]
