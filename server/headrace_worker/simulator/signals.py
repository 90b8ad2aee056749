"""SIGTERM and SIGINT, acted on by a thread of their own.

The interpreter runs signal handlers between the main thread's steps, and a signal that comes just before a wait is not
seen until the wait is over. The wakeup descriptor is written at once, whatever the main thread does.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from types import FrameType


def watch(actions: Mapping[signal.Signals, Callable[[], None]]) -> None:
    """From now on each of the signals runs its action, outside of the main thread. Call it in the main thread."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    for number in actions:
        signal.signal(number, _seen)
    threading.Thread(target=_run, args=(read, actions), name="signals", daemon=True).start()


def _seen(number: int, frame: FrameType | None) -> None:
    """Being handled at all is what makes the interpreter write to the descriptor."""


def _run(read: int, actions: Mapping[signal.Signals, Callable[[], None]]) -> None:
    while numbers := os.read(read, 64):
        for number in numbers:
            actions[signal.Signals(number)]()
