"""Runs the turns of sessions: finds or starts the session's process, says the message once, and gives the process back.

How a turn goes once something was said stands in `conversation.py`; which processes there are, in `sessions.py`.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time_ns
from typing import assert_never
from uuid import UUID, uuid5

from headrace.v1 import outcome_pb2, task_pb2, worker_pb2
from headrace_worker.artifact_reader import ArtifactUnreachable
from headrace_worker.executors.artifacts import deliver_changes
from headrace_worker.executors.claude import transcript
from headrace_worker.executors.claude.answer import repair
from headrace_worker.executors.claude.cli import Cli
from headrace_worker.executors.claude.conversation import Conversation, ConversationSeconds, Manner, deliver_ended
from headrace_worker.executors.claude.launch import (
    PERMISSION_MODES,
    RESUMED,
    SESSION_ID,
    ClaudeCommand,
    LaunchRefused,
    Opening,
    plan_in,
    write_files,
)
from headrace_worker.executors.claude.session_process import Session, SessionProcess
from headrace_worker.executors.claude.sessions import Sessions
from headrace_worker.executors.claude.settings import change
from headrace_worker.executors.claude.snapshots import Snapshots, SnapshotUnusable
from headrace_worker.executors.claude.verdict import verdict
from headrace_worker.executors.contract import Attempt, Cancelled, Failed, Outcome, Succeeded
from headrace_worker.executors.failures import failure, invalid, no_workspace, spawn_failure
from headrace_worker.ladder import first_of
from headrace_worker.process import SpawnFailed, spawn
from headrace_worker.trees import MemoryLimits, Trees
from headrace_worker.workspace import PreparedWorkspace, WorkspaceRefused, Workspaces

NAMES = UUID("6f1d4c36-6a0e-4f0b-9c52-0d1f6b8f7f0a")
"""Of the ids that are derived from those of sessions and jobs."""
GO_ON = (
    "This conversation was cut off before your answer to the last request had arrived, and goes on now in the same"
    " folder. Some of the work may be done already: look before you do anything a second time, and do what is left. If"
    " you had finished, give your final answer again."
)
"""Instead of a message that is in the conversation already (R6)."""
ANSWERED_MARK = "answered"
"""A file in a session's folder: there is a conversation that has to be found again."""
FORK_NOTE = "fork"
"""A file there: the session that it is a fork of, and the CLI's id of that one's conversation."""


class ConversationLost(Exception):
    """The conversation to go on with is not on this worker's disk."""


class WorkLost(Exception):
    """What a turn has done before it was cut off is gone: to begin it again would be to do it twice (R6)."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is said to begin a turn."""

    text: str
    identity: str


