"""The sessions of a worker: at most one process for each, kept warm between turns as long as that is worth its memory.

What is said in a turn never enters here. Every process that was begun here is ended here, or by the turn that it was
lent to.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from headrace.v1 import worker_pb2, worker_service_pb2
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.claude.hearing import Hearing
from headrace_worker.executors.claude.session_process import OwnTurn, Session, SessionProcess
from headrace_worker.executors.limits import OWN_TURNS_COUNT_MAX
from headrace_worker.folders import remove_folder
from headrace_worker.ladder import first_of
from headrace_worker.limits import KEPT_SESSIONS_COUNT_MAX, SESSION_ENDED_KEPT_SECONDS, SESSION_IDLE_SECONDS_DEFAULT
from headrace_worker.workspace import Workspaces

ENDED_MARK = "ended"
"""A file in the folder of a session that is over: what is there may be removed."""

logger = logging.getLogger(__name__)


class Sessions:
    """Implements `held_sessions.HeldSessions`. Every method but the waiting ones runs to its end at once."""

    def __init__(
        self,
        processes_max: int,
        workspaces: Workspaces,
        seconds: ConversationSeconds,
        folder_of: Callable[[str], Path],
    ) -> None:
        """`folder_of`: where what is kept of a session lies."""
        self.on_own_turn: Callable[[worker_service_pb2.BackgroundTurn], None] = lambda turn: None
        """Called with each turn that a CLI began by itself."""
        self._processes_max = processes_max
        self._workspaces = workspaces
        self._seconds = seconds
        self._folder_of = folder_of
        self._sessions: dict[str, Session] = {}
        self._draining = False
        self._kept_told = ""
        """The last session that was named because its conversation is kept."""
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self, turn: worker_pb2.SessionTurn) -> Session:
        """The session of a turn, until it is left; a process of an older binding is ended."""
        idle_seconds = SESSION_IDLE_SECONDS_DEFAULT
        if turn.HasField("idle_timeout"):
            idle_seconds = turn.idle_timeout.seconds + turn.idle_timeout.nanos / 1e9
        session = self._sessions.get(turn.session_id)
        if session is None:
            folder = self._folder_of(turn.session_id)
            session = Session(turn.session_id, folder, turn.binding_epoch, idle_seconds)
            self._sessions[turn.session_id] = session
        elif session.binding_epoch != turn.binding_epoch:
            self._end(session, politely=False)
            self._drop_own_turns(session)
            session.binding_epoch, session.own_turns_count = turn.binding_epoch, 0
        session.turns += 1
        session.idle_seconds, session.closing = idle_seconds, False
        (session.folder / ENDED_MARK).unlink(missing_ok=True)
        return session

    def leave(self, session: Session) -> None:
        """A turn has no more to do with the session."""
        session.turns -= 1
        self._forget_if_empty(session)

    def take(self, session: Session) -> SessionProcess | None:
        """Lends the session's process to a turn, if there is one that lives; see `give_back`."""
        if session.watching is not None:
            session.watching.cancel()
            session.watching = None
        session.busy = True
        if session.process is not None and not session.process.alive:
            self._end(session, politely=False)
        return session.process

    async def make_room(self, session: Session) -> None:
        """Before a process is started: waits until none of the session is left, and ends those that are one too many.

        The least recently used go first. None is ended that is at work.
        """
        await self.wait_ended(session)
        while self._count() >= self._processes_max and (oldest := self._oldest_idle()) is not None:
            self._end(oldest, politely=True)
            await asyncio.wait(oldest.ending)

    async def wait_ended(self, session: Session) -> None:
        """Waits until none of its processes that are being ended is left."""
        while session.ending:
            await asyncio.wait(session.ending)

    def is_busy(self, session_id: str) -> bool:
        """Whether a message of the session is being answered."""
        session = self._sessions.get(session_id)
        return session is not None and session.busy

    def began(self, session: Session, process: SessionProcess) -> None:
        """A process was started for the session, lent to the turn that started it."""
        session.process, session.workspace = process, process.workspace

    def give_back(self, session: Session) -> None:
        """The turn is over. Its process waits for the next one, unless it has to go."""
        session.busy = False
        session.used_at = asyncio.get_running_loop().time()
        process = session.process
        if process is None:
            return
        if self._has_to_go(session, process):
            self._end(session, politely=True)
        else:
            session.watching = self._spawn(self._watch(session, process))
        # There may have been more at work than may be kept.
        if self._count() > self._processes_max and (oldest := self._oldest_idle()) is not None:
            self._end(oldest, politely=True)

    def _has_to_go(self, session: Session, process: SessionProcess) -> bool:
        if not process.alive or self._draining or session.closing or not session.idle_seconds:
            return True
        return process.recyclable or (process.has_budget and not process.cli.background and process.cli.running is None)

    def discard(self, session_id: str, process: SessionProcess) -> None:
        """Ends a process at once; what its turns need of it has to be over."""
        session = self._sessions.get(session_id)
        if session is not None and session.process is process:
            self._end(session, politely=False)

    def began_own_turn(self, session: Session, hearing: Hearing) -> None:
        """The session's process has begun a turn by itself."""
        process = session.process
        if process is None:
            hearing.close()
            return
        session.own_turns_count += 1
        message = worker_service_pb2.BackgroundTurn(
            session_id=session.id, binding_epoch=session.binding_epoch, number=session.own_turns_count
        )
        own = OwnTurn(message, process, hearing)
        session.own_turns[message.number] = own
        own.watch(self._seconds, lambda: self.discard(session.id, process))
        if len(session.own_turns) > OWN_TURNS_COUNT_MAX:
            logger.warning("session %s: more turns of its own wait than may; it is ended", session.id)
            self._end(session, politely=False)
        self.on_own_turn(message)

    def own_turn(self, turn: worker_pb2.SessionTurn) -> OwnTurn | None:
        """The turn of its own that a job is to deliver; it is that job's from now on."""
        session = self._sessions.get(turn.session_id)
        if session is None or session.binding_epoch != turn.binding_epoch:
            return None
        own = session.own_turns.pop(turn.background_number, None)
        if own is not None:
            own.hand_over()
        return own

    def held(self) -> list[worker_service_pb2.HeldSession]:
        """Every session of which there is a process."""
        return [
            worker_service_pb2.HeldSession(
                session_id=session.id,
                binding_epoch=session.binding_epoch,
                process=session.process.message(busy=not session.is_idle),
            )
            for session in self._sessions.values()
            if session.process is not None
        ]

    def kept(self) -> list[str]:
        """See `HeldSessions`: in turns, by name."""
        root = self._folder_of("-").parent
        names = sorted(os.listdir(root)) if root.is_dir() else []
        idle = [name for name in names if self._is_idle_conversation(name)]
        later = [name for name in idle if name > self._kept_told]
        told = (later or idle)[:KEPT_SESSIONS_COUNT_MAX]
        self._kept_told = told[-1] if told else ""
        return told

    def unacknowledged(self) -> list[worker_service_pb2.BackgroundTurn]:
        """Turns of which the server has not said that there is a job for them."""
        return [
            own.message
            for session in self._sessions.values()
            for own in session.own_turns.values()
            if not own.acknowledged
        ]

    def acknowledge(self, ack: worker_service_pb2.BackgroundTurnAck) -> None:
        """There is a job for a turn that a CLI began by itself, or never will be."""
        session = self._sessions.get(ack.turn.session_id)
        own = session.own_turns.get(ack.turn.number) if session is not None else None
        if session is None or own is None or own.message.binding_epoch != ack.turn.binding_epoch:
            return
        own.acknowledged = True
        if not ack.job_id:
            own.drop()
            del session.own_turns[ack.turn.number]
            self._close(session)

    def end_named(self, session_ids: Iterable[str]) -> None:
        """The server wants no process of these sessions any more."""
        for session_id in session_ids:
            session = self._sessions.get(session_id)
            if session is None and (folder := self._folder_of(session_id)).is_dir():
                session = self._sessions[session_id] = Session(session_id, folder, 0, 0.0)
            if session is not None:
                self._drop_own_turns(session)
                self._close(session)
                self._remove_later(session)

    def drain(self) -> None:
        """Keeps no process beyond its turn from now on."""
        self._draining = True
        for session in list(self._sessions.values()):
            if session.is_idle:
                self._end(session, politely=True)

    def resume(self) -> None:
        """Keeps processes again."""
        self._draining = False

    def kill_idle(self) -> None:
        """The lease has ended: no process may live on. Those at work are ended by their attempts."""
        for session in list(self._sessions.values()):
            _hasten(session)
            if not session.busy:
                self._drop_own_turns(session)
                self._end(session, politely=False)

    async def end_all(self) -> None:
        """Ends every process and waits for the end of its tree."""
        self._draining = True
        for session in list(self._sessions.values()):
            _hasten(session)
            self._drop_own_turns(session)
            self._end(session, politely=False)
        while ending := [task for session in self._sessions.values() for task in session.ending]:
            await asyncio.wait(ending)

    def _count(self) -> int:
        return sum((session.process is not None) + len(session.ending) for session in self._sessions.values())

    def _is_idle_conversation(self, session_id: str) -> bool:
        session = self._sessions.get(session_id)
        return session is None or not (session.process or session.turns or session.ending or session.closing)

    def _oldest_idle(self) -> Session | None:
        """The session whose process was idle for longest."""
        idle = [session for session in self._sessions.values() if session.is_idle]
        return min(idle, key=lambda session: session.used_at, default=None)

    def _close(self, session: Session) -> None:
        session.closing = True
        if session.is_idle:
            self._end(session, politely=True)

    def _end(self, session: Session, *, politely: bool) -> None:
        process, session.process = session.process, None
        if session.watching is not None:
            session.watching.cancel()
            session.watching = None
        if process is not None:
            task = self._spawn(self._end_process(session, process, politely=politely))
            session.ending[task] = process

    async def _end_process(self, session: Session, process: SessionProcess, *, politely: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            try:
                await process.end(self._seconds, politely=politely)
            finally:
                await asyncio.to_thread(self._workspaces.remove, process.workspace, keep_folder=True)
        finally:
            session.ending.pop(task, None)
            self._forget_if_empty(session)

    async def _watch(self, session: Session, process: SessionProcess) -> None:
        """Ends an idle process when it was idle for long enough, grew too large, or has ended by itself."""
        tree, loop = process.cli.tree, asyncio.get_running_loop()
        while True:
            rest = session.used_at + session.idle_seconds - loop.time()
            await first_of(tree.wait_exit(), tree.memory.wait_over_hard(), timeout_seconds=max(0.0, rest))
            if not process.alive or tree.memory.over_hard or process.recyclable:
                break
            if process.cli.running is not None or process.cli.background:
                session.used_at = loop.time()
            elif loop.time() >= session.used_at + session.idle_seconds:
                break
        session.watching = None
        self._end(session, politely=not tree.memory.over_hard)

    def _drop_own_turns(self, session: Session) -> None:
        for own in session.own_turns.values():
            own.drop()
        session.own_turns.clear()

    def _forget_if_empty(self, session: Session) -> None:
        if session.process or session.turns or session.ending or session.own_turns or session.removals:
            return
        # Numbers of turns of its own must not come again within the binding.
        if not session.own_turns_count and self._sessions.get(session.id) is session:
            del self._sessions[session.id]

    def _remove_later(self, session: Session) -> None:
        """A closed session's folders go, but not before it is sure that no turn of a newer binding is on its way."""
        if session.folder.is_dir():
            (session.folder / ENDED_MARK).touch(mode=0o600)
            session.removals += 1
            self._spawn(self._remove(session))

    async def _remove(self, session: Session) -> None:
        try:
            await asyncio.sleep(SESSION_ENDED_KEPT_SECONDS)
            await self.wait_ended(session)
            await self._remove_unless_opened(session)
        finally:
            session.removals -= 1
            self._forget_if_empty(session)

    async def _remove_unless_opened(self, session: Session) -> None:
        # A turn that comes now, because the session has moved back, waits until nothing of it is left to be removed.
        async with session.turn_lock:
            if not session.closing or not (session.folder / ENDED_MARK).exists():
                return
            if session.workspace is not None:
                await asyncio.to_thread(self._workspaces.remove, session.workspace, keep_folder=False)
            else:
                await asyncio.to_thread(self._workspaces.discard, session.id)
            await asyncio.to_thread(remove_folder, session.folder)
            session.own_turns_count = 0

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _hasten(session: Session) -> None:
    """What is being ended politely has no more time for it."""
    for process in session.ending.values():
        process.cli.tree.signal_tree(signal.SIGKILL)
