"""Runs a program under a keeper, from asyncio: its start, its pipes, its end, and the proof that its tree is gone.

Works on uvloop as on asyncio's own loop: own pipes, a pidfd for the keeper, and no child watcher, so `waitpid` is
called for the keeper alone. What the program means and what becomes of its output never enters here.
"""

import asyncio
import errno
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path
from typing import Any
from uuid import uuid4

from headrace_worker.executors.limits import CHUNK_BYTES_MAX, ORPHAN_GRACE_SECONDS, SPAWN_SECONDS
from headrace_worker.pipe import PipeReader, PipeWriter
from headrace_worker.process_table import Process
from headrace_worker.sweep import KEEPER_VARIABLE, TREE_VARIABLE, sweep
from headrace_worker.trees import Memory, MemoryLimits, Trees
from headrace_worker.user import User

KEEPER = str(Path(__file__).with_name("keeper.py"))
INVALID_ERRNOS = frozenset(
    {errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.ELOOP, errno.E2BIG, errno.EINVAL}
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: `arguments[0]` is an absolute path."""

    arguments: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    user: User | None = None
    """Whom it runs as; None: the worker's own. Its keeper runs as the worker's in any case."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a program ended: by a code, or by a signal that is not zero."""

    code: int
    signal: int = 0


class SpawnFailed(Exception):
    """The program could not be started."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent
        """True: it can never be. False: the host lacks something just now."""


class ProcessTree:
    """A program, everything it started, and the keeper that ends them. Made by `spawn`."""

    def __init__(
        self,
        keeper: subprocess.Popen[bytes],
        pidfd: int,
        control: socket.socket,
        mark: str,
        pipes: tuple[PipeWriter, PipeReader, PipeReader],
        limits: MemoryLimits,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.stdin, self.stdout, self.stderr = pipes
        self.memory = Memory(limits)
        self.members: frozenset[Process] = frozenset()
        """Its processes, as they were last seen; the keeper is none of them."""
        self.survivors = 0
        """Processes that were left when they were last counted."""
        self._keeper = keeper
        self._control = control
        self._mark = mark
        self._received = b""
        self._started: asyncio.Future[int] = loop.create_future()
        self._exited: asyncio.Future[ExitStatus] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        self._proved = False
        self._sweeping: asyncio.Task[None] | None = None
        self._pidfd = pidfd
        loop.add_reader(control.fileno(), self._listen)
        loop.add_reader(self._pidfd, self._keeper_ended)

    @property
    def keeper_pid(self) -> int:
        """Process id of the keeper."""
        return self._keeper.pid

    @property
    def process_id(self) -> int:
        """Process id of the program, once it has started."""
        return self._started.result()

    @property
    def exit_status(self) -> ExitStatus | None:
        """How the program ended, or None while it runs."""
        return self._exited.result() if self._exited.done() else None

    @property
    def gone(self) -> bool:
        """Whether nothing of the tree is left."""
        return self._gone.done()

    async def wait_exit(self) -> ExitStatus:
        """Waits for the end of the program itself; what it started may go on."""
        return await asyncio.shield(self._exited)

    async def wait_gone(self) -> None:
        """Waits for the proof that nothing of the tree is left."""
        await asyncio.shield(self._gone)

    def signal_program(self, number: signal.Signals) -> None:
        """Signals the program alone."""
        self.send({"signal": int(number), "to": "program"})

    def signal_tree(self, number: signal.Signals) -> None:
        """Signals every process of the tree; SIGKILL goes on until nothing is left."""
        self.send({"signal": int(number), "to": "tree"})

    def send(self, command: dict[str, Any]) -> None:
        """Tells the keeper something. Never waits."""
        with suppress(OSError):
            self._control.send(json.dumps(command).encode() + b"\n")

    async def confirm_started(self) -> int:
        """Waits for the keeper's word that the program runs, and returns its process id.

        Raises SpawnFailed when it does not.
        """
        try:
            async with asyncio.timeout(SPAWN_SECONDS):
                return await asyncio.shield(self._started)
        except TimeoutError:
            raise SpawnFailed("the keeper did not start in time", permanent=False) from None

    def close(self) -> None:
        """Gives back the pipes and the channel; the keeper ends whatever is still there."""
        for pipe in (self.stdin, self.stdout, self.stderr):
            pipe.close()
        if self._control.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()

    def _listen(self) -> None:
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._hear(json.loads(line))

    def _hear(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "started":
                self._started.set_result(event["pid"])
            case "refused":
                permanent = event["errno"] in INVALID_ERRNOS
                self._started.set_exception(SpawnFailed(event["message"], permanent=permanent))
            case "exited":
                self._exited.set_result(ExitStatus(event["code"], event["signal"]))
            case "left":
                self.survivors = event["count"]
                logger.warning("processes outlive SIGKILL", extra={"survivors": self.survivors})
            case "gone":
                self._proved = True

    def _keeper_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._keeper.wait()
        if self._control.fileno() >= 0:
            self._listen()
        if self._proved:
            self._set_gone()
        else:
            logger.error("a keeper ended without its proof", extra={"status": self._keeper.returncode})
            self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        """The second line, for a keeper that was itself killed: finds its tree by mark and by who was seen in it."""
        while left := await asyncio.to_thread(sweep, self._mark, self.members):
            self.survivors = left
            logger.warning("processes outlive SIGKILL", extra={"survivors": left})
        self._set_gone()

    def _set_gone(self) -> None:
        self.survivors = 0
        if not self._started.done():
            self._started.set_exception(SpawnFailed("the keeper ended at its start", permanent=False))
            self._started.exception()
        if not self._exited.done():
            self._exited.set_result(ExitStatus(0, signal.SIGKILL))
        self.stdout.end_when_empty()
        self.stderr.end_when_empty()
        self._gone.set_result(None)


async def spawn(program: Program, trees: Trees, limits: MemoryLimits | None = None) -> ProcessTree:
    """Starts a program under a keeper of its own.

    Raises SpawnFailed, and then leaves nothing behind.
    """
    try:
        tree = await _start_tree(program, trees, limits or MemoryLimits())
    except OSError as error:
        raise SpawnFailed(f"the keeper could not be started: {error}", permanent=False) from error
    trees.join(tree)
    tree._gone.add_done_callback(lambda _: trees.leave(tree))
    try:
        await tree.confirm_started()
    except BaseException:
        tree.signal_tree(signal.SIGKILL)
        await asyncio.shield(_close_when_gone(tree))
        raise
    return tree


async def _close_when_gone(tree: ProcessTree) -> None:
    await tree.wait_gone()
    tree.close()


async def _start_tree(program: Program, trees: Trees, limits: MemoryLimits) -> ProcessTree:
    handles: list[int] = []
    mark = f"{trees.mark}.{uuid4().hex}"
    try:
        keeper, control = start_keeper(program, trees.deadline, mark, handles)
    except OSError:
        _close_all(handles)
        raise
    try:
        pidfd = os.pidfd_open(keeper.pid)
    except OSError:
        # Without its worker the keeper ends its tree, and itself after that.
        control.close()
        _close_all(handles)
        await asyncio.shield(asyncio.to_thread(keeper.wait))
        raise
    stdin, stdout, stderr = handles
    return ProcessTree(
        keeper, pidfd, control, mark, (PipeWriter(stdin), PipeReader(stdout), PipeReader(stderr)), limits
    )


def start_keeper(
    program: Program, deadline: float | None, mark: str, opened: list[int]
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Leaves the worker's ends of the program's streams in `opened`, or, when it fails, what has to be closed."""
    stdin_end, stdin = _pipe(opened)
    stdout, stdout_end = _pipe(opened)
    stderr, stderr_end = _pipe(opened)
    spec = os.memfd_create("program")
    opened.append(spec)
    _write_spec(spec, program, deadline, mark, (stdin_end, stdout_end, stderr_end))
    control, control_end = socket.socketpair()
    handles = (stdin_end, stdout_end, stderr_end, spec)
    with control_end:
        try:
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", KEEPER, str(spec), str(control_end.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={KEEPER_VARIABLE: mark},
                pass_fds=(*handles, control_end.fileno()),
                start_new_session=True,
            )
        except OSError:
            control.close()
            raise
    _close_all(list(handles))
    opened[:] = (stdin, stdout, stderr)
    for handle in opened:
        os.set_blocking(handle, False)
    control.setblocking(False)
    return keeper, control


def _write_spec(handle: int, program: Program, deadline: float | None, mark: str, pipes: tuple[int, int, int]) -> None:
    stdin, stdout, stderr = pipes
    spec = {
        "argv": list(program.arguments),
        "cwd": program.folder,
        "env": {**program.environment, TREE_VARIABLE: mark},
        "stdin": stdin,
        "stdout": stdout,
        "stderr": stderr,
        "deadline": deadline,
        "orphan_grace_seconds": ORPHAN_GRACE_SECONDS,
        "user": program.user.message() if program.user is not None else None,
    }
    with os.fdopen(os.dup(handle), "wb") as file:
        file.write(json.dumps(spec).encode())


def _pipe(opened: list[int]) -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    opened += (reader, writer)
    with suppress(OSError):
        # A user may have few large pipes; a small one is slower, no more.
        fcntl(reader, F_SETPIPE_SZ, CHUNK_BYTES_MAX)
    return reader, writer


def _close_all(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)
