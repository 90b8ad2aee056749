"""Runs the control plane with a profile of each Python thread, in CPU seconds: `PATH [option of headrace serve] …`.

Waiting, for the disk, for a lock, for the other threads' turn, is not counted. Figures taken under a profile are for
comparing functions with each other only: it makes short ones look expensive.
"""

import cProfile
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from headrace_server.__main__ import main

Profiles = list[tuple[str, cProfile.Profile]]


def profiled(name: str, run: Callable[..., Any], profiles: Profiles) -> Callable[..., Any]:
    """The function, with a profile of what it does in its thread."""

    def running(*arguments: Any, **named: Any) -> Any:
        profile = cProfile.Profile(time.thread_time)
        try:
            profile.enable()
        except ValueError:
            # From Python 3.12 on, only one thread can have a profile.
            return run(*arguments, **named)
        try:
            return run(*arguments, **named)
        finally:
            profile.disable()
            profiles.append((name, profile))

    return running


def serve(path: str, options: list[str]) -> None:
    """Serves until it is told to end, then writes a file for each thread that has ended: `PATH-NUMBER.THREAD`."""
    profiles: Profiles = []
    start = threading.Thread.start

    def start_profiled(thread: threading.Thread) -> None:
        thread.run = profiled(thread.name, thread.run, profiles)  # type: ignore[method-assign]  # each thread its own
        start(thread)

    threading.Thread.start = start_profiled  # type: ignore[assignment,method-assign]  # no other way to their threads
    sys.argv = ["headrace serve", *options]
    try:
        profiled("loop", main, profiles)()
    finally:
        for number, (name, profile) in enumerate(profiles):
            profile.dump_stats(f"{path}-{number}.{name}")


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