class SessionTurns:
    """Runs them on one worker."""

    def __init__(
        self,
        command: ClaudeCommand,
        sessions: Sessions,
        workspaces: Workspaces,
        trees: Trees,
        now: Callable[[], float],
        seconds: ConversationSeconds,
        memory: MemoryLimits,
        snapshots: Snapshots,
    ) -> None:
        self._command = command
        self._sessions = sessions
        self._workspaces = workspaces
        self._trees = trees
        self._now = now
        self._seconds = seconds
        self._memory = memory
        self._snapshots = snapshots

    async def run(self, attempt: Attempt) -> Outcome:
        """Runs one turn to its end; the session's process may go on after it."""
        turn = attempt.assignment.session
        if not SESSION_ID.fullmatch(turn.session_id):
            return invalid(f"{turn.session_id!r} is not the id of a session", "session")
        if turn.background_number:
            return await self._run_own(attempt)
        session = self._sessions.open(turn)
        try:
            if not await _acquired(session.turn_lock, attempt):
                return Cancelled()
            try:
                return await self._run_message(attempt, session)
            finally:
                session.turn_lock.release()
        finally:
            self._sessions.leave(session)

    async def _run_message(self, attempt: Attempt, session: Session) -> Outcome:
        process = self._sessions.take(session)
        try:
            if process is not None:
                await _wait_quiet(attempt, process)
            if attempt.stop_requested() is not None:
                return Cancelled()
            return await self._converse(attempt, session)
        finally:
            self._sessions.give_back(session)

    async def _converse(self, attempt: Attempt, session: Session) -> Outcome:
        task = attempt.assignment.spec.claude
        try:
            await self._restore(attempt, session)
            if attempt.stop_requested() is not None:
                return Cancelled()
            opening, message = await asyncio.to_thread(self._look, attempt.assignment, session)
            process = await self._warm(attempt, session, opening)
            warm = process is not None
            process = process or await self._start(attempt, session, opening)
        except (ConversationLost, WorkLost, SnapshotUnusable, ArtifactUnreachable) as fault:
            return _nothing_to_go_on_with(fault)
        except LaunchRefused as refused:
            return invalid(str(refused), "launch")
        except SpawnFailed as failed:
            return spawn_failure(failed)
        except (WorkspaceRefused, OSError) as error:
            return no_workspace(error)
        hearing = process.cli.expect()

        async def say() -> None:
            if not warm:
                await process.cli.control.request("initialize", hooks=None)
            process.cli.say(hearing, message.text, message.identity)

        manner = self._manner(task, resumed=opening.resumes)
        conversation = Conversation(attempt, process.cli, hearing, self._seconds, manner)
        try:
            ended = await conversation.run(say)
            if ended.turn.results:
                await asyncio.to_thread((session.folder / ANSWERED_MARK).touch, mode=0o600)
            outcome = verdict(task, ended, process.cli.tree.memory, self._now, simulated=self._command.simulated)
            branch = task.workspace.git_worktree.branch
            outcome = await deliver_changes(attempt, process.workspace, branch, outcome)
        except BaseException:
            self._sessions.discard(session.id, process)
            raise
        if not ended.kept:
            self._sessions.discard(session.id, process)
            await self._sessions.wait_ended(session)
        said = outcome.result.claude.claude_session_id if isinstance(outcome, Succeeded) else ""
        await self._snapshots.take(attempt, said or opening.claude_session_id)
        return outcome

    async def _restore(self, attempt: Attempt, session: Session) -> None:
        """Has the session as it is in its snapshot, where this worker has it not, or has it from before that."""
        turn = attempt.assignment.session
        if not turn.HasField("snapshot"):
            return
        await self._sessions.wait_ended(session)
        if not await self._snapshots.restore(attempt, str(uuid5(NAMES, turn.session_id))):
            return
        await asyncio.to_thread((session.folder / ANSWERED_MARK).touch, mode=0o600)
        if attempt.assignment.resume_claude_session_id and turn.snapshot.turn < turn.turn:
            raise WorkLost("what this turn has done is no longer on this worker; the session goes on as it was before")

    def _look(self, assignment: worker_pb2.Assignment, session: Session) -> tuple[Opening, Message]:
        """Which conversation the CLI is to hold, and what is to be said in it. Raises ConversationLost."""
        turn, config_folder = assignment.session, self._command.session_config(session.id)
        identity = str(uuid5(NAMES, assignment.lease.job_id))
        opening = self._opening(turn, config_folder)
        resumed = assignment.resume_claude_session_id
        if resumed and not opening.resumes:
            # To say it in another conversation would be to do a second time what may be done already (R6).
            raise ConversationLost(f"the conversation {resumed} is not on this worker's disk")
        past = transcript.find(config_folder, opening.claude_session_id) if opening.resumes else None
        lease = assignment.lease
        # An earlier grant of the same attempt may have begun, although the server never heard of it.
        granted_before = lease.attempt > 1 or lease.epoch > 1
        if granted_before and past is not None and transcript.holds(past, identity):
            return opening, Message(GO_ON, str(uuid5(NAMES, f"{lease.job_id}/{lease.attempt}/{lease.epoch}")))
        prompt = assignment.spec.claude.prompt
        return opening, Message(RESUMED + prompt if resumed else prompt, identity)

    def _opening(self, turn: worker_pb2.SessionTurn, config_folder: Path) -> Opening:
        """The id of a new conversation is derived from the session's, so that it is found again, whoever was told."""
        own = str(uuid5(NAMES, turn.session_id))
        for known in filter(None, (turn.claude_session_id, own)):
            if SESSION_ID.fullmatch(known) and transcript.find(config_folder, known) is not None:
                return Opening.resume(known)
        # A CLI that is killed early may have written nothing yet; then there is nothing to lose either.
        begun = self._command.session_folder(turn.session_id)
        if turn.claude_session_id and turn.turn > 1 and (not begun.is_dir() or (begun / ANSWERED_MARK).exists()):
            raise ConversationLost(f"the conversation {turn.claude_session_id} is not on this worker's disk")
        note = begun / FORK_NOTE
        if turn.fork_session_id or note.exists():
            return self._fork(turn, own, note)
        return Opening.new(turn.claude_session_id or own)

    def _fork(self, turn: worker_pb2.SessionTurn, own: str, note: Path) -> Opening:
        """`note` keeps what it is a fork of, which is told only until it has a conversation of its own."""
        session_id, claude_session_id = turn.fork_session_id, turn.fork_claude_session_id
        if not session_id:
            session_id, claude_session_id = note.read_text().split()
        opening = Opening.fork(turn.claude_session_id or own, claude_session_id)
        if not SESSION_ID.fullmatch(session_id):
            raise LaunchRefused(f"{session_id!r} is not the id of a session")
        config_folder = self._command.session_config(turn.session_id)
        if transcript.find(config_folder, claude_session_id) is None:
            past = transcript.find(self._command.session_config(session_id), claude_session_id)
            if past is None:
                raise ConversationLost(f"the conversation {claude_session_id} is not on this worker's disk")
            transcript.copy(past, config_folder)
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_text(f"{session_id} {claude_session_id}")
        return opening

    async def _warm(self, attempt: Attempt, session: Session, opening: Opening) -> SessionProcess | None:
        """The session's process, if it can take the turn; else it is ended."""
        process = session.process
        if process is None:
            return None
        task, cli = attempt.assignment.spec.claude, process.cli
        launch = plan_in(session.folder, self._command, task, process.workspace, opening)
        fits = launch.key == process.key and opening.claude_session_id == process.claude_session_id
        if fits and process.alive and not cli.is_deaf and not process.has_budget and (task.model or not cli.model):
            changing = asyncio.create_task(change(cli, task.model, PERMISSION_MODES[task.permission_mode]))
            await first_of(asyncio.wait([changing]), cli.tree.wait_exit(), attempt.wait_stop())
            changing.cancel()
            await asyncio.wait([changing])
            if not changing.cancelled() and changing.exception() is None:
                return process
        self._sessions.discard(session.id, process)
        return None

    async def _start(self, attempt: Attempt, session: Session, opening: Opening) -> SessionProcess:
        task = attempt.assignment.spec.claude
        await self._sessions.make_room(session)
        workspace = await asyncio.to_thread(self._prepare, session, task.workspace)
        try:
            launch = plan_in(session.folder, self._command, task, workspace, opening)
            await asyncio.to_thread(write_files, launch)
            tree = await spawn(launch.program, self._trees, self._memory)
        except BaseException:
            await asyncio.to_thread(self._workspaces.remove, workspace, keep_folder=True)
            raise
        cli = Cli(tree, self._command.data_folder / "spool", lambda own: self._sessions.began_own_turn(session, own))
        cli.model, cli.permission_mode = task.model, PERMISSION_MODES[task.permission_mode]
        has_budget = bool(task.limits.max_cost_usd_micros)
        process = SessionProcess(cli, launch.key, opening.claude_session_id, workspace, time_ns(), has_budget)
        self._sessions.began(session, process)
        return process

    def _prepare(self, session: Session, workspace: task_pb2.Workspace) -> PreparedWorkspace:
        lease = worker_pb2.Lease(job_id=session.id)
        prepared = self._workspaces.prepare(lease, workspace, resumed=True)
        os.makedirs(session.folder, mode=0o700, exist_ok=True)
        os.utime(session.folder)
        self._snapshots.mark(session.id, session.binding_epoch)
        return prepared

    async def _run_own(self, attempt: Attempt) -> Outcome:
        """Delivers a turn that the CLI began by itself."""
        own = self._sessions.own_turn(attempt.assignment.session)
        if own is None:
            words = "what the CLI said in a turn that it began by itself is no longer on this worker"
            return Failed(failure(outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME, words, "background_number"))
        task, cli = attempt.assignment.spec.claude, own.process.cli
        manner = self._manner(task, resumed=False)
        if own.hearing.ended or not own.process.alive:
            ended = await deliver_ended(attempt, cli, own.hearing, manner)
        else:
            ended = await Conversation(attempt, cli, own.hearing, self._seconds, manner).run(_say_nothing)
            if not ended.kept:
                self._sessions.discard(own.message.session_id, own.process)
        session_id = own.message.session_id
        if not self._sessions.is_busy(session_id):
            goes_on = partial(self._sessions.is_busy, session_id)
            await self._snapshots.take(attempt, own.process.claude_session_id, goes_on)
        return verdict(task, ended, cli.tree.memory, self._now, simulated=self._command.simulated)

    def _manner(self, task: task_pb2.ClaudeTask, *, resumed: bool) -> Manner:
        return Manner(
            simulated=self._command.simulated,
            with_deltas=not task.HasField("deltas") or task.deltas,
            stays=True,
            resumed=resumed,
            repair=lambda turn: repair(task, turn),
        )


