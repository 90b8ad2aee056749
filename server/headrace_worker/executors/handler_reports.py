"""What a handler says about itself besides output: progress, checkpoints and what it has used.

Of a quick succession the latest counts: it is sent at a bounded rate, and the last word always, before the attempt's
finish. What a word means, and when an attempt ends, is not decided here.
"""

import asyncio
from collections.abc import Callable

from google.protobuf import struct_pb2

from headrace.v1 import event_pb2, job_pb2, outcome_pb2
from headrace_worker.executors.contract import HandlerAttempt
from headrace_worker.limits import CHECKPOINT_INTERVAL_SECONDS, REPORT_INTERVAL_SECONDS

Wake = Callable[[Callable[[], None]], object]
"""Has a function called on the event loop."""


class Reports:
    """Takes words from the handler's thread or task; everything that is not a `note_…` runs on the event loop.

    A note is stored first and then wakes the loop unless that is awake; the loop says that it sleeps first and then
    looks for notes. So none is left lying.
    """

    def __init__(self, attempt: HandlerAttempt, wake: Wake) -> None:
        self.usage: outcome_pb2.Usage | None = None
        """What the handler has used, in all."""
        self._attempt = attempt
        self._wake = wake
        self._progress: job_pb2.Progress | None = None
        self._checkpoint: struct_pb2.Value | None = None
        self._usage_waits = False
        self._checkpoint_due = 0.0
        self._awake = False
        self._closed = False
        self._sending: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def note_progress(self, note: job_pb2.Progress) -> None:
        """Replaces what is not sent yet."""
        self._progress = note
        self._rouse()

    def note_checkpoint(self, value: struct_pb2.Value) -> None:
        """Replaces what is not sent yet."""
        self._checkpoint = value
        self._rouse()

    def note_usage(self, more: outcome_pb2.Usage) -> None:
        """Adds to what the handler has used."""
        total = outcome_pb2.Usage()
        if self.usage is not None:
            total.CopyFrom(self.usage)
        for field, value in more.ListFields():
            setattr(total, field.name, getattr(total, field.name) + value)
        self.usage = total
        self._usage_waits = True
        self._rouse()

    async def flush(self) -> bool:
        """Returns once the server has committed every word and all output before this call.

        False when it will not any more: the attempt is killed.
        """
        await self._send_all()
        return await self._attempt.wait_committed()

    async def finish(self) -> None:
        """Sends what is left; words that come later are dropped."""
        self._closed = True
        if self._waits or self._sending is not None:
            await self._send_all()

    @property
    def _waits(self) -> bool:
        return self._progress is not None or self._checkpoint is not None or self._usage_waits

    def _rouse(self) -> None:
        if not self._awake and not self._closed:
            self._awake = True
            self._wake(self._send)

    def _send(self) -> None:
        if not self._closed and (self._sending is None or self._sending.done()):
            everything = asyncio.get_running_loop().time() >= self._checkpoint_due
            self._sending = asyncio.create_task(self._emit(everything))

    async def _send_all(self) -> None:
        """Does not share its task with whoever waits for it: a cancelled handler loses no word."""
        while self._sending is not None and not self._sending.done():
            await asyncio.shield(self._sending)
        if self._waits:
            self._awake = True
            self._sending = asyncio.create_task(self._emit(everything=True))
            await asyncio.shield(self._sending)
        if self._closed and self._timer is not None:
            self._timer.cancel()

    async def _emit(self, everything: bool) -> None:
        """One at a time, so that words are committed in the order in which they were said."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        note, self._progress = self._progress, None
        if note is not None:
            await self._attempt.emit(event_pb2.Output(progress=note))
        if self._usage_waits:
            self._usage_waits = False
            await self._attempt.emit(event_pb2.Output(usage=self.usage))
        if everything and self._checkpoint is not None:
            value, self._checkpoint = self._checkpoint, None
            self._checkpoint_due = loop.time() + CHECKPOINT_INTERVAL_SECONDS
            await self._attempt.emit(event_pb2.Output(checkpoint=event_pb2.Checkpoint(value=value)))
        if not self._closed:
            self._timer = loop.call_later(REPORT_INTERVAL_SECONDS, self._rest)

    def _rest(self) -> None:
        self._timer = None
        self._awake = False
        if self._waits:
            self._rouse()
