"""One conversation with a running CLI: what is said and heard, when it has been silent too long, and how it ends.

Two lanes: control frames are handled the moment they are read, everything else goes through the delivery's lane. What
became of the task is judged elsewhere, from what this hands back.
"""

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from headrace.v1 import event_pb2
from headrace_worker.executors.claude.control import CONTROL_TYPES, Control, ControlRefused, InputLane, user_message
from headrace_worker.executors.claude.delivery import Delivery
from headrace_worker.executors.claude.failure import Evidence, is_success
from headrace_worker.executors.claude.framer import Framer, Line
from headrace_worker.executors.claude.lane import Lane, LaneFull
from headrace_worker.executors.claude.turn import Phase, Turn
from headrace_worker.executors.claude.wire import Frame, parse
from headrace_worker.executors.contract import Attempt
from headrace_worker.executors.limits import (
    DRAIN_SECONDS,
    LANE_SHED_BYTES,
    STDERR_TAIL_BYTES_MAX,
    STDIN_WRITE_SECONDS,
    TERMINATE_SECONDS,
)
from headrace_worker.executors.memory import note_soft_limit, size
from headrace_worker.ladder import end_tree, first_of, kill_tree, killed, report_step
from headrace_worker.limits import (
    STALL_AFTER_TOOL_SECONDS,
    STALL_BACKGROUND_SECONDS,
    STALL_COMPACTING_SECONDS,
    STALL_FIRST_TOKEN_SECONDS,
    STALL_START_SECONDS,
    STALL_STREAMING_SECONDS,
    STALL_TOOL_SECONDS,
)
from headrace_worker.process import ProcessTree

KEEP_ALIVE = "keep_alive"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConversationSeconds:
    """How long the CLI may be silent in each phase, and how long each rung of its end may take."""

    start: float = STALL_START_SECONDS
    first_token: float = STALL_FIRST_TOKEN_SECONDS
    streaming: float = STALL_STREAMING_SECONDS
    tool: float = STALL_TOOL_SECONDS
    after_tool: float = STALL_AFTER_TOOL_SECONDS
    compacting: float = STALL_COMPACTING_SECONDS
    background: float = STALL_BACKGROUND_SECONDS
    closing: float = 15.0
    without_deltas: float = 900.0
    """At least this for the phases in which only partial-message frames would show that the model works."""
    settle: float = 0.5
    """After a background task's end, until no turn of its own is expected any more."""
    receipt: float = 5.0
    """From an interrupt to its receipt."""
    interrupt: float = 10.0
    """From an interrupt to the turn's result."""
    close: float = 5.0
    """From closing the input to SIGTERM, when nobody set another grace."""
    terminate: float = TERMINATE_SECONDS
    drain: float = DRAIN_SECONDS

    def silence(self, phase: Phase, *, with_deltas: bool) -> float:
        """How long nothing may be heard."""
        seconds: float = getattr(self, phase.value)
        if with_deltas or phase not in (Phase.FIRST_TOKEN, Phase.STREAMING, Phase.AFTER_TOOL):
            return seconds
        return max(seconds, self.without_deltas)


class Reason(Enum):
    """Why a conversation comes to its end."""

    EXITED = auto()
    STOPPED = auto()
    FLOODED = auto()
    OUTGROWN = auto()
    REFUSED = auto()
    AUTH = auto()
    STALLED = auto()
    ANSWERED = auto()


@dataclass(frozen=True, slots=True)
class Ended:
    """What is known of a conversation that is over, its tree gone and its output delivered."""

    evidence: Evidence
    turn: Turn
    reason: Reason
    words: str
    """Why, when the CLI refused to start or its output could not be kept."""


