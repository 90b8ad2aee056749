"""Runs the control plane with a profile of every thread, in CPU seconds: `FILE [option of headrace serve] …`.

Waiting, for the disk, for a lock, for the other threads' turn, is not counted. Figures taken under a profile are for
comparing functions with each other only: it makes short ones look expensive.
"""

import cProfile
import os
import pstats
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
        profiles.append((name, profile))
        try:
            return run(*arguments, **named)
        finally:
            profile.disable()

    return running


def serve(path: str, options: list[str]) -> None:
    """Serves until it is told to end, then writes one file: all threads together."""
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
        stats = [pstats.Stats(profile) for _, profile in profiles if profile.getstats()]
        if stats:
            stats[0].add(*stats[1:]).dump_stats(path)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
