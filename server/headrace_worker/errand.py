"""A short program under a keeper, from a thread: run to its end, and nothing of its tree is left.

For what the worker itself has done by another program as another user, e.g. by git, whose work a repository can add to.
Attempts have `process.py`.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any
from uuid import uuid4

from headrace_worker.executors.limits import CHUNK_BYTES_MAX, ERRAND_OUTPUT_BYTES_MAX, ORPHAN_GRACE_SECONDS
from headrace_worker.host import boot_seconds
from headrace_worker.process import Program, start_keeper

EXTRA_SECONDS = 10.0
"""After the deadline of a keeper and its grace, until it is given up itself."""


class ErrandFailed(Exception):
    """The program could not be run to its end; the text says why."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended, and the beginning of what it said."""

    status: int
    """Its exit code, or less than zero for a signal."""
    printed: bytes
    complaint: bytes


def run_errand(program: Program, seconds: float, output: IO[bytes] | None = None) -> Ended:
    """Runs a program without input. What it prints goes to `output` if that is given. Raises ErrandFailed."""
    handles: list[int] = []
    try:
        keeper, control = start_keeper(program, boot_seconds() + seconds, f"errand.{uuid4().hex}", handles)
    except OSError as error:
        for handle in handles:
            os.close(handle)
        raise ErrandFailed(f"can't be run: {error.strerror}") from error
    stdin, stdout, stderr = handles
    os.close(stdin)
    give_up = time.monotonic() + seconds + ORPHAN_GRACE_SECONDS + EXTRA_SECONDS
    with control:
        try:
            printed, complaint = _read(stdout, stderr, output, give_up)
            events = _hear_out(control, give_up)
        finally:
            os.close(stdout)
            os.close(stderr)
            _end(keeper, control)
    return _judged(events, printed, complaint, seconds)


def _read(stdout: int, stderr: int, output: IO[bytes] | None, give_up: float) -> tuple[bytes, bytes]:
    said = {stdout: b"", stderr: b""}
    with selectors.DefaultSelector() as selector:
        for handle in said:
            selector.register(handle, selectors.EVENT_READ)
        while selector.get_map():
            _check_time(give_up)
            for key, _ in selector.select(give_up - time.monotonic()):
                data = os.read(key.fd, CHUNK_BYTES_MAX)
                if not data:
                    selector.unregister(key.fd)
                elif key.fd == stdout and output is not None:
                    output.write(data)
                else:
                    said[key.fd] = (said[key.fd] + data)[:ERRAND_OUTPUT_BYTES_MAX]
    return said[stdout], said[stderr]


def _hear_out(control: socket.socket, give_up: float) -> dict[str, Any]:
    """What the keeper reports of the program itself; what that left running is ended then."""
    received = b""
    control.settimeout(1.0)
    while True:
        _check_time(give_up)
        try:
            data = control.recv(CHUNK_BYTES_MAX)
        except TimeoutError:
            continue
        if not data:
            return {"event": "lost"}
        *lines, received = (received + data).split(b"\n")
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            if event["event"] in ("refused", "exited"):
                return event


def _end(keeper: "subprocess.Popen[bytes]", control: socket.socket) -> None:
    """Has the keeper kill whoever is left, and waits for its own end, which is the proof that nobody is.

    Raises ErrandFailed.
    """
    # It may be gone already.
    with suppress(OSError):
        control.send(json.dumps({"signal": int(signal.SIGKILL), "to": "tree"}).encode() + b"\n")
    control.close()
    try:
        keeper.wait(ORPHAN_GRACE_SECONDS + EXTRA_SECONDS)
    except subprocess.TimeoutExpired as expired:
        # It is left alone: nobody else watches over what it keeps.
        raise ErrandFailed(f"left processes that do not end, under the keeper {keeper.pid}") from expired


def _judged(event: dict[str, Any], printed: bytes, complaint: bytes, seconds: float) -> Ended:
    match event["event"]:
        case "refused":
            raise ErrandFailed(f"can't be run: {event['message']}")
        case "exited" if event["signal"] in (signal.SIGTERM, signal.SIGKILL):
            raise ErrandFailed(f"was ended; it may take {seconds:g} s")
        case "exited":
            return Ended(event["code"] or -event["signal"], printed, complaint)
        case _:
            raise ErrandFailed("can't be run: its keeper ended")


def _check_time(give_up: float) -> None:
    if time.monotonic() >= give_up:
        raise ErrandFailed("did not end, although it was killed")
