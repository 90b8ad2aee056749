"""Notices that the CLI has been silent for too long in the phase that it is in."""

import asyncio
import math
from collections.abc import Callable

from headrace_worker.executors.claude.hearing import Hearing
from headrace_worker.executors.claude.turn import Phase
from headrace_worker.executors.memory import size
from headrace_worker.process import ProcessTree


class Watchdog:
    """Watches one turn. It speaks once."""

    def __init__(
        self, hearing: Hearing, tree: ProcessTree, silence: Callable[[Phase], float], on_stall: Callable[[], None]
    ) -> None:
        """`silence`: how long nothing may be heard in a phase, in seconds; infinite where that says nothing."""
        self.stalled: Phase | None = None
        """The phase in which nothing was heard."""
        self.evidence = ""
        """What was known of it then."""
        self.results_before = 0
        """Results that were there then."""
        self._hearing = hearing
        self._tree = tree
        self._silence = silence
        self._on_stall = on_stall
        self._phase = hearing.phase
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """A phase begins now."""
        self._phase = self._hearing.phase
        self._hearing.heard_at = asyncio.get_running_loop().time()
        self._set(self._silence(self._phase))

    def look(self) -> None:
        """Something was heard, which may have begun another phase."""
        if self._hearing.phase is not self._phase:
            self.arm()

    def disarm(self) -> None:
        """Nothing is watched any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, seconds: float) -> None:
        self.disarm()
        if not math.isinf(seconds):
            self._timer = asyncio.get_running_loop().call_later(seconds, self._time)

    def _time(self) -> None:
        idle = asyncio.get_running_loop().time() - self._hearing.heard_at
        rest = self._silence(self._hearing.phase) - idle
        if rest > 0:
            self._set(rest)
            return
        self.stalled = self._hearing.phase
        self.evidence = self._describe(idle)
        self.results_before = self._hearing.turn.results
        self._on_stall()

    def _describe(self, seconds: float) -> str:
        """What is known of a CLI that says nothing, for whoever has to find out why."""
        turn = self._hearing.turn
        tools = f"; tools that run: {', '.join(turn.open_tools)}" if turn.open_tools else ""
        last = f"the last frame was {turn.last_frame}" if turn.last_frame else "there was no frame"
        held = f"{len(self._tree.members)} processes held {size(self._tree.memory.last_bytes)} of memory"
        return f"nothing was heard for {seconds:.1f} s in the phase {self._hearing.phase.value}{tools}; {last}; {held}"
