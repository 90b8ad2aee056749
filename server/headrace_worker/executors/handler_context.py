"""What a handler may use while it runs: facts about its job, progress, checkpoints, output, and the wish that it ends.

Async functions get a `HandlerContext`, functions in threads a `BlockingHandlerContext`: the same words, fit for each.
"""

import asyncio
import math
import threading
from typing import Any, TypedDict, Unpack

from headrace.v1 import event_pb2, job_pb2, outcome_pb2
from headrace_worker.executors.contract import HandlerAttempt, StopRequest
from headrace_worker.executors.handler_endings import MICROS, HandlerCancelled
from headrace_worker.executors.handler_facts import JobFacts
from headrace_worker.executors.handler_reports import Reports
from headrace_worker.executors.limits import CHUNK_BYTES_MAX
from headrace_worker.executors.values import sendable, to_value
from headrace_worker.limits import CHECKPOINT_BYTES_MAX, PROGRESS_MESSAGE_CHARACTERS_MAX

UNITS_MAX = 2**63 - 1
"""What the contract's numbers hold."""


class UsageCounts(TypedDict, total=False):
    """What a handler may say that it used; see `Usage` in `outcome.proto`."""

    turns: int
    input_tokens: int
    output_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    tool_calls: int


class ReportingContext(JobFacts):
    """What both kinds of handler say in the same way. None of it waits; of a quick succession the latest counts."""

    def __init__(self, attempt: HandlerAttempt, reports: Reports) -> None:
        super().__init__(attempt.assignment)
        self._attempt = attempt
        self._reports = reports

    def progress(self, done: int, total: int = 0, message: str = "") -> None:
        """Says how far the job is, in units of your own; a `total` of zero is not known.

        Raises ValueError for units that are no whole numbers, and for negative ones.
        """
        for units in (done, total):
            if not _is_whole(units):
                raise ValueError(f"units of progress are whole numbers from 0 to 2**63 - 1, not {units!r}")
        line = sendable(message)[:PROGRESS_MESSAGE_CHARACTERS_MAX]
        self._reports.note_progress(job_pb2.Progress(done=done, total=total, message=line))

    def checkpoint(self, value: Any) -> None:
        """Says what the next attempt can go on from, should there be one: it finds it as `last_checkpoint`.

        Any JSON value, copied at once. It may reach the server half a second later; the last one always does before the
        attempt ends. `flush` waits for it. Raises ValueError when it is not JSON, or larger than 256 KiB.
        """
        made = to_value(value, "checkpoint")
        size = made.ByteSize()
        if size > CHECKPOINT_BYTES_MAX:
            raise ValueError(f"a checkpoint of {size} bytes is larger than {CHECKPOINT_BYTES_MAX}")
        self._reports.note_checkpoint(made)

    def add_usage(self, *, cost_usd: float = 0.0, **counts: Unpack[UsageCounts]) -> None:
        """Adds to what the job has used: tokens, calls, cost. From one thread at a time.

        Raises ValueError for what is negative or no number.
        """
        for name, count in {"cost_usd": cost_usd, **counts}.items():
            if not _is_amount(count):
                raise ValueError(f"{name} has to be a number that is not negative, not {count!r}")
        self._reports.note_usage(outcome_pb2.Usage(cost_usd_micros=round(cost_usd * MICROS), **counts))


class HandlerContext(ReportingContext):
    """For async functions. A cancel arrives as `asyncio.CancelledError`."""

    @property
    def cancelled(self) -> bool:
        """Whether the job is to end."""
        return self._attempt.stop_requested() is not None

    async def write(self, data: bytes | str) -> None:
        """Adds to the job's output. Waits while more is produced than can be delivered."""
        for output in chunks(data):
            await self._attempt.emit(output)

    async def flush(self) -> None:
        """Waits until the control plane has stored all output, progress and checkpoints so far.

        Raises HandlerCancelled when it will not any more.
        """
        if not await self._reports.flush():
            raise HandlerCancelled("the job is to end")


class BlockingHandlerContext(ReportingContext):
    """For functions in threads. A cancel is a flag that the function has to look at."""

    def __init__(self, attempt: HandlerAttempt, reports: Reports, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(attempt, reports)
        self._loop = loop
        self._cancelled = threading.Event()

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

    def write(self, data: bytes | str) -> None:
        """Adds to the job's output. Waits while more is produced than can be delivered."""
        for output in chunks(data):
            asyncio.run_coroutine_threadsafe(self._attempt.emit(output), self._loop).result()

    def flush(self) -> None:
        """Waits until the control plane has stored all output, progress and checkpoints so far.

        Raises HandlerCancelled when it will not any more.
        """
        if not asyncio.run_coroutine_threadsafe(self._reports.flush(), self._loop).result():
            raise HandlerCancelled("the job is to end")

    def cancel(self, request: StopRequest) -> None:
        """The worker's part: the job is to end."""
        self._cancelled.set()


def chunks(data: bytes | str) -> list[event_pb2.Output]:
    """Outputs that hold the bytes, in order."""
    raw = data.encode() if isinstance(data, str) else bytes(memoryview(data))
    return [
        event_pb2.Output(
            chunk=event_pb2.Chunk(stream=event_pb2.OUTPUT_STREAM_STDOUT, data=raw[start : start + CHUNK_BYTES_MAX])
        )
        for start in range(0, len(raw), CHUNK_BYTES_MAX)
    ]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and 0 <= value <= UNITS_MAX


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf
