"""What a handler may use while it runs: its identity, progress, output, and the wish that it ends.

Async functions get a `HandlerContext`, functions in threads a `BlockingHandlerContext`: the same words, fit for each.
"""

import asyncio
import threading
from dataclasses import dataclass

from headrace.v1 import event_pb2, job_pb2
from headrace_worker.executors.contract import Attempt, StopRequest
from headrace_worker.executors.limits import CHUNK_BYTES_MAX
from headrace_worker.limits import PROGRESS_INTERVAL_SECONDS, PROGRESS_MESSAGE_CHARACTERS_MAX


class HandlerCancelled(BaseException):
    """Raised by `raise_if_cancelled`. Not an `Exception`, so that a handler's `except Exception` lets it through."""


@dataclass(frozen=True, slots=True)
class ProgressNote:
    """How far a handler is."""

    done: int
    total: int
    message: str


class ProgressReport:
    """Sends the latest progress, at most one per interval, and always the last."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._latest: ProgressNote | None = None
        self._sending: asyncio.Task[None] | None = None

    def note(self, note: ProgressNote) -> None:
        """Replaces what is not sent yet. Only on the loop."""
        self._latest = note
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def finish(self) -> None:
        """Sends what is left."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        await self._send_latest()

    async def _send(self) -> None:
        while self._latest is not None:
            await self._send_latest()
            await asyncio.sleep(PROGRESS_INTERVAL_SECONDS)

    async def _send_latest(self) -> None:
        note = self._latest
        if note is not None:
            progress = job_pb2.Progress(done=note.done, total=note.total, message=note.message)
            await self._attempt.emit(event_pb2.Output(progress=progress))
            if self._latest is note:
                self._latest = None


class HandlerContext:
    """For async functions. A cancel arrives as `asyncio.CancelledError`."""

    def __init__(self, attempt: Attempt, progress: ProgressReport) -> None:
        lease = attempt.assignment.lease
        self.job_id = lease.job_id
        self.attempt_number = lease.attempt
        """1 for the first attempt of the job."""
        self.namespace = attempt.assignment.namespace
        self._attempt = attempt
        self._progress = progress

    @property
    def cancelled(self) -> bool:
        """Whether the job is to end."""
        return self._attempt.stop_requested() is not None

    def progress(self, done: int, total: int = 0, message: str = "") -> None:
        """Says how far the job is. Never waits; of a quick succession the latest counts."""
        self._progress.note(progress_note(done, total, message))

    async def write(self, data: bytes | str) -> None:
        """Adds to the job's output. Waits while more is produced than can be delivered."""
        for output in chunks(data):
            await self._attempt.emit(output)


class BlockingHandlerContext:
    """For functions in threads. A cancel is a flag that the function has to look at."""

    def __init__(self, attempt: Attempt, progress: ProgressReport, loop: asyncio.AbstractEventLoop) -> None:
        lease = attempt.assignment.lease
        self.job_id = lease.job_id
        self.attempt_number = lease.attempt
        """1 for the first attempt of the job."""
        self.namespace = attempt.assignment.namespace
        self._attempt = attempt
        self._progress = progress
        self._loop = loop
        self._cancelled = threading.Event()
        self._latest: ProgressNote | None = None
        self._lock = threading.Lock()

    @property
    def cancelled(self) -> bool:
        """Whether the job is to end."""
        return self._cancelled.is_set()

    def raise_if_cancelled(self) -> None:
        """Raises HandlerCancelled when the job is to end."""
        if self._cancelled.is_set():
            raise HandlerCancelled("the job is to end")

    def wait_cancelled(self, timeout_seconds: float) -> bool:
        """Sleeps, but no longer than until the job is to end; returns whether it is."""
        return self._cancelled.wait(timeout_seconds)

    def progress(self, done: int, total: int = 0, message: str = "") -> None:
        """Says how far the job is. Never waits; of a quick succession the latest counts."""
        note = progress_note(done, total, message)
        with self._lock:
            told = self._latest is not None
            self._latest = note
        if not told:
            self._loop.call_soon_threadsafe(self._tell)

    def write(self, data: bytes | str) -> None:
        """Adds to the job's output. Waits while more is produced than can be delivered."""
        for output in chunks(data):
            asyncio.run_coroutine_threadsafe(self._attempt.emit(output), self._loop).result()

    def cancel(self, request: StopRequest) -> None:
        """The worker's part: the job is to end."""
        self._cancelled.set()

    def _tell(self) -> None:
        with self._lock:
            note, self._latest = self._latest, None
        if note is not None:
            self._progress.note(note)


def progress_note(done: int, total: int, message: str) -> ProgressNote:
    """A note within its limits. Raises ValueError for negative units."""
    if done < 0 or total < 0:
        raise ValueError("units of progress are not negative")
    return ProgressNote(done, total, message[:PROGRESS_MESSAGE_CHARACTERS_MAX])


def chunks(data: bytes | str) -> list[event_pb2.Output]:
    """Outputs that hold the bytes, in order."""
    raw = data.encode() if isinstance(data, str) else bytes(data)
    return [
        event_pb2.Output(
            chunk=event_pb2.Chunk(stream=event_pb2.OUTPUT_STREAM_STDOUT, data=raw[start : start + CHUNK_BYTES_MAX])
        )
        for start in range(0, len(raw), CHUNK_BYTES_MAX)
    ]
