"""The local worker: one process beside the control plane, in a session of its own, that outlives a restart of it.

It holds a lock file with its process id. A control plane that starts adopts the holder of the lock, else starts a new
worker; one that ends without being asked to is started again, with a pause that grows, and what it said last is said
again here. What the worker does is its own affair.
"""

import asyncio
import fcntl
import json
import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

RESTART_SECONDS_MIN = 0.5
RESTART_SECONDS_MAX = 60.0
STEADY_SECONDS = 60.0
"""A worker that ran for so long starts the backoff anew."""
KILL_SECONDS = 5.0
LAST_WORDS_BYTES_MAX = 4096
LAST_WORDS_CHARACTERS_MAX = 500
FRAME = " \t+-|"
"""What Python draws around the exceptions of a group."""


@dataclass(frozen=True, slots=True)
class LocalWorkerCommand:
    """How to start it."""

    arguments: Sequence[str]
    lock: Path
    """The file that it locks; told to it in the arguments as well."""
    log: Path
    """Where its standard error goes."""
    options: Path
    """Where its arguments are kept, for a control plane that adopts it."""


class LocalWorker:
    """Keeps one local worker running until it is stopped."""

    def __init__(self, command: LocalWorkerCommand, on_fault: Callable[[str], None] = lambda fault: None) -> None:
        """`on_fault` gets why it does not run whenever it has ended by itself, and an empty text once it runs again
        steadily or is not wanted."""
        self._command = command
        self._on_fault = on_fault
        self._pidfd = -1
        self._pid = 0
        self._status: int | None = None
        self._log_bytes = 0
        """Of its log, what earlier starts had written."""
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._wanted = True
        self._wanted_changed = asyncio.Event()

    def want(self, wanted: bool) -> None:
        """Whether it is started again when it ends. One that runs goes on until somebody else ends it."""
        self._wanted = wanted
        self._wanted_changed.set()
        if not wanted:
            self._on_fault("")

    async def run(self) -> None:
        """Adopts or starts the worker, and starts it again whenever it ends. Returns once it was stopped and has
        ended."""
        loop = asyncio.get_running_loop()
        backoff = RESTART_SECONDS_MIN
        while not self._stopping.is_set():
            started = loop.time()
            try:
                running = await self._adopt_or_start()
            except OSError as error:
                # No descriptor or memory is left just now: that must not end the control plane.
                fault = f"it can't be started: {error}"
            else:
                if not running:
                    await self._wait_wanted()
                    backoff = RESTART_SECONDS_MIN
                    continue
                fault = await self._wait_end()
                if self._stopping.is_set():
                    return
                if not self._wanted:
                    log.info("the local worker has exited, as it was wanted to")
                    continue
                if loop.time() - started > STEADY_SECONDS:
                    backoff = RESTART_SECONDS_MIN
            log.error("the local worker does not run, starting it again in %.1f s: %s", backoff, fault)
            self._on_fault(fault)
            with suppress(TimeoutError):
                async with asyncio.timeout(backoff):
                    await self._stopping.wait()
            backoff = min(backoff * 2, RESTART_SECONDS_MAX)

    async def _wait_wanted(self) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not (self._wanted or self._stopping.is_set()):
                self._wanted_changed.clear()
                changed = asyncio.ensure_future(self._wanted_changed.wait())
                await asyncio.wait((stopping, changed), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
        finally:
            stopping.cancel()

    async def _wait_end(self) -> str:
        """Waits for the end of the process; says how it came."""
        steady = asyncio.get_running_loop().call_later(STEADY_SECONDS, self._on_fault, "")
        try:
            await self._ended.wait()
        finally:
            steady.cancel()
        self._close()
        how = "it has ended" if self._status is None else f"it has ended with {_status_text(self._status)}"
        words = self._last_words()
        return f"{how}, saying: {words}" if words else f"{how}; its log is {self._command.log}"

    def _last_words(self) -> str:
        """The last line that this start of it wrote into its log; empty when there is none."""
        try:
            with self._command.log.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_bytes, end - LAST_WORDS_BYTES_MAX))
                lines = file.read(LAST_WORDS_BYTES_MAX).decode(errors="replace").splitlines()
        except OSError:
            return ""
        last = next((said for line in reversed(lines) if (said := line.strip(FRAME))), "")
        return last[:LAST_WORDS_CHARACTERS_MAX]

    async def stop(self, grace_seconds: float) -> None:
        """Asks the worker to drain, and ends it when it has not ended after the grace."""
        self._stopping.set()
        for what, wait_seconds in (
            (signal.SIGTERM, grace_seconds),
            (signal.SIGTERM, KILL_SECONDS),
            (signal.SIGKILL, KILL_SECONDS),
        ):
            if self._pidfd < 0 or self._ended.is_set():
                return
            self._signal(what)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._ended.wait()

    def end_at_once(self) -> None:
        """Has the worker end all that it runs and exit, without waiting for it."""
        self._stopping.set()
        # The second signal ends it at once; its keepers end the process trees. Two of a kind could arrive as one.
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGINT)

    async def _adopt_or_start(self) -> bool:
        """Whether there is a process now: none is started while it is not wanted."""
        self._ended.clear()
        pid = _lock_holder(self._command.lock)
        if pid is None and not self._wanted:
            return False
        if pid is not None:
            log.info("adopting the local worker, process %d", pid)
            self._log_bytes = _size(self._command.log)
            self._compare_options()
        else:
            pid = self._start()
            log.info("started the local worker, process %d", pid)
        self._pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended.set()
        else:
            asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)
        return True

    def _compare_options(self) -> None:
        """An adopted worker goes on with what it runs and with the options of its own start; says so when they are
        others."""
        try:
            arguments = json.loads(self._command.options.read_text())
        except (OSError, ValueError):
            return
        if arguments != list(self._command.arguments):
            log.warning(
                "the local worker runs with other options, those of its own start: %s; to change them, stop this"
                " control plane in order and start it again",
                shlex.join(arguments[3:]),
            )

    def _start(self) -> int:
        self._command.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log_bytes = _size(self._command.log)
        self._command.options.write_text(json.dumps(list(self._command.arguments)))
        with self._command.log.open("ab") as sink:
            process = subprocess.Popen(
                self._command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
                close_fds=True,
            )
        # Its end is seen by pidfd and it is reaped in _close; the object must not warn about it.
        process.returncode = 0
        return process.pid

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._ended.set()

    def _close(self) -> None:
        self._status = None
        with suppress(ChildProcessError):
            _, self._status = os.waitpid(self._pid, os.WNOHANG)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd = -1

    def _signal(self, what: signal.Signals) -> None:
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, what)


def _lock_holder(path: Path) -> int | None:
    """Process id of the worker that holds the lock, or None when nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        text = os.read(descriptor, 32).decode(errors="replace").strip()
        return int(text) if text.isdecimal() else None
    else:
        return None
    finally:
        os.close(descriptor)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _status_text(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"status {code}" if code >= 0 else f"signal {-code}"
