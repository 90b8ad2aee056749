"""Runs ClaudeTasks: prepares the folders, starts the CLI under a keeper, hears it out, and judges how it ended.

The order of things stands here; how each is done, in the modules beside this one.
"""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from headrace.v1 import outcome_pb2, task_pb2
from headrace_worker.executors.claude.answer import (
    SchemaUnusable,
    check_schema,
    failure_with_partial,
    repair,
    result_of,
)
from headrace_worker.executors.claude.cli import Cli
from headrace_worker.executors.claude.conversation import Conversation, ConversationSeconds, Ended, Manner, Reason
from headrace_worker.executors.claude.failure import classify
from headrace_worker.executors.claude.launch import ClaudeCommand, LaunchRefused, plan, write_files
from headrace_worker.executors.contract import Attempt, Cancelled, Failed, Outcome, Succeeded
from headrace_worker.executors.failures import failure, invalid, no_workspace, spawn_failure
from headrace_worker.executors.memory import memory_failure
from headrace_worker.ladder import kill_and_close
from headrace_worker.process import SpawnFailed, spawn
from headrace_worker.trees import Memory, MemoryLimits, Trees
from headrace_worker.workspace import PreparedWorkspace, WorkspaceRefused, Workspaces

RESUMED = (
    "This conversation was cut off before you had finished, and goes on now in the same folder. Some of the work may be"
    " done already: look before you do anything a second time, and do what is left. The request was:\n\n"
)
"""Before the prompt of a resumed attempt: it is to go on, not to begin again (R6)."""


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
    ) -> None:
        """`now`: seconds since 1970, for the resets of usage limits."""
        self._command = command
        self._workspaces = workspaces
        self._trees = trees
        self._now = now
        self._seconds = seconds or ConversationSeconds()
        self._memory = memory or MemoryLimits()

    async def run(self, attempt: Attempt) -> Outcome:
        """Runs one ClaudeTask to its end; see `Executor`."""
        assignment = attempt.assignment
        task = assignment.spec.claude
        resumed = bool(assignment.resume_claude_session_id)
        try:
            check_schema(task)
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
        return self._outcome(task, await conversation.run(opening), cli.tree.memory)

    def _outcome(self, task: task_pb2.ClaudeTask, ended: Ended, memory: Memory) -> Outcome:
        usage = ended.turn.meter.total()
        found = classify(ended.evidence, self._now())
        if ended.reason is Reason.FLOODED:
            found = failure(outcome_pb2.FAILURE_CLASS_RESOURCE, ended.words, "spool", ended.evidence.stderr)
        elif ended.reason is Reason.REFUSED:
            found = failure(outcome_pb2.FAILURE_CLASS_ERROR, ended.words, "initialize", ended.evidence.stderr)
        elif ended.reason is Reason.OUTGROWN and found is not None:
            found = memory_failure(memory, ended.evidence.stderr)
        if found is None:
            judged = result_of(task, ended.turn, simulated=self._command.simulated)
            if isinstance(judged, outcome_pb2.Result):
                return Succeeded(judged, usage)
            found = judged
        elif ended.reason is Reason.STOPPED:
            return Cancelled(usage)
        return Failed(failure_with_partial(found, ended.turn, simulated=self._command.simulated), usage)
