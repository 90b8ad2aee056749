"""Runs CommandTasks: allow-listed programs, without a shell, their bytes kept exactly as they came.

Cancel ladder: SIGINT to the program alone, so that it can end its children in its own order; after the grace SIGTERM
to the whole tree; then SIGKILL. How processes are kept and ended is not decided here.
"""

import asyncio
import logging
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.v1 import event_pb2, outcome_pb2, task_pb2
from headrace_worker.executors.artifacts import deliver_changes
from headrace_worker.executors.contract import Attempt, Cancelled, Failed, Outcome, StopRequest, Succeeded
from headrace_worker.executors.failures import failure, invalid, no_workspace, signal_name, spawn_failure
from headrace_worker.executors.limits import (
    DRAIN_SECONDS,
    STDERR_TAIL_BYTES_MAX,
    STDIN_WRITE_SECONDS,
    TERMINATE_SECONDS,
)
from headrace_worker.executors.memory import memory_failure, note_soft_limit
from headrace_worker.ladder import end_tree, first_of, kill_and_close, kill_tree, report_step
from headrace_worker.pipe import PipeReader
from headrace_worker.process import ExitStatus, ProcessTree, Program, SpawnFailed, spawn
from headrace_worker.trees import MemoryLimits, Trees
from headrace_worker.workspace import PreparedWorkspace, WorkspaceRefused, Workspaces

RESERVED_VARIABLES = frozenset({"TMPDIR", "HEADRACE_TREE"})
LOADER_PREFIX = "LD_"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CommandSeconds:
    """How long each part of an end may take."""

    drain: float = DRAIN_SECONDS
    """From the program's exit until what it left running is ended."""
    terminate: float = TERMINATE_SECONDS
    """From SIGTERM to SIGKILL."""
    stdin: float = STDIN_WRITE_SECONDS
    """Without the program taking any of its input."""


