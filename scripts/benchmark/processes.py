"""The processes of a run: how they are started, what they say, how much memory they hold, and their end.

Only processes that were started here are ever signalled, by their pid. Their data lies in one folder, which goes with
them.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

START_SECONDS = 30.0
END_SECONDS = 10.0
SAMPLE_SECONDS = 0.02
LOG_LINES = 15
LINE_BYTES_MAX = 1024 * 1024


class ProcessFailed(Exception):
    """A process ended, or did not say what it was waited for."""


@dataclass(slots=True)
class Child:
    """A process, and where its complaints go."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    @property
    def cpu_seconds(self) -> float:
        """What it has computed so far, all threads: on a busy machine a steadier figure than time."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    async def line(self, seconds: float = START_SECONDS) -> str:
        """The next line of its output. Raises ProcessFailed."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                line = await self.process.stdout.readline()
        except TimeoutError:
            raise ProcessFailed(f"{self.name} said nothing for {seconds:.0f} s{self.last_words()}") from None
        if not line:
            raise ProcessFailed(f"{self.name} has ended{self.last_words()}")
        return line.decode().rstrip("\n")

    async def word(self, seconds: float = START_SECONDS) -> dict[str, Any]:
        """The next line of its output, which is a JSON object."""
        found: dict[str, Any] = json.loads(await self.line(seconds))
        return found

    async def kill(self) -> None:
        """Ends it as a crash would."""
        self._signal(signal.SIGKILL)
        await self.process.wait()

    async def end(self) -> None:
        """Ends it in order, or, when that takes too long, as a crash would."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_SECONDS):
                await self.process.wait()
        except TimeoutError:
            await self.kill()

    def last_words(self) -> str:
        """The end of its log, to be put behind a complaint."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "".join(f"\n    {line}" for line in lines)

    def _signal(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


class Processes:
    """Starts processes; when the block ends, they end, the last one first, and their folder is removed."""

    def __init__(self, parent: Path | None) -> None:
        """`parent`: where the folder is made; the disk under it is the one that is measured."""
        self._parent = parent
        self._children: list[Child] = []

    async def __aenter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-bench-", dir=self._parent))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._end(self._children)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def ending_what_starts(self) -> AsyncIterator[None]:
        """What is started in the block ends with it."""
        before = len(self._children)
        try:
            yield
        finally:
            await self._end(self._children[before:])

    async def start(self, name: str, arguments: Sequence[str]) -> Child:
        """Starts a Python program: `-m module …`, or a file. What it prints is for `line`; its log is kept aside."""
        log = self.folder / f"{name}-{len(self._children)}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                env=environment(os.environ),
                limit=LINE_BYTES_MAX,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    async def _end(self, children: Sequence[Child]) -> None:
        """Ends the last one first, so that workers can still say goodbye to their server."""
        try:
            for child in reversed(children):
                await child.end()
        finally:
            for child in children:
                if child.process.returncode is None:
                    await child.kill()


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What a child gets: without the operator's settings, which would bend the figures."""
    return {name: value for name, value in given.items() if not name.startswith(("HEADRACE_", "OTEL_"))}


@dataclass(slots=True)
class Peak:
    """The most memory that a process held while it was watched."""

    before: int
    most: int = 0

    @property
    def growth(self) -> int:
        """Bytes above where it began."""
        return max(0, self.most - self.before)


@contextlib.asynccontextmanager
async def watched(*children: Child) -> AsyncIterator[list[Peak]]:
    """Watches the memory of processes while the block runs."""
    peaks = [Peak(child.rss) for child in children]

    def sample() -> None:
        for child, peak in zip(children, peaks, strict=True):
            peak.most = max(peak.most, child.rss)

    async def watch() -> None:
        while True:
            sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield peaks
        sample()
    finally:
        watching.cancel()


async def settled_rss(child: Child, seconds: float = 3.0) -> int:
    """Memory of a process once it stands still for a moment, or when the time is over."""
    last = -1
    for _ in until(seconds, 0.2):
        now = child.rss
        if now == last:
            break
        last = now
        await asyncio.sleep(0.2)
    return child.rss


def until(seconds: float, step: float) -> Iterator[None]:
    """So many steps as fit into the time."""
    for _ in range(max(1, round(seconds / step))):
        yield
