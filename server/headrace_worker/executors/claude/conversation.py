"""One attempt's turn with a running CLI: what is said, when it has been silent too long, and how it ends.

A job of its own ends the process with its turn; the turn of a session leaves it for the next one, if it can. What
became of the task is judged elsewhere, from what this hands back.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any
from uuid import uuid4

from headrace.v1 import event_pb2
from headrace_worker.executors.claude.cli import Cli
from headrace_worker.executors.claude.control import ControlRefused
from headrace_worker.executors.claude.delivery import Delivery
from headrace_worker.executors.claude.failure import Evidence, is_aborted, is_success
from headrace_worker.executors.claude.hearing import Hearing
from headrace_worker.executors.claude.settings import obey_settings
from headrace_worker.executors.claude.turn import Phase, Turn
from headrace_worker.executors.claude.watchdog import Watchdog
from headrace_worker.executors.claude.wire import Frame
from headrace_worker.executors.contract import Attempt
from headrace_worker.executors.limits import DRAIN_SECONDS, TERMINATE_SECONDS
from headrace_worker.executors.memory import note_soft_limit
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
from headrace_worker.process import ExitStatus

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
    waiting_person: float = math.inf
    """The control plane has a deadline of its own for whoever is asked."""
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
    """What is known of a turn that is over and its output delivered; its tree is gone, unless `kept`."""

    evidence: Evidence
    turn: Turn
    reason: Reason
    words: str
    """Why, when the CLI refused to start or more would have had to be kept than there is room for."""
    kept: bool = False
    """Whether the process goes on, ready for the next turn."""
    sign: str = "spool"


@dataclass(frozen=True, slots=True)
class Manner:
    """How a turn is had."""

    simulated: bool
    with_deltas: bool
    stays: bool = False
    """Whether the process is to go on after the turn."""
    resumed: bool = False
    """Whether it is to go on where an earlier attempt stopped."""
    repair: Callable[[Turn], str] = lambda turn: ""
    """What to say to a CLI whose answer is not what it has to be, once; empty when nothing is to be said."""


class Conversation:
    """Runs once."""

    def __init__(
        self, attempt: Attempt, cli: Cli, hearing: Hearing, seconds: ConversationSeconds, manner: Manner
    ) -> None:
        self._attempt = attempt
        self._cli = cli
        self._tree = cli.tree
        self._hearing = hearing
        self._turn = hearing.turn
        self._seconds = seconds
        self._manner = manner
        self._delivery = Delivery(
            attempt,
            hearing.lane,
            hearing.delivered,
            simulated=manner.simulated,
            with_deltas=manner.with_deltas,
            on_request=hearing.asking.delivered,
        )
        self._watchdog = Watchdog(
            hearing, cli.tree, lambda phase: seconds.silence(phase, with_deltas=manner.with_deltas), self._wake
        )
        self._news = asyncio.Event()
        self._settling: asyncio.TimerHandle | None = None
        self._settled = False
        self._repaired = False
        self._refusal = ""

    async def run(self, opening: Callable[[], Awaitable[None]]) -> Ended:
        """Says what `opening` says, hears the CLI out, and ends its tree, unless it stays."""
        self._hearing.on_news = self._hear
        try:
            async with asyncio.TaskGroup() as tasks:
                delivering = tasks.create_task(self._deliver())
                others = [
                    tasks.create_task(self._open(opening)),
                    tasks.create_task(self._watch(self._tree.wait_exit())),
                    tasks.create_task(self._watch(self._attempt.wait_stop())),
                    tasks.create_task(self._watch(self._tree.memory.wait_over_hard())),
                    tasks.create_task(note_soft_limit(self._attempt, self._tree.memory)),
                    tasks.create_task(obey_settings(self._attempt, self._cli)),
                    tasks.create_task(self._hearing.asking.run(self._attempt)),
                ]
                self._watchdog.arm()
                reason = await self._converse()
                for task in others:
                    task.cancel()
                kept = self._is_kept(reason)
                if kept:
                    self._hearing.finish()
                await first_of(self._heard_out(delivering, kept), self._attempt.wait_kill())
                delivering.cancel()
        finally:
            self._disarm()
            self._hearing.on_news = lambda frame: None
            self._hearing.close()
            self._cli.leave(self._hearing)
        if self._hearing.overflow and reason is not Reason.STOPPED:
            reason = Reason.FLOODED
        words, sign = self._hearing.overflow or self._refusal, self._hearing.overflow_sign
        return Ended(await self._evidence(kept), self._turn, reason, words, kept and not self._hearing.overflow, sign)

    async def _heard_out(self, delivering: asyncio.Task[None], kept: bool) -> None:
        if not kept:
            await self._cli.wait_output()
            self._hearing.finish()
        await asyncio.wait([delivering])

    async def _converse(self) -> Reason:
        reason = await self._next_reason()
        while reason is Reason.ANSWERED and self._say_repair():
            reason = await self._next_reason()
        if reason is Reason.ANSWERED and not self._manner.stays:
            self._close_input()
            reason = await self._next_reason()
        if reason is Reason.STOPPED and self._manner.stays and not killed(self._attempt):
            await self._interrupt_turn()
        if not self._is_kept(reason):
            await self._end(reason)
        return reason

    def _is_kept(self, reason: Reason) -> bool:
        if not self._manner.stays or killed(self._attempt) or self._tree.exit_status is not None:
            return False
        is_quiet = not self._turn.running and self._turn.phase is not Phase.START
        # A turn that was cut off, but not by us: the CLI was told to end by somebody else.
        by_us = reason is not Reason.ANSWERED or bool(self._hearing.asking.ended_turn)
        is_leaving = is_aborted(self._turn.result) and not by_us
        return is_quiet and not is_leaving and reason in (Reason.ANSWERED, Reason.STOPPED)

    async def _end(self, reason: Reason) -> None:
        self._disarm()
        if reason is Reason.OUTGROWN:
            await kill_tree(self._tree)
        elif reason is Reason.EXITED:
            await first_of(self._tree.wait_gone(), self._attempt.wait_stop(), timeout_seconds=self._seconds.drain)
        elif not killed(self._attempt) and self._watchdog.stalled is not Phase.CLOSING:
            await self._ask_to_end()
        if not self._tree.gone or reason is Reason.STOPPED:
            await end_tree(self._tree, self._attempt, self._seconds.terminate)

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
            (bool(self._hearing.overflow), Reason.FLOODED),
            (bool(self._refusal), Reason.REFUSED),
            (self._hearing.auth_failed, Reason.AUTH),
            (self._watchdog.stalled is not None, Reason.STALLED),
            (self._answered() and not self._cli.input_closed, Reason.ANSWERED),
        )
        return next((reason for holds, reason in reasons if holds), None)

    def _answered(self) -> bool:
        if not self._hearing.ended:
            return False
        return self._manner.stays or (not self._turn.background and (self._settled or not self._turn.had_background))

    def _say_repair(self) -> bool:
        """Says once what is wrong with the answer; False when there is nothing to say."""
        words = "" if self._repaired else self._manner.repair(self._turn)
        self._repaired = True
        if words:
            self._cli.say(self._hearing, words, str(uuid4()) if self._manner.stays else "")
            self._watchdog.arm()
        return bool(words)

    async def _interrupt_turn(self) -> None:
        """The first rung for a turn whose process is to stay; the ladder goes on when it does not obey."""
        stop = self._attempt.stop_requested()
        assert stop is not None
        if self._turn.running:
            report_step(self._attempt, event_pb2.CANCEL_STEP_INTERRUPT)
            await self._interrupt(min(self._seconds.interrupt, stop.grace_seconds / 2))

    async def _ask_to_end(self) -> None:
        """The polite rungs: interrupt, then the end of the input."""
        loop = asyncio.get_running_loop()
        stop = self._attempt.stop_requested()
        grace = stop.grace_seconds if stop is not None else self._seconds.interrupt + self._seconds.close
        until = loop.time() + grace
        if self._turn.running and not (stop is not None and self._manner.stays):
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
            await self._cli.control.request("interrupt")
        except ControlRefused as refused:
            logger.info("the CLI refused an interrupt", extra={"fault": str(refused)})

    async def _next_result(self, results: int) -> None:
        while self._turn.results == results:
            self._news.clear()
            await self._news.wait()

    def _close_input(self) -> None:
        if not self._cli.input_closed:
            self._cli.close_input()
            self._turn.closed()
            self._watchdog.arm()

    async def _open(self, opening: Callable[[], Awaitable[None]]) -> None:
        try:
            await opening()
        except ControlRefused as refused:
            self._refusal = str(refused) or "the CLI refused to start"
            self._wake()
            return
        self._watchdog.arm()

    async def _watch(self, wait: Coroutine[Any, Any, object]) -> None:
        await wait
        self._wake()

    def _wake(self) -> None:
        self._news.set()

    def _hear(self, frame: Frame | None) -> None:
        self._watchdog.look()
        if frame is None or self._hearing.auth_failed or self._hearing.overflow:
            self._wake()
        if frame is not None and (frame.type == "result" or self._turn.had_background):
            self._settle()

    async def _deliver(self) -> None:
        await self._delivery.run()
        if self._hearing.lane.fault:
            self._hearing.fail(self._hearing.lane.fault)

    def _settle(self) -> None:
        """Looks again whether the CLI has answered; after background tasks, only when it has been quiet a while."""
        self._wake()
        self._settled = False
        if self._settling is not None:
            self._settling.cancel()
        if self._turn.had_background and not self._manner.stays:
            self._settling = asyncio.get_running_loop().call_later(self._seconds.settle, self._set_settled)

    def _set_settled(self) -> None:
        self._settled = True
        self._wake()

    def _disarm(self) -> None:
        self._watchdog.disarm()
        if self._settling is not None:
            self._settling.cancel()

    async def _evidence(self, kept: bool) -> Evidence:
        turn, watchdog = self._turn, self._watchdog
        late = turn.results > watchdog.results_before and is_success(turn.result)
        stalled = "" if watchdog.stalled in (None, Phase.CLOSING) or late else watchdog.stalled.value
        status = ExitStatus(0) if kept else await self._tree.wait_exit()
        return replace(
            _evidence_of(turn, status, self._cli),
            stalled_phase=stalled,
            silence=watchdog.evidence,
            auth_interrupt=self._hearing.auth_failed,
            resumed_attempt=self._manner.resumed,
            ended_by_person=self._hearing.asking.ended_turn,
        )


async def deliver_ended(attempt: Attempt, cli: Cli, hearing: Hearing, manner: Manner) -> Ended:
    """Delivers a turn that was over before there was an attempt for it; its process may be at another one."""
    hearing.finish()
    delivery = Delivery(
        attempt, hearing.lane, hearing.delivered, simulated=manner.simulated, with_deltas=manner.with_deltas
    )
    try:
        await first_of(delivery.run(), attempt.wait_kill())
    finally:
        hearing.close()
    turn, words = hearing.turn, hearing.overflow or hearing.lane.fault
    reason = Reason.FLOODED if words else Reason.STOPPED if killed(attempt) else Reason.EXITED
    evidence = _evidence_of(turn, cli.tree.exit_status or ExitStatus(0), cli)
    return Ended(evidence, turn, reason, words, sign=hearing.overflow_sign)


def _evidence_of(turn: Turn, status: ExitStatus, cli: Cli) -> Evidence:
    """What the turn itself shows, and its process."""
    return Evidence(
        exit=status,
        frames=turn.frames,
        result=turn.result,
        assistant_error=turn.assistant_error,
        rate_limit=turn.rate_limit,
        api_retry=turn.api_retry,
        stderr=cli.stderr,
    )
