"""Runs ClaudeTasks: prepares the folders, starts the CLI under a keeper, hears it out, and judges how it ended.

The order of things stands here; how each is done, in the modules beside this one.
"""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from headrace.v1 import task_pb2
from headrace_worker.executors.artifacts import deliver_changes
from headrace_worker.executors.claude.answer import SchemaUnusable, check_schema, repair
from headrace_worker.executors.claude.cli import Cli
from headrace_worker.executors.claude.conversation import Conversation, ConversationSeconds, Manner
from headrace_worker.executors.claude.launch import RESUMED, ClaudeCommand, LaunchRefused, cap_cost, plan, write_files
from headrace_worker.executors.claude.session_turn import SessionTurns
from headrace_worker.executors.claude.sessions import Sessions
from headrace_worker.executors.claude.snapshots import Snapshots
from headrace_worker.executors.claude.verdict import verdict
from headrace_worker.executors.contract import Attempt, Cancelled, Failed, Outcome
from headrace_worker.executors.failures import invalid, no_workspace, spawn_failure
from headrace_worker.ladder import kill_and_close
from headrace_worker.limits import SESSIONS_COUNT_DEFAULT
from headrace_worker.process import SpawnFailed, spawn
from headrace_worker.trees import MemoryLimits, Trees
from headrace_worker.workspace import PreparedWorkspace, WorkspaceRefused, Workspaces


class ClaudeExecutor:
    """The executor `claude`."""

    def __init__(
        self,
        command: ClaudeCommand,
        workspaces: Workspaces,
        trees: Trees,
        now: Callable[[], float],
        seconds: ConversationSeconds | None = None,
        memory: MemoryLimits | None = None,
        sessions: Sessions | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        """`now`: seconds since 1970, for the resets of usage limits."""
        self._command = command
        self._workspaces = workspaces
        self._trees = trees
        self._now = now
        self._seconds = seconds or ConversationSeconds()
        self._memory = memory or MemoryLimits()
        sessions = sessions or Sessions(SESSIONS_COUNT_DEFAULT, workspaces, self._seconds, command.session_folder)
        snapshots = snapshots or Snapshots(command, workspaces)
        self._session_turns = SessionTurns(
            command, sessions, workspaces, trees, now, self._seconds, self._memory, snapshots
        )

    async def run(self, attempt: Attempt) -> Outcome:
        """Runs one ClaudeTask to its end; see `Executor`."""
        assignment = attempt.assignment
        task = assignment.spec.claude
        resumed = bool(assignment.resume_claude_session_id)
        cap_cost(assignment)
        try:
            check_schema(task)
            if assignment.HasField("session"):
                return await self._session_turns.run(attempt)
            workspace = await asyncio.to_thread(
                self._workspaces.prepare, assignment.lease, task.workspace, resumed=resumed
            )
        except SchemaUnusable as unusable:
            return invalid(str(unusable), "output_schema")
        except (WorkspaceRefused, OSError) as error:
            return no_workspace(error)
        # A later attempt may go on in the folder of one that failed.
        keep_folder = True
        try:
            outcome = await self._run_in(attempt, task, workspace)
            outcome = await deliver_changes(attempt, workspace, task.workspace.git_worktree.branch, outcome)
            keep_folder = isinstance(outcome, Failed)
            return outcome
        finally:
            await asyncio.to_thread(self._workspaces.remove, workspace, keep_folder=keep_folder)

    async def _run_in(self, attempt: Attempt, task: task_pb2.ClaudeTask, workspace: PreparedWorkspace) -> Outcome:
        if attempt.stop_requested() is not None:
            return Cancelled()
        try:
            launch = plan(self._command, attempt.assignment, workspace, str(uuid4()))
            await asyncio.to_thread(write_files, launch)
            tree = await spawn(launch.program, self._trees, self._memory)
        except LaunchRefused as refused:
            return invalid(str(refused), "launch")
        except SpawnFailed as failed:
            return spawn_failure(failed)
        except OSError as error:
            return no_workspace(error)
        cli = Cli(tree, self._command.data_folder / "spool")
        try:
            return await self._converse(attempt, task, cli)
        finally:
            await kill_and_close(tree)
            await cli.close()

    async def _converse(self, attempt: Attempt, task: task_pb2.ClaudeTask, cli: Cli) -> Outcome:
        resumed = bool(attempt.assignment.resume_claude_session_id)
        prompt = RESUMED + task.prompt if resumed else task.prompt
        hearing = cli.expect()

        async def opening() -> None:
            await cli.control.request("initialize", hooks=None)
            cli.say(hearing, prompt)

        manner = Manner(
            simulated=self._command.simulated,
            with_deltas=not task.HasField("deltas") or task.deltas,
            resumed=resumed,
            repair=lambda turn: repair(task, turn),
        )
        conversation = Conversation(attempt, cli, hearing, self._seconds, manner)
        ended = await conversation.run(opening)
        return verdict(task, ended, cli.tree.memory, self._now, simulated=self._command.simulated)