class CommandExecutor:
    """The executor `command`."""

    def __init__(
        self,
        programs: Sequence[str],
        environment: Mapping[str, str],
        workspaces: Workspaces,
        trees: Trees,
        seconds: CommandSeconds | None = None,
        memory: MemoryLimits | None = None,
    ) -> None:
        """`programs`: names, looked up once on the PATH of `environment`, or absolute paths.

        `environment`: what every program gets; PATH, LANG, HOME.
        """
        self._programs = resolve_programs(programs, environment.get("PATH", ""))
        self._environment = dict(environment)
        self._workspaces = workspaces
        self._trees = trees
        self._seconds = seconds or CommandSeconds()
        self._memory = memory or MemoryLimits()

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that were found, as tasks have to name them."""
        return tuple(self._programs)

    async def run(self, attempt: Attempt) -> Outcome:
        """Runs one CommandTask to its end; see `Executor`."""
        task = attempt.assignment.spec.command
        refusal = self._refusal(task)
        if refusal:
            return invalid(refusal, f"program={task.program}")
        try:
            workspace = await asyncio.to_thread(
                self._workspaces.prepare, attempt.assignment.lease, task.workspace, resumed=False
            )
        except (WorkspaceRefused, OSError) as error:
            return no_workspace(error)
        try:
            outcome = await self._run_in(attempt, task, workspace)
            return await deliver_changes(attempt, workspace, task.workspace.git_worktree.branch, outcome)
        finally:
            await asyncio.to_thread(self._workspaces.remove, workspace, keep_folder=False)

    async def _run_in(self, attempt: Attempt, task: task_pb2.CommandTask, workspace: PreparedWorkspace) -> Outcome:
        if attempt.stop_requested() is not None:
            return Cancelled()
        program = Program(
            (self._programs[task.program], *task.arguments),
            str(workspace.folder),
            {**self._environment, **task.environment, "TMPDIR": str(workspace.temporary)},
            workspace.user,
        )
        try:
            tree = await spawn(program, self._trees, self._memory)
        except SpawnFailed as failed:
            return spawn_failure(failed)
        try:
            return await CommandRun(attempt, task, tree, self._seconds).run()
        finally:
            await kill_and_close(tree)

    def _refusal(self, task: task_pb2.CommandTask) -> str:
        if task.program not in self._programs:
            return f"the program {task.program!r} is not one that this worker allows"
        if any("\0" in argument for argument in task.arguments):
            return "an argument holds a NUL character"
        for name, value in task.environment.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                return f"the variable {name!r} can't be set"
            if name in RESERVED_VARIABLES or name.startswith(LOADER_PREFIX):
                return f"the variable {name!r} can't be set by a task"
        return ""


class CommandRun:
    """One program, from its start to the end of its tree."""

    def __init__(
        self, attempt: Attempt, task: task_pb2.CommandTask, tree: ProcessTree, seconds: CommandSeconds
    ) -> None:
        self._attempt = attempt
        self._stdin = task.stdin
        self._tree = tree
        self._seconds = seconds
        self._stdout_bytes = 0
        self._stderr_bytes = 0
        self._stderr_tail = b""

    async def run(self) -> Outcome:
        """Feeds, reads and ends the program, and says how it ended."""
        async with asyncio.TaskGroup() as tasks:
            others = [
                tasks.create_task(self._feed()),
                tasks.create_task(note_soft_limit(self._attempt, self._tree.memory)),
            ]
            reading = tasks.create_task(self._read_all())
            await first_of(self._tree.wait_exit(), self._attempt.wait_stop(), self._tree.memory.wait_over_hard())
            exited = self._tree.exit_status is not None
            stop = None if exited else self._attempt.stop_requested()
            too_large = not exited and stop is None
            await self._end(stop, too_large)
            for task in others:
                task.cancel()
            await self._finish_reading(reading)
        if stop is not None:
            return Cancelled()
        if too_large:
            return Failed(memory_failure(self._tree.memory, self._stderr_tail))
        return self._outcome(await self._tree.wait_exit())

    async def _end(self, stop: StopRequest | None, too_large: bool) -> None:
        """Ends what is left of the tree."""
        if too_large:
            await kill_tree(self._tree)
            return
        if stop is not None:
            await self._interrupt(stop)
        else:
            await first_of(self._tree.wait_gone(), self._attempt.wait_stop(), timeout_seconds=self._seconds.drain)
        if stop is not None or not self._tree.gone:
            await end_tree(self._tree, self._attempt, self._seconds.terminate)

    async def _finish_reading(self, reading: asyncio.Task[None]) -> None:
        """Delivers what the pipes still hold, unless nobody waits for it any more."""
        await first_of(asyncio.wait([reading]), self._attempt.wait_kill())
        reading.cancel()

    async def _interrupt(self, stop: StopRequest) -> None:
        if stop.kill:
            return
        report_step(self._attempt, event_pb2.CANCEL_STEP_INTERRUPT, "SIGINT to the program")
        self._tree.signal_program(signal.SIGINT)
        ends = (self._tree.wait_gone(), self._attempt.wait_kill(), self._tree.memory.wait_over_hard())
        await first_of(*ends, timeout_seconds=stop.grace_seconds)

    async def _feed(self) -> None:
        try:
            await self._tree.stdin.write(self._stdin, self._seconds.stdin)
        except BrokenPipeError:
            logger.info("a program left a part of its input unread")
        except TimeoutError:
            logger.warning("a program did not take its input")
        finally:
            self._tree.stdin.close()

    async def _read_all(self) -> None:
        async with asyncio.TaskGroup() as readers:
            readers.create_task(self._read(self._tree.stdout, event_pb2.OUTPUT_STREAM_STDOUT))
            readers.create_task(self._read(self._tree.stderr, event_pb2.OUTPUT_STREAM_STDERR))

    async def _read(self, pipe: PipeReader, stream: event_pb2.OutputStream) -> None:
        while data := await pipe.read():
            if stream == event_pb2.OUTPUT_STREAM_STDOUT:
                self._stdout_bytes += len(data)
            else:
                self._stderr_bytes += len(data)
                self._stderr_tail = (self._stderr_tail + data)[-STDERR_TAIL_BYTES_MAX:]
            await self._attempt.emit(event_pb2.Output(chunk=event_pb2.Chunk(stream=stream, data=data)))

    def _outcome(self, status: ExitStatus) -> Outcome:
        result = outcome_pb2.Result(
            command=outcome_pb2.CommandResult(
                exit_code=status.code, stdout_bytes=self._stdout_bytes, stderr_bytes=self._stderr_bytes
            )
        )
        if status == ExitStatus(0):
            return Succeeded(result)
        if status.signal:
            found = failure(
                outcome_pb2.FAILURE_CLASS_CRASH,
                f"the program was ended by {signal_name(status.signal)}",
                f"signal={status.signal}",
                self._stderr_tail,
            )
            found.signal = status.signal
        else:
            found = failure(
                outcome_pb2.FAILURE_CLASS_ERROR,
                f"the program ended with exit status {status.code}",
                f"exit_code={status.code}",
                self._stderr_tail,
            )
            found.exit_code = status.code
            found.partial_result.CopyFrom(result)
        return Failed(found)


def resolve_programs(programs: Sequence[str], path: str) -> dict[str, str]:
    """Each program that can be run, as tasks name it, and its absolute path."""
    found = {}
    for program in programs:
        place = shutil.which(program, path=path)
        if place is None or not (Path(program).is_absolute() or "/" not in program):
            logger.warning("the allowed program %r was not found on the PATH", program)
        else:
            found[program] = str(Path(place).absolute())
    return found
