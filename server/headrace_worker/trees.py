"""The process trees that a worker runs just now: until when they may live, and how much memory they hold.

Their keepers end them, on the worker's word or without it; who is told what of a tree that grew too large is decided by
its executor.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from headrace_worker.limits import MEMORY_SAMPLE_SECONDS
from headrace_worker.process_table import Process, proportional_bytes, read_table


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Of one tree, in bytes; zero sets none."""

    soft_bytes: int = 0
    """Past it the attempt's log says so."""
    hard_bytes: int = 0
    """Past it the tree is killed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen of a tree."""

    processes: frozenset[Process]
    memory_bytes: int
    """Pages that processes share count for each of them, unless a limit depends on it."""


class Memory:
    """What one tree holds, as it was last seen, and whether that is too much. It is too much only once."""

    def __init__(self, limits: MemoryLimits) -> None:
        self.limits = limits
        self.last_bytes = 0
        self.peak_bytes = 0
        self._soft = asyncio.Event()
        self._hard = asyncio.Event()

    @property
    def over_hard(self) -> bool:
        """Whether the tree has passed its hard limit."""
        return self._hard.is_set()

    async def wait_over_soft(self) -> None:
        """Waits until the tree has passed its soft limit."""
        await self._soft.wait()

    async def wait_over_hard(self) -> None:
        """Waits until the tree has passed its hard limit."""
        await self._hard.wait()

    def least_limit(self) -> int:
        """The smallest limit that has not been passed; zero when there is none."""
        limits = ((self.limits.soft_bytes, self._soft), (self.limits.hard_bytes, self._hard))
        return min((size for size, passed in limits if size and not passed.is_set()), default=0)

    def note(self, memory_bytes: int) -> None:
        """Takes a sample in."""
        self.last_bytes = memory_bytes
        self.peak_bytes = max(self.peak_bytes, memory_bytes)
        for limit, passed in ((self.limits.soft_bytes, self._soft), (self.limits.hard_bytes, self._hard)):
            if limit and memory_bytes > limit:
                passed.set()


class Tree(Protocol):
    """What is asked of a tree here."""

    memory: Memory
    members: frozenset[Process]

    @property
    def keeper_pid(self) -> int:
        """Process id of its keeper."""
        ...

    def send(self, command: dict[str, Any]) -> None:
        """Tells its keeper something."""
        ...


class Trees:
    """Every tree of a worker.

    Deadlines are readings of CLOCK_BOOTTIME, which goes on while the host sleeps. None: no deadline.
    """

    def __init__(self, mark: str = "", sample_seconds: float = MEMORY_SAMPLE_SECONDS) -> None:
        """`mark`: stands in the environment of every process, so that a later start of the worker finds them."""
        self.mark = mark or uuid4().hex
        self.deadline: float | None = None
        self._sample_seconds = sample_seconds
        self._trees: set[Tree] = set()
        self._watching: asyncio.Task[None] | None = None

    def extend(self, deadline: float | None) -> None:
        """Gives every running and future tree a new deadline."""
        self.deadline = deadline
        for tree in self._trees:
            tree.send({"deadline": deadline})

    def extend_seconds(self, seconds: float) -> None:
        """Gives every tree a deadline that many seconds from now."""
        self.extend(time.clock_gettime(time.CLOCK_BOOTTIME) + seconds)

    def join(self, tree: Tree) -> None:
        """From now on the tree gets every extension, and is watched."""
        self._trees.add(tree)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    def leave(self, tree: Tree) -> None:
        """The tree is gone."""
        self._trees.discard(tree)
        if not self._trees and self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._sample_seconds)
            wanted = {tree.keeper_pid: tree.memory.least_limit() for tree in self._trees}
            samples = await asyncio.to_thread(take_samples, wanted)
            for tree in list(self._trees):
                sample = samples.get(tree.keeper_pid)
                if sample is not None:
                    tree.members = sample.processes
                    tree.memory.note(sample.memory_bytes)


def take_samples(limits: dict[int, int]) -> dict[int, Sample]:
    """Looks at the trees of these keepers. Only where a limit seems to be passed are shared pages counted once."""
    table = read_table()
    samples = {}
    for keeper_pid, limit in limits.items():
        entries = table.below(keeper_pid)
        processes = frozenset(entry.process for entry in entries)
        memory_bytes = sum(entry.resident_bytes for entry in entries)
        if limit and memory_bytes > limit:
            memory_bytes = proportional_bytes(processes)
        samples[keeper_pid] = Sample(processes, memory_bytes)
    return samples
