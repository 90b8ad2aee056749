"""The composition root of `headrace work`: turns settings and an environment into executors and an agent.

The only place that knows every executor. What cannot be set up is a `SetupFailed` with a line for the operator.
"""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import time
from typing import Any

from headrace.v1 import worker_pb2
from headrace_worker.agent import Agent, Terms
from headrace_worker.artifact_reader import ArtifactReader
from headrace_worker.channel import open_channel, read_address
from headrace_worker.connection import Identity, KeptAnswers
from headrace_worker.executors.claude.caching import CachingExecutor, Surroundings
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand, credentials_of
from headrace_worker.executors.claude.response_cache import ResponseCache
from headrace_worker.executors.claude.sessions import ENDED_MARK, Sessions
from headrace_worker.executors.claude.snapshots import Snapshots
from headrace_worker.executors.command import CommandExecutor
from headrace_worker.executors.handler import Handler, HandlerExecutor
from headrace_worker.executors.limits import SNAPSHOT_FETCH_SECONDS
from headrace_worker.executors.redacting import RedactingExecutor, secrets_of
from headrace_worker.folders import remove_folder, remove_older_than
from headrace_worker.held_sessions import HeldSessions, NoSessions
from headrace_worker.host import boot_seconds, host_name, new_incarnation, software_version, state_folder
from headrace_worker.limits import SESSION_KEPT_SECONDS, THREADS_COUNT_MAX
from headrace_worker.loop_watch import watched_loop
from headrace_worker.profiles import ProfilesUnusable, read_profiles
from headrace_worker.redaction import Redaction
from headrace_worker.sdk import Worker
from headrace_worker.server_clock import ServerClock
from headrace_worker.settings import Settings
from headrace_worker.simulator.frames import VERSION as SIMULATOR_VERSION
from headrace_worker.slots import Run
from headrace_worker.sweep import end_left_trees, folder_mark
from headrace_worker.trees import MemoryLimits, Trees
from headrace_worker.user import User, UserUnusable, find_user, let_pass
from headrace_worker.workspace import Workspaces

PROGRAM_VARIABLES = ("PATH", "LANG", "HOME")
PASSED_FOLDERS = ("workspaces", "tmp", "claude", "sessions")
"""In the data folder: what programs of another user than the worker's own find their folders in."""
VERSION_SECONDS = 30.0
KEPT_SECONDS = 7 * 86_400.0
"""What was kept of jobs is removed when nothing was made in it for this long."""

logger = logging.getLogger(__name__)


class SetupFailed(Exception):
    """The worker can't be set up as asked."""


@dataclass(slots=True)
class Executors:
    """How each kind of task is run, and what the worker may say of it."""

    capabilities: worker_pb2.WorkerCapabilities
    runs: dict[str, Run] = field(default_factory=dict)

    def add(self, kind: str, run: Run) -> None:
        """From now on tasks of that kind can be run."""
        self.runs[kind] = run
        self.capabilities.executors.append(kind)


@dataclass(frozen=True, slots=True)
class Claude:
    """A CLI that can be run."""

    arguments: tuple[str, ...]
    version: str
    simulated: bool


def data_folder(settings: Settings) -> Path:
    """Where the worker keeps what it needs."""
    return settings.data or state_folder() / "workers" / settings.id


def clear_away(data: Path) -> None:
    """Ends and removes what earlier starts of the worker left. Call it before the worker's first word, under its lock.

    Blocks until nothing that they started runs any more. Raises OSError.
    """
    met = end_left_trees(folder_mark(data))
    if met:
        logger.warning("%d processes of an earlier start were still there; they are gone", met)
    remove_older_than(data / "tmp", 0, float("inf"), frozenset())
    sessions = clear_sessions(data / "sessions")
    for name in ("workspaces", "claude"):
        remove_older_than(data / name, KEPT_SECONDS, time(), sessions)


def clear_sessions(folder: Path) -> frozenset[str]:
    """Removes what was kept of sessions that are over, or of which nothing was heard for very long.

    Returns the ids of the others.
    """
    remove_older_than(folder, SESSION_KEPT_SECONDS, time(), frozenset())
    ids = frozenset(os.listdir(folder)) if folder.is_dir() else frozenset()
    ended = frozenset(name for name in ids if (folder / name / ENDED_MARK).exists())
    for name in ended:
        remove_folder(folder / name)
    return ids - ended


