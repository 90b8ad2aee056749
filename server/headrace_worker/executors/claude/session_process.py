"""The process that holds a session's conversation, and the turns that it began by itself.

It outlives the turns; which turn may use it, and when it has to end, is decided elsewhere.
"""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from headrace.v1 import session_pb2, worker_service_pb2
from headrace_worker.executors.claude.cli import Cli
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.claude.hearing import Hearing
from headrace_worker.executors.claude.watchdog import Watchdog
from headrace_worker.ladder import first_of, kill_and_close, kill_tree
from headrace_worker.workspace import PreparedWorkspace


@dataclass(frozen=True, slots=True)
class SessionProcess:
    """A running CLI that is bound to a session."""

    cli: Cli
    key: tuple[object, ...]
    """What it was started with; see `Launch`."""
    claude_session_id: str
    workspace: PreparedWorkspace
    start_nanos: int
    has_budget: bool
    """Whether the CLI holds what it spends in all against a limit, which is meant for one turn."""

    @property
    def alive(self) -> bool:
        """Whether the CLI runs."""
        return self.cli.tree.exit_status is None

    @property
    def recyclable(self) -> bool:
        """Whether no turn runs in it, and it holds more memory than one that is kept may."""
        memory = self.cli.tree.memory
        over_soft = bool(memory.limits.soft_bytes) and memory.last_bytes > memory.limits.soft_bytes
        return over_soft and self.cli.running is None

    def message(self, *, busy: bool) -> session_pb2.SessionProcess:
        """What the control plane is told of it."""
        tree = self.cli.tree
        said = session_pb2.SessionProcess(
            process_id=tree.process_id,
            memory_bytes=tree.memory.last_bytes,
            folder=str(self.workspace.folder),
            busy=busy,
        )
        said.start_time.seconds, said.start_time.nanos = divmod(self.start_nanos, 1_000_000_000)
        return said

    async def end(self, seconds: ConversationSeconds, *, politely: bool) -> None:
        """Ends it, and returns when nothing of its tree is left."""
        tree = self.cli.tree
        try:
            if politely and self.alive:
                self.cli.close_input()
                await first_of(tree.wait_gone(), timeout_seconds=seconds.close)
                if not tree.gone:
                    tree.signal_tree(signal.SIGTERM)
                    await first_of(tree.wait_gone(), timeout_seconds=seconds.terminate)
            await kill_tree(tree)
        finally:
            await kill_and_close(tree)
            await self.cli.close()


@dataclass(slots=True)
class OwnTurn:
    """A turn that the CLI began by itself, kept until its job comes for it."""

    message: worker_service_pb2.BackgroundTurn
    process: SessionProcess
    hearing: Hearing
    acknowledged: bool = False
    watchdog: Watchdog | None = None

    def watch(self, seconds: ConversationSeconds, on_stall: Callable[[], None]) -> None:
        """Until an attempt does so itself."""
        self.watchdog = Watchdog(
            self.hearing, self.process.cli.tree, lambda phase: seconds.silence(phase, with_deltas=True), on_stall
        )
        watchdog = self.watchdog
        self.hearing.on_news = lambda frame: watchdog.disarm() if self.hearing.ended else watchdog.look()
        watchdog.arm()

    def hand_over(self) -> None:
        """An attempt takes it."""
        if self.watchdog is not None:
            self.watchdog.disarm()

    def drop(self) -> None:
        """Nobody will want it."""
        self.hand_over()
        self.hearing.on_news = lambda frame: None
        self.hearing.close()


@dataclass(slots=True)
class Session:
    """A session as its worker holds it, with a process or without."""

    id: str
    folder: Path
    binding_epoch: int
    idle_seconds: float
    process: SessionProcess | None = None
    workspace: PreparedWorkspace | None = None
    """Of its latest process."""
    turn_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the attempt that says the next message, and while what is kept of it is removed."""
    removals: int = 0
    """How many wait for the time at which what is kept of it may be removed."""
    turns: int = 0
    """Turns that are held here, whether they run or wait."""
    busy: bool = False
    closing: bool = False
    """Whether the control plane wants its process gone."""
    used_at: float = 0.0
    """When its process was last at work, by the loop's clock."""
    own_turns: dict[int, OwnTurn] = field(default_factory=dict)
    own_turns_count: int = 0
    """Of the binding, so far."""
    ending: dict[asyncio.Task[None], SessionProcess] = field(default_factory=dict)
    """Processes that are being ended, by who ends them."""
    watching: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether its process could be ended without a loss."""
        return not self.busy and self.process is not None and self.process.cli.running is None
