"""What the CLI says in one turn: folded as it is read, and kept in a lane until an attempt delivers it.

A turn that the CLI began by itself is heard before there is an attempt for it; then the lane is all that keeps it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from headrace_worker.executors.claude.asking import Asking
from headrace_worker.executors.claude.lane import Lane, LaneFull
from headrace_worker.executors.claude.turn import Phase, Turn
from headrace_worker.executors.claude.wire import Frame
from headrace_worker.executors.limits import LANE_DISK_BYTES_MAX, LANE_SHED_BYTES

KEEP_ALIVE = "keep_alive"
LIFECYCLE = "command_lifecycle"
WORDS = frozenset({"stream_event", "assistant"})
"""What the model says. Without deltas whole messages come only, so its first word is the end of the first of them."""
UNDELIVERED = frozenset({"control_response", KEEP_ALIVE, LIFECYCLE})
"""Answers to what we have said, and signs of life: not part of the conversation."""


class Hearing:
    """One turn of a process, or, of a process that has one prompt only, all of them."""

    def __init__(self, before: Turn | None, spool_folder: Path, disk_bytes_max: int = LANE_DISK_BYTES_MAX) -> None:
        """`before`: the turn before in the same process."""
        self.turn = before.next() if before is not None else Turn()
        self.delivered = before.next() if before is not None else Turn()
        """The same turn, in the order of delivery."""
        self.asking = Asking(self._asking_changed)
        """What the CLI asks of a person."""
        self.lane = Lane(spool_folder, disk_bytes_max=disk_bytes_max)
        self._said_at: float | None = None
        """When the CLI was given the message."""
        self.heard_at = 0.0
        """When the last sign of life came."""
        self.overflow = ""
        """Why the worker can't go on with the CLI: more is to be kept of what is said than it has room for."""
        self.overflow_sign = "spool"
        self.auth_failed = False
        self.on_news: Callable[[Frame | None], None] = lambda frame: None
        """Called with each frame once it is folded, and with None for other news."""
        self.waits = False
        """Whether its message is held back until another turn is over."""
        self._over = asyncio.Event()
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the CLI has said a result, and no turn runs."""
        return self.turn.results > 0 and not self.turn.running

    @property
    def phase(self) -> Phase:
        """What the CLI is doing, as far as its silence is judged: while others are waited for, it may be silent."""
        return Phase.WAITING_PERSON if self.asking.is_open or self.waits else self.turn.phase

    async def wait_over(self) -> None:
        """Waits until the CLI has said a result, or nothing more will be heard."""
        await self._over.wait()

    def said(self) -> None:
        """The CLI has been given the message."""
        self.turn.said()
        if self._said_at is None:
            self._said_at = asyncio.get_running_loop().time()

    def hear(self, frame: Frame) -> None:
        """Takes in a frame."""
        self.turn.observe(frame)
        if frame.type != KEEP_ALIVE:
            self.heard_at = asyncio.get_running_loop().time()
        if frame.type in WORDS and self._said_at is not None and self.turn.first_token_seconds is None:
            self.turn.first_token_seconds = self.delivered.first_token_seconds = self.heard_at - self._said_at
        self.auth_failed = self.auth_failed or self.turn.auth_failed()
        self._keep(frame)
        if self.ended:
            self._over.set()
        self.on_news(frame)

    def _asking_changed(self) -> None:
        self.on_news(None)

    def absorb(self) -> None:
        """The CLI goes on in another turn, which tells the rest."""
        self.turn.absorbed()
        self.finish()
        self.on_news(None)

    def fail(self, fault: str, sign: str = "spool") -> None:
        """What was kept can't be delivered, or what is to be said has no room."""
        if not self.overflow:
            self.overflow, self.overflow_sign = fault, sign
        self.on_news(None)

    def finish(self) -> None:
        """No more will be heard."""
        self.lane.finish()
        self._over.set()

    def close(self) -> None:
        """Gives back the disk, and what nobody has delivered is dropped."""
        self._closed = True
        self.lane.finish()
        self.lane.close()

    def _keep(self, frame: Frame) -> None:
        if frame.type in UNDELIVERED or self.overflow or self._closed:
            return
        if frame.type == "stream_event" and self.lane.waiting_bytes + len(frame.line.data) > LANE_SHED_BYTES:
            self.lane.dropped += 1
            return
        try:
            self.lane.put(frame)
        except LaneFull as full:
            self.overflow = str(full)