@contextmanager
def composed(settings: Settings, environment: Mapping[str, str]) -> Iterator[tuple[Agent, Identity]]:
    """An agent as the settings want it. Only on a running loop. Raises SetupFailed."""
    data = data_folder(settings)
    user = find_run_as(settings, data)
    claude = find_claude(settings.claude, environment, user)
    handlers = load_handlers(settings.handlers)
    trees = Trees(folder_mark(data))
    executors = Executors(
        worker_pb2.WorkerCapabilities(
            labels=settings.label, workspace_roots=[str(root) for root in settings.allow_root]
        )
    )
    shared = {name: environment[name] for name in PROGRAM_VARIABLES if name in environment}
    if user is not None:
        shared["HOME"] = user.home
    workspaces = Workspaces(data, settings.allow_root, shared, user)
    sessions: HeldSessions = NoSessions()
    answers: KeptAnswers | None = None
    if claude is not None:
        sessions, answers = _add_claude(executors, claude, settings, environment, shared, workspaces, trees, data)
    if settings.allow_command:
        memory = MemoryLimits(settings.command_memory_soft_bytes, settings.command_memory_hard_bytes)
        command = CommandExecutor(settings.allow_command, shared, workspaces, trees, memory=memory)
        executors.add("command", command.run)
        executors.capabilities.programs.extend(command.programs)
    threads = ThreadPoolExecutor(min(settings.slots, THREADS_COUNT_MAX), "headrace-handler")
    if handlers:
        handler = HandlerExecutor(handlers, threads)
        executors.add("handler", handler.run)
        executors.capabilities.handlers.extend(handler.names)
    identity = Identity(
        settings.id, new_incarnation(), settings.slots, executors.capabilities, host_name(), software_version()
    )
    terms = Terms(drain_seconds=settings.drain_seconds, exit_when_lease_ends=settings.lock is not None)
    try:
        with watched_loop(handlers.values()):
            agent = Agent(
                settings.server,
                identity,
                executors.runs,
                data,
                terms,
                sessions=sessions,
                on_lease=trees.extend,
                answers=answers,
            )
            yield agent, identity
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def find_run_as(settings: Settings, data: Path) -> User | None:
    """The user that programs are to run as, with its way to the data folder open. Raises SetupFailed, OSError."""
    if not settings.run_as:
        return None
    try:
        user = find_user(settings.run_as)
        let_pass(data, user, PASSED_FOLDERS)
    except UserUnusable as unusable:
        raise SetupFailed(f"--run-as: {unusable}") from None
    shared = settings.claude_config
    obstacle = user.obstacle(shared) if shared is not None and shared.exists() else ""
    if obstacle:
        raise SetupFailed(f"--claude-config: {obstacle}, as whom programs run by --run-as")
    return user


def find_claude(setting: str, environment: Mapping[str, str], user: User | None = None) -> Claude | None:
    """The CLI that the setting names. Raises SetupFailed when it was named and can't be run."""
    if setting == "none":
        return None
    if setting == "simulated":
        simulator = (sys.executable, "-m", "headrace_worker.simulator")
        if user is not None:
            try:
                _version_of(simulator, environment, user)
            except (OSError, subprocess.SubprocessError) as error:
                raise SetupFailed(f"--run-as: {user.name} can't run the simulated CLI: {error}") from error
        return Claude(simulator, SIMULATOR_VERSION, simulated=True)
    program = shutil.which(setting or "claude", path=environment.get("PATH", ""))
    if program is None:
        if setting:
            raise SetupFailed(f"--claude: {setting!r} is not a program")
        return None
    try:
        version = _version_of((program,), environment, user)
    except (OSError, subprocess.SubprocessError) as error:
        whose = f", as {user.name}," if user is not None else ""
        if setting:
            raise SetupFailed(f"--claude: `{setting} --version`{whose} failed: {error}") from error
        logger.warning("claude on the PATH is left out: `%s --version`%s failed: %s", program, whose, error)
        return None
    return Claude((str(Path(program).absolute()),), version, simulated=False)


