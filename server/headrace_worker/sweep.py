"""Ends the processes that carry a worker's mark in their environment.

The second line of defence: for a tree whose keeper was itself killed, and for whatever an earlier start of the worker
left behind. A process that emptied its environment escapes it, unless it was seen in the tree before.
"""

import logging
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from headrace_worker.executors.limits import ORPHAN_GRACE_SECONDS
from headrace_worker.limits import SWEEP_INTERVAL_SECONDS, SWEEP_NOTICE_SECONDS, SWEEP_SECONDS
from headrace_worker.process_table import Process, environment, read_table, start_ticks

TREE_VARIABLE = "HEADRACE_TREE"
"""In the environment of every process of a tree: the mark of the worker's data folder, a dot, the id of the tree."""
KEEPER_VARIABLE = "HEADRACE_KEEPER"
"""The same, in the environment of the tree's keeper."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Carriers:
    """Who lives that carries a mark."""

    members: frozenset[Process]
    """Of trees: with everything below them and below their keepers, marked or not."""
    keepers: frozenset[Process]


def folder_mark(data: Path) -> str:
    """The mark of a data folder, which no other has; made with the first call. Raises OSError."""
    path = data / "mark"
    mark = path.read_text() if path.exists() else ""
    if not mark:
        mark = uuid4().hex
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(mark)
    return mark


def sweep(mark: str, seen: Iterable[Process] = ()) -> int:
    """Kills whoever carries the mark of one tree or was seen in it, with all below, until nobody is left.

    Gives up after a while, and returns how many are left.
    """
    deadline = time.monotonic() + SWEEP_SECONDS
    known = frozenset(seen)
    while True:
        known = carriers(mark, known).members
        if not known or time.monotonic() >= deadline:
            return len(known)
        _kill_all(known)
        time.sleep(SWEEP_INTERVAL_SECONDS)


def end_left_trees(mark: str) -> int:
    """Ends every tree that an earlier start of the worker left; returns how many of their processes it met.

    It returns when nobody carries the mark any more, however long that takes: with the worker's first word its earlier
    jobs are given away. A keeper that lives gets the time to end its tree in order.
    """
    patience = time.monotonic() + ORPHAN_GRACE_SECONDS + 1.0
    notice = time.monotonic() + SWEEP_NOTICE_SECONDS
    met: set[Process] = set()
    known: frozenset[Process] = frozenset()
    while True:
        found = carriers(mark, known)
        known = found.members
        left = found.members | found.keepers
        met |= left
        if not left:
            return len(met)
        now = time.monotonic()
        if not found.keepers or now >= patience:
            _kill_all(found.members or found.keepers)
        if now >= notice:
            notice = now + SWEEP_NOTICE_SECONDS
            pids = ", ".join(str(pid) for pid in sorted(process.pid for process in left))
            logger.warning("processes of an earlier worker do not end; waiting for them: %s", pids)
        time.sleep(SWEEP_INTERVAL_SECONDS)


def carriers(mark: str, known: frozenset[Process] = frozenset()) -> Carriers:
    """Everybody but this process whose mark begins so, or who is known and lives, and all that is below them."""
    member, keeper = f"{TREE_VARIABLE}={mark}".encode(), f"{KEEPER_VARIABLE}={mark}".encode()
    table = read_table()
    members: set[Process] = set()
    keepers: set[Process] = set()
    for pid, entry in table.entries.items():
        if pid == os.getpid():
            continue
        variables = environment(pid)
        if entry.process in known or any(variable.startswith(member) for variable in variables):
            members.add(entry.process)
        elif any(variable.startswith(keeper) for variable in variables):
            keepers.add(entry.process)
    below = {entry.process for root in members | keepers for entry in table.below(root.pid)}
    return Carriers(frozenset(members | below - keepers), frozenset(keepers))


def _kill_all(processes: Iterable[Process]) -> None:
    for process in processes:
        _kill(process)


def _kill(process: Process) -> None:
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if start_ticks(process.pid) == process.start_ticks:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(handle)
