"""The host's process table as `/proc` shows it: who is whose child, since when, and how much memory each holds.

It looks and decides nothing. Every function reads files and may take some milliseconds: call it in a thread.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one with its number by when it started."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A process as it is just now."""

    process: Process
    parent: int
    resident_bytes: int


class Table:
    """Every process of the host that runs; zombies do not."""

    def __init__(self, entries: Iterable[Entry], parents: Mapping[int, int]) -> None:
        """`parents`: of zombies too, whose children may run."""
        self.entries = {entry.process.pid: entry for entry in entries}
        self._children: dict[int, list[int]] = {}
        for pid, parent in parents.items():
            self._children.setdefault(parent, []).append(pid)

    def below(self, root: int) -> list[Entry]:
        """Everything that descends from a process, whatever session or group it is in."""
        found: list[Entry] = []
        queue = list(self._children.get(root, ()))
        while queue:
            pid = queue.pop()
            queue.extend(self._children.get(pid, ()))
            if pid in self.entries:
                found.append(self.entries[pid])
        return found


def read_table() -> Table:
    """The table as it is now."""
    entries: list[Entry] = []
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        fields = _stat(name)
        if fields is None:
            continue
        pid, parent = int(name), int(fields[1])
        parents[pid] = parent
        if fields[0] not in (b"Z", b"X"):
            entries.append(Entry(Process(pid, int(fields[19])), parent, int(fields[21]) * PAGE_BYTES))
    return Table(entries, parents)


def proportional_bytes(processes: Iterable[Process]) -> int:
    """Memory that processes hold, each page they share counted once; slower to read than the resident bytes."""
    return sum(_proportional_bytes(process) for process in processes)


def environment(pid: int) -> list[bytes]:
    """`NAME=value` as a process was started with; empty when it can't be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def start_ticks(pid: int) -> int | None:
    """When a process started, or None when it is gone."""
    fields = _stat(str(pid))
    return None if fields is None else int(fields[19])


def _stat(name: str) -> list[bytes] | None:
    """The fields of `/proc/<pid>/stat` from the state on."""
    try:
        with open(f"/proc/{name}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def _proportional_bytes(process: Process) -> int:
    try:
        with open(f"/proc/{process.pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0