class Conversation:
    """Runs once."""

    def __init__(
        self,
        attempt: Attempt,
        tree: ProcessTree,
        seconds: ConversationSeconds,
        spool_folder: Path,
        *,
        simulated: bool,
        with_deltas: bool,
    ) -> None:
        self._attempt = attempt
        self._tree = tree
        self._seconds = seconds
        self._with_deltas = with_deltas
        self._turn = Turn()
        self._framer = Framer()
        self._lane = Lane(spool_folder)
        self._delivery = Delivery(attempt, self._lane, simulated=simulated, with_deltas=with_deltas)
        self._input = InputLane(tree.stdin, STDIN_WRITE_SECONDS)
        self._control = Control(self._input)
        self._stderr_tail = b""
        self._news = asyncio.Event()
        self._heard_at = 0.0
        self._watchdog: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._settled = False
        self._closed = False
        self._stalled: Phase | None = None
        self._silence = ""
        self._results_before = 0
        """Results that were there when the watchdog spoke."""
        self._auth_failed = False
        self._overflow = ""
        self._refusal = ""

    async def run(self, prompt: str) -> Ended:
        """Says the prompt, hears the CLI out, and ends its tree."""
        try:
            async with asyncio.TaskGroup() as tasks:
                outputs = [
                    tasks.create_task(self._read()),
                    tasks.create_task(self._read_stderr()),
                    tasks.create_task(self._deliver()),
                ]
                others = [
                    tasks.create_task(self._input.run()),
                    tasks.create_task(self._open(prompt)),
                    tasks.create_task(self._watch(self._tree.wait_exit())),
                    tasks.create_task(self._watch(self._attempt.wait_stop())),
                    tasks.create_task(self._watch(self._tree.memory.wait_over_hard())),
                    tasks.create_task(note_soft_limit(self._attempt, self._tree.memory)),
                ]
                self._arm()
                reason = await self._converse()
                for task in others:
                    task.cancel()
                await first_of(asyncio.wait(outputs), self._attempt.wait_kill())
                for task in outputs:
                    task.cancel()
        finally:
            self._disarm()
            self._lane.close()
        if self._overflow and reason is not Reason.STOPPED:
            reason = Reason.FLOODED
        return Ended(await self._evidence(), self._turn, reason, self._overflow or self._refusal)

    async def _converse(self) -> Reason:
        reason = await self._next_reason()
        if reason is Reason.ANSWERED:
            self._close_input()
            reason = await self._next_reason()
        self._disarm()
        if reason is Reason.OUTGROWN:
            await kill_tree(self._tree)
        elif reason is Reason.EXITED:
            await first_of(self._tree.wait_gone(), self._attempt.wait_stop(), timeout_seconds=self._seconds.drain)
        elif not killed(self._attempt) and self._stalled is not Phase.CLOSING:
            await self._ask_to_end(reason)
        if not self._tree.gone or reason is Reason.STOPPED:
            await end_tree(self._tree, self._attempt, self._seconds.terminate)
        return reason

    async def _next_reason(self) -> Reason:
        while (reason := self._reason()) is None:
            self._news.clear()
            await self._news.wait()
        return reason

    def _reason(self) -> Reason | None:
        reasons = (
            (self._tree.exit_status is not None, Reason.EXITED),
            (self._attempt.stop_requested() is not None, Reason.STOPPED),
            (self._tree.memory.over_hard, Reason.OUTGROWN),
            (bool(self._overflow), Reason.FLOODED),
            (bool(self._refusal), Reason.REFUSED),
            (self._auth_failed, Reason.AUTH),
            (self._stalled is not None, Reason.STALLED),
            (self._answered() and not self._closed, Reason.ANSWERED),
        )
        return next((reason for holds, reason in reasons if holds), None)

    def _answered(self) -> bool:
        turn = self._turn
        if not turn.results or turn.running or turn.background:
            return False
        return self._settled or not turn.had_background

    async def _ask_to_end(self, reason: Reason) -> None:
        """The polite rungs: interrupt, then the end of the input."""
        loop = asyncio.get_running_loop()
        stop = self._attempt.stop_requested()
        grace = stop.grace_seconds if stop is not None else self._seconds.interrupt + self._seconds.close
        until = loop.time() + grace
        if self._turn.running:
            report_step(self._attempt, event_pb2.CANCEL_STEP_INTERRUPT)
            await self._interrupt(min(self._seconds.interrupt, grace / 2))
        if self._tree.exit_status is None and not killed(self._attempt):
            report_step(self._attempt, event_pb2.CANCEL_STEP_CLOSE_INPUT)
            self._close_input()
            rest = until - loop.time() if stop is not None else min(self._seconds.close, until - loop.time())
            await self._first_of_ends(self._tree.wait_gone(), rest)
        if self._tree.exit_status is not None:
            await first_of(self._tree.wait_gone(), self._attempt.wait_kill(), timeout_seconds=self._seconds.drain)

    async def _interrupt(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        results = self._turn.results
        receipt = asyncio.create_task(self._receipt())
        await self._first_of_ends(asyncio.wait([receipt]), min(seconds, self._seconds.receipt))
        if receipt.done():
            rest = until - asyncio.get_running_loop().time()
            await self._first_of_ends(self._next_result(results), rest)
        receipt.cancel()

    async def _first_of_ends(self, wait: Coroutine[Any, Any, object], seconds: float) -> None:
        await first_of(wait, self._tree.wait_exit(), self._attempt.wait_kill(), timeout_seconds=max(0.0, seconds))

    async def _receipt(self) -> None:
        try:
            await self._control.request("interrupt")
        except ControlRefused as refused:
            logger.info("the CLI refused an interrupt", extra={"fault": str(refused)})

    async def _next_result(self, results: int) -> None:
        while self._turn.results == results:
            self._news.clear()
            await self._news.wait()

    def _close_input(self) -> None:
        if not self._closed:
            self._closed = True
            self._input.close()
            self._turn.closed()
            self._arm()

    async def _open(self, prompt: str) -> None:
        try:
            await self._control.request("initialize", hooks=None)
        except ControlRefused as refused:
            self._refusal = str(refused) or "the CLI refused to start"
            self._news.set()
            return
        self._turn.said()
        self._input.say(user_message(prompt))
        self._arm()

    async def _watch(self, wait: Coroutine[Any, Any, object]) -> None:
        await wait
        self._news.set()

    async def _read(self) -> None:
        while data := await self._tree.stdout.read():
            self._hear_all(self._framer.feed(data))
        self._hear_all(self._framer.finish())
        self._lane.finish()

    async def _read_stderr(self) -> None:
        while data := await self._tree.stderr.read():
            self._stderr_tail = (self._stderr_tail + data)[-STDERR_TAIL_BYTES_MAX:]

    def _hear_all(self, lines: list[Line]) -> None:
        for line in lines:
            self._hear(line)

    def _hear(self, line: Line) -> None:
        if not line.data.strip():
            return
        frame = parse(line)
        if frame.type in CONTROL_TYPES:
            self._control.hear(frame)
        phase = self._turn.phase
        self._turn.observe(frame)
        if frame.type != KEEP_ALIVE:
            self._heard_at = asyncio.get_running_loop().time()
        if self._turn.phase is not phase:
            self._arm()
        if self._turn.auth_failed():
            self._auth_failed = True
            self._news.set()
        if frame.type == "result" or self._turn.had_background:
            self._settle()
        self._forward(frame)

    def _forward(self, frame: Frame) -> None:
        if frame.type in ("control_response", KEEP_ALIVE) or self._overflow:
            return
        if frame.type == "stream_event" and self._lane.waiting_bytes + len(frame.line.data) > LANE_SHED_BYTES:
            self._delivery.drop_delta()
            return
        try:
            self._lane.put(frame)
        except LaneFull as full:
            self._overflow = str(full)
            self._news.set()

    async def _deliver(self) -> None:
        await self._delivery.run()
        if self._lane.fault:
            self._overflow = self._lane.fault
            self._news.set()

    def _settle(self) -> None:
        """Looks again whether the CLI has answered; after background tasks, only when it has been quiet a while."""
        self._news.set()
        self._settled = False
        if self._settling is not None:
            self._settling.cancel()
        if self._turn.had_background:
            self._settling = asyncio.get_running_loop().call_later(self._seconds.settle, self._set_settled)

    def _set_settled(self) -> None:
        self._settled = True
        self._news.set()

    def _arm(self) -> None:
        """Sets the watchdog for the phase that begins."""
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        self._set_watchdog(self._seconds.silence(self._turn.phase, with_deltas=self._with_deltas))

    def _set_watchdog(self, seconds: float) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        idle = asyncio.get_running_loop().time() - self._heard_at
        rest = self._seconds.silence(self._turn.phase, with_deltas=self._with_deltas) - idle
        if rest > 0:
            self._set_watchdog(rest)
        else:
            self._stalled = self._turn.phase
            self._silence = self._describe_silence(idle)
            self._results_before = self._turn.results
            self._news.set()

    def _describe_silence(self, seconds: float) -> str:
        """What is known of a CLI that says nothing, for whoever has to find out why."""
        turn = self._turn
        tools = f"; tools that run: {', '.join(turn.open_tools)}" if turn.open_tools else ""
        last = f"the last frame was {turn.last_frame}" if turn.last_frame else "there was no frame"
        held = f"{len(self._tree.members)} processes held {size(self._tree.memory.last_bytes)} of memory"
        return f"nothing was heard for {seconds:.1f} s in the phase {turn.phase.value}{tools}; {last}; {held}"

    def _disarm(self) -> None:
        for handle in (self._watchdog, self._settling):
            if handle is not None:
                handle.cancel()

    async def _evidence(self) -> Evidence:
        turn = self._turn
        late = turn.results > self._results_before and is_success(turn.result)
        stalled = "" if self._stalled in (None, Phase.CLOSING) or late else self._stalled.value
        return Evidence(
            exit=await self._tree.wait_exit(),
            frames=turn.frames,
            result=turn.result,
            assistant_error=turn.assistant_error,
            rate_limit=turn.rate_limit,
            api_retry=turn.api_retry,
            stderr=self._stderr_tail.decode("utf-8", "replace"),
            stalled_phase=stalled,
            silence=self._silence,
            auth_interrupt=self._auth_failed,
            resumed_attempt=bool(self._attempt.assignment.resume_claude_session_id),
        )