def _version_of(program: tuple[str, ...], environment: Mapping[str, str], user: User | None) -> str:
    """What the program says of itself, run as whom it will be run. Raises OSError, SubprocessError."""
    options: dict[str, Any] = {}
    if user is not None:
        variables = {"PATH": environment.get("PATH", ""), "HOME": user.home}
        options = {"user": user.uid, "group": user.gid, "extra_groups": user.groups, "cwd": "/", "env": variables}
    found = subprocess.run(
        [*program, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=True, **options
    )
    said: list[str] = found.stdout.split()
    return said[0] if said else "unknown"


def load_handlers(modules: tuple[str, ...]) -> dict[str, Handler]:
    """The handlers of every `Worker` in the modules. Raises SetupFailed."""
    handlers: dict[str, Handler] = {}
    for text in modules:
        for worker in _workers_of(text):
            for name, handler in worker.handlers.items():
                if name in handlers:
                    raise SetupFailed(f"--handlers: the handler {name!r} is registered twice")
                handlers[name] = handler
    return handlers


def _workers_of(text: str) -> list[Worker]:
    name, _, attribute = text.partition(":")
    try:
        module = import_module(name)
    except Exception as error:
        raise SetupFailed(f"--handlers: {name!r} can't be imported: {type(error).__name__}: {error}") from error
    wanted = [getattr(module, attribute, None)] if attribute else list(vars(module).values())
    workers = [value for value in wanted if isinstance(value, Worker)]
    if not workers:
        raise SetupFailed(f"--handlers: {text!r} has no headrace.worker.Worker")
    return workers


def _add_claude(
    executors: Executors,
    claude: Claude,
    settings: Settings,
    environment: Mapping[str, str],
    shared: Mapping[str, str],
    workspaces: Workspaces,
    trees: Trees,
    data: Path,
) -> tuple[Sessions, KeptAnswers]:
    command = ClaudeCommand(
        claude.arguments,
        claude.simulated,
        data,
        shared,
        credentials=credentials_of(environment),
        profiles=_profiles(settings),
        config_folder=settings.claude_config,
    )
    executors.capabilities.environment_profiles.extend(sorted(command.profiles))
    memory = MemoryLimits(settings.claude_memory_soft_bytes, settings.claude_memory_hard_bytes)
    seconds = _seconds(settings)
    sessions = Sessions(settings.sessions_max, workspaces, seconds, command.session_folder)
    redaction = Redaction(secrets_of(command.credentials, *command.profiles.values()))
    reader = ArtifactReader(lambda: open_channel(read_address(settings.server)), SNAPSHOT_FETCH_SECONDS)
    snapshots = Snapshots(command, workspaces, reader, redaction)
    executor = ClaudeExecutor(command, workspaces, trees, time, seconds, memory, sessions, snapshots)
    clock = ServerClock(time, boot_seconds)
    cache = ResponseCache(data / "answers")
    cache.load(clock.now())
    caching = CachingExecutor(executor.run, cache, clock, Surroundings(claude.version, command.variables))
    executors.add("claude", RedactingExecutor(caching.run, redaction).run)
    executors.capabilities.claude_version = claude.version
    executors.capabilities.claude_simulated = claude.simulated
    executors.capabilities.sessions_max = settings.sessions_max
    return sessions, KeptAnswers(cache.state, caching.invalidate, caching.tend)


def _profiles(settings: Settings) -> dict[str, dict[str, str]]:
    try:
        return read_profiles(settings.profile)
    except ProfilesUnusable as unusable:
        raise SetupFailed("; ".join(f"--profile: {fault}" for fault in unusable.faults)) from None


def _seconds(settings: Settings) -> ConversationSeconds:
    return ConversationSeconds(
        start=settings.stall_start_seconds,
        first_token=settings.stall_first_token_seconds,
        streaming=settings.stall_streaming_seconds,
        tool=settings.stall_tool_seconds,
        after_tool=settings.stall_after_tool_seconds,
        compacting=settings.stall_compacting_seconds,
        background=settings.stall_background_seconds,
    )