def _nothing_to_go_on_with(fault: ConversationLost | WorkLost | SnapshotUnusable | ArtifactUnreachable) -> Failed:
    words, failure_class = str(fault), outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME
    match fault:
        case ConversationLost():
            sign = "transcript"
        case WorkLost():
            sign = "resume"
        case SnapshotUnusable():
            sign = "snapshot"
        case ArtifactUnreachable():
            sign, failure_class = "snapshot", outcome_pb2.FAILURE_CLASS_NETWORK
            words = f"the snapshot to go on from can't be read: {fault}"
        case _:
            assert_never(fault)
    return Failed(failure(failure_class, words, sign))


async def _say_nothing() -> None:
    """The CLI speaks already."""


async def _acquired(lock: asyncio.Lock, attempt: Attempt) -> bool:
    """Takes the lock, unless the attempt has to end first."""
    acquiring = asyncio.create_task(lock.acquire())
    await first_of(asyncio.wait([acquiring]), attempt.wait_stop())
    acquiring.cancel()
    await asyncio.wait([acquiring])
    if acquiring.cancelled():
        return False
    if attempt.stop_requested() is not None:
        lock.release()
        return False
    return True


async def _wait_quiet(attempt: Attempt, process: SessionProcess) -> None:
    """A message waits until a turn that the CLI began by itself is over: it is not to be mixed into that one."""
    cli = process.cli
    while (own := cli.running) is not None and process.alive and attempt.stop_requested() is None:
        await first_of(own.wait_over(), cli.tree.wait_exit(), attempt.wait_stop())
