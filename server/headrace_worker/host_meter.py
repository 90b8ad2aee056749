"""How large the worker's host is, and how much of it is free: what the machine has, or less when a control group of
cgroup v2 bounds this process.

It reads files and counters and never waits; what can't be read bounds nothing. A meter remembers its last reading, so
that idle processors are those since then.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import psutil

from headrace.v1 import worker_pb2

INTERVAL_SECONDS_MIN = 0.2
"""Between two looks at the processors; one that comes sooner gets what the one before it saw."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a meter reads; another one in tests."""

    processors: frozenset[int]
    """Those that this process may run on."""
    memory: Callable[[], tuple[int, int]]
    """Bytes in all, and available."""
    idle_seconds: Callable[[], float]
    """What those processors have idled so far, together."""
    groups: tuple[Path, ...] = ()
    """The folders of this process's control group and of those around it, the innermost first."""
    clock: Callable[[], float] = monotonic


@dataclass(frozen=True, slots=True)
class _Reading:
    time: float
    idle_seconds: float
    used_seconds: tuple[float | None, ...]
    """What each control group has used so far."""


class HostMeter:
    """Reads what a host has, and what of it is free."""

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine or this_machine()
        self._last = self._read()
        self._idle_millis: int | None = None

    def read(self) -> worker_pb2.HostResources:
        """As it is now; of the processors, what was idle since the reading before."""
        memory, available = self._memory()
        millis = self._cpu_millis()
        return worker_pb2.HostResources(
            memory_bytes=memory,
            memory_available_bytes=available,
            cpu_millis=millis,
            cpu_available_millis=max(0, min(millis, self._idle())),
        )

    def _memory(self) -> tuple[int, int]:
        total, available = self._machine.memory()
        for group in self._machine.groups:
            limit = _number(group / "memory.max")
            if limit is not None:
                total = min(total, limit)
                available = min(available, max(0, limit - _held_bytes(group)))
        return total, available

    def _cpu_millis(self) -> int:
        shares = [_cpu_share(group) for group in self._machine.groups]
        return int(1000 * min([len(self._machine.processors), *(share for share in shares if share is not None)]))

    def _idle(self) -> int:
        now, last = self._read(), self._last
        seconds = now.time - last.time
        if seconds < INTERVAL_SECONDS_MIN:
            # Before the first interval has passed nothing that was measured speaks against any of it.
            return self._cpu_millis() if self._idle_millis is None else self._idle_millis
        self._last = now
        idle = (now.idle_seconds - last.idle_seconds) / seconds
        for group, used, before in zip(self._machine.groups, now.used_seconds, last.used_seconds, strict=True):
            share = _cpu_share(group)
            if share is not None and used is not None and before is not None:
                idle = min(idle, share - (used - before) / seconds)
        self._idle_millis = int(1000 * idle)
        return self._idle_millis

    def _read(self) -> _Reading:
        machine = self._machine
        return _Reading(
            machine.clock(), machine.idle_seconds(), tuple(_used_seconds(group) for group in machine.groups)
        )


def this_machine() -> Machine:
    """The machine that this process runs on."""
    processors = frozenset(os.sched_getaffinity(0))
    return Machine(processors, _psutil_memory, lambda: _psutil_idle(processors), tuple(own_groups(Path("/"))))


def own_groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control group and of those around it, the innermost first; without v2 none."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    top = root / "sys/fs/cgroup"
    if path is None or ".." in path or not (top / "cgroup.controllers").exists():
        return
    folder = top / path.strip("/")
    yield folder
    while folder != top:
        folder = folder.parent
        yield folder


def _psutil_memory() -> tuple[int, int]:
    memory = psutil.virtual_memory()
    return memory.total, memory.available


def _psutil_idle(processors: frozenset[int]) -> float:
    times = psutil.cpu_times(percpu=True)
    return sum(one.idle + one.iowait for number, one in enumerate(times) if number in processors)


def _held_bytes(group: Path) -> int:
    """What a group holds that can't be taken back at once: file pages that nobody uses can."""
    held = _number(group / "memory.current") or 0
    return max(0, held - _entry(group / "memory.stat", "inactive_file"))


def _cpu_share(group: Path) -> float | None:
    """The processors that a group may use, or None when it may use all."""
    words = _text(group / "cpu.max").split()
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _used_seconds(group: Path) -> float | None:
    """What a group has used of the processors so far, or None when it does not say."""
    used = _entry(group / "cpu.stat", "usage_usec")
    return used / 1e6 if used else None


def _entry(path: Path, name: str) -> int:
    for line in _text(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdecimal():
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
