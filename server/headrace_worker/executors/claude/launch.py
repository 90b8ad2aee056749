"""How the CLI is started for a task: its arguments, its environment, its folders.

The environment is built from an allow-list, never inherited; a repository's own settings, hooks and servers stay off;
what is long goes into files that only the CLI's user can read.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format, struct_pb2

from headrace.v1 import task_pb2, worker_pb2
from headrace_worker.executors.limits import ARGUMENT_BYTES_MAX, ARGUMENT_INLINE_BYTES_MAX
from headrace_worker.process import Program
from headrace_worker.user import make_folder, make_passage
from headrace_worker.workspace import PreparedWorkspace

CREDENTIAL_NAMES = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN")
SIMULATOR_PREFIX = "HEADRACE_SIMULATOR_"
MAX_RETRIES_DEFAULT = 1
SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
FIXED_ARGUMENTS = (
    "--output-format=stream-json",
    "--verbose",
    "--input-format=stream-json",
    "--permission-prompt-tool=stdio",
    "--setting-sources=",
    "--strict-mcp-config",
)
PERMISSION_MODES: Mapping[int, str] = {
    task_pb2.PERMISSION_MODE_UNSPECIFIED: "default",
    task_pb2.PERMISSION_MODE_DEFAULT: "default",
    task_pb2.PERMISSION_MODE_ACCEPT_EDITS: "acceptEdits",
    task_pb2.PERMISSION_MODE_PLAN: "plan",
    task_pb2.PERMISSION_MODE_BYPASS_PERMISSIONS: "bypassPermissions",
    task_pb2.PERMISSION_MODE_DONT_ASK: "dontAsk",
}
RESUMED = (
    "This conversation was cut off before you had finished, and goes on now in the same folder. Some of the work may be"
    " done already: look before you do anything a second time, and do what is left. The request was:\n\n"
)
"""Before the prompt of a resumed attempt: it is to go on, not to begin again (R6)."""


class LaunchRefused(Exception):
    """The task asks for what this worker can't do; the text says what."""


@dataclass(frozen=True, slots=True)
class ClaudeCommand:
    """Which CLI a worker runs, and what it gives it."""

    arguments: tuple[str, ...]
    """The program and what comes before its flags; the program as an absolute path."""
    simulated: bool
    """Marks everything that it says as not Claude's."""
    data_folder: Path
    environment: Mapping[str, str]
    """PATH, LANG, HOME."""
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What a task without an environment profile gets besides."""
    profiles: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """What a task with one gets instead, by its name."""
    config_folder: Path | None = None
    """A config folder that all jobs share, e.g. a person's own login; None gives every job its own."""
    max_retries: int = MAX_RETRIES_DEFAULT
    """How often the CLI itself repeats a call; the scheduler owns retries."""

    def variables(self, profile: str) -> Mapping[str, str]:
        """What a task with an environment profile gets besides, and one without; nothing for a profile that is not
        there."""
        return self.profiles.get(profile, {}) if profile else self.credentials

    def job_folder(self, job_id: str) -> Path:
        """What is kept of a job between its attempts."""
        return self.data_folder / "claude" / job_id

    def session_folder(self, session_id: str) -> Path:
        """What is kept of a session between its processes."""
        return self.data_folder / "sessions" / session_id

    def session_config(self, session_id: str) -> Path:
        """Where a session's transcript lies."""
        return self.config_folder or self.session_folder(session_id) / "config"


@dataclass(frozen=True, slots=True)
class Opening:
    """Which conversation the CLI is to hold."""

    claude_session_id: str
    arguments: tuple[str, ...]
    resumes: bool = False
    """Whether it goes on under its own id."""

    @classmethod
    def new(cls, claude_session_id: str) -> "Opening":
        """One that begins."""
        return cls(claude_session_id, (f"--session-id={claude_session_id}",))

    @classmethod
    def resume(cls, claude_session_id: str) -> "Opening":
        """One that goes on. Raises LaunchRefused for what is no id."""
        return cls(claude_session_id, (f"--resume={_checked(claude_session_id)}",), resumes=True)

    @classmethod
    def fork(cls, claude_session_id: str, origin: str) -> "Opening":
        """One that begins with all that was said in another. Raises LaunchRefused for what is no id."""
        arguments = (f"--resume={_checked(origin)}", "--fork-session", f"--session-id={claude_session_id}")
        return cls(claude_session_id, arguments)


@dataclass(frozen=True, slots=True)
class Launch:
    """A start, decided."""

    program: Program
    session_id: str
    key: tuple[object, ...]
    """Equal for two starts that differ in nothing but the conversation and what a running CLI can be told to change."""
    files: Mapping[Path, str]
    """Files to write first, readable by the program's user only."""
    folder: Path
    """The worker's own, made first: what the CLI is to read lies in it."""
    config_folder: Path
    """Made first, too: the CLI's own, unless all jobs share it."""


def credentials_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The credentials in an environment, and what tunes the simulated CLI."""
    return {
        name: value
        for name, value in environment.items()
        if name in CREDENTIAL_NAMES or name.startswith(SIMULATOR_PREFIX)
    }


def plan(
    command: ClaudeCommand, assignment: worker_pb2.Assignment, workspace: PreparedWorkspace, session_id: str
) -> Launch:
    """Decides how to start the CLI for a job. `session_id`: of the new conversation, unless one is resumed.

    Raises LaunchRefused.
    """
    resumed = assignment.resume_claude_session_id
    opening = Opening.resume(resumed) if resumed else Opening.new(session_id)
    return plan_in(command.job_folder(assignment.lease.job_id), command, assignment.spec.claude, workspace, opening)


def plan_in(
    folder: Path, command: ClaudeCommand, task: task_pb2.ClaudeTask, workspace: PreparedWorkspace, opening: Opening
) -> Launch:
    """Decides how to start the CLI with its files in that folder. Raises LaunchRefused."""
    config_folder = command.config_folder or folder / "config"
    files: dict[Path, str] = {}
    settings = [*_task_arguments(task), *_tool_arguments(task, folder, files), *_prompt_arguments(task, folder, files)]
    arguments = (*command.arguments, *FIXED_ARGUMENTS, *_changeable_arguments(task), *settings, *opening.arguments)
    for argument in arguments:
        if len(argument.encode()) > ARGUMENT_BYTES_MAX:
            raise LaunchRefused(f"the argument {argument[:40]!r} is longer than {ARGUMENT_BYTES_MAX} bytes")
        if "\0" in argument:
            raise LaunchRefused(f"the argument {argument[:40]!r} holds a NUL, which no argument may")
    environment = _environment(command, task, config_folder, workspace)
    bypasses = task.permission_mode == task_pb2.PERMISSION_MODE_BYPASS_PERMISSIONS
    key = (tuple(settings), bypasses, tuple(sorted(environment.items())), tuple(files.items()), str(workspace.folder))
    program = Program(arguments, str(workspace.folder), environment, workspace.user)
    return Launch(program, opening.claude_session_id, key, files, folder, config_folder)


def cap_cost(assignment: worker_pb2.Assignment) -> None:
    """Has the CLI cap the cost at what the attempt has reserved of a budget, unless the task's own limit is smaller.

    The CLI counts from its start, so a process with a cap takes one turn only.
    """
    limits = assignment.spec.claude.limits
    caps = [cap for cap in (limits.max_cost_usd_micros, assignment.cost_max_usd_micros) if cap]
    if caps:
        limits.max_cost_usd_micros = min(caps)


def _checked(claude_session_id: str) -> str:
    if not SESSION_ID.fullmatch(claude_session_id):
        raise LaunchRefused(f"{claude_session_id!r} is not the id of a conversation")
    return claude_session_id


def _changeable_arguments(task: task_pb2.ClaudeTask) -> list[str]:
    """What a running CLI can be told to change."""
    mode = f"--permission-mode={PERMISSION_MODES[task.permission_mode]}"
    return [mode, f"--model={task.model}"] if task.model else [mode]


def _task_arguments(task: task_pb2.ClaudeTask) -> list[str]:
    arguments = []
    if not task.HasField("deltas") or task.deltas:
        arguments.append("--include-partial-messages")
    if task.fallback_model:
        arguments.append(f"--fallback-model={task.fallback_model}")
    if task.limits.max_turns:
        arguments.append(f"--max-turns={task.limits.max_turns}")
    if task.limits.max_cost_usd_micros:
        arguments.append(f"--max-budget-usd={task.limits.max_cost_usd_micros / 1e6:.6f}")
    if task.HasField("output_schema"):
        arguments.append(f"--json-schema={json.dumps(plain(task.output_schema), sort_keys=True)}")
    return arguments


def _tool_arguments(task: task_pb2.ClaudeTask, folder: Path, files: dict[Path, str]) -> list[str]:
    """Lists of tools; long ones become rules in a settings file."""
    arguments, rules = [], {}
    for flag, rule, tools in (
        ("--allowedTools", "allow", task.allowed_tools),
        ("--disallowedTools", "deny", task.disallowed_tools),
    ):
        joined = ",".join(tools)
        if len(joined.encode()) > ARGUMENT_INLINE_BYTES_MAX:
            rules[rule] = list(tools)
        elif tools:
            arguments.append(f"{flag}={joined}")
    if rules:
        path = folder / "settings.json"
        files[path] = json.dumps({"permissions": rules})
        arguments.append(f"--settings={path}")
    return arguments


def _prompt_arguments(task: task_pb2.ClaudeTask, folder: Path, files: dict[Path, str]) -> list[str]:
    said = task.append_system_prompt
    if not said:
        return []
    if len(said.encode()) <= ARGUMENT_INLINE_BYTES_MAX:
        return [f"--append-system-prompt={said}"]
    path = folder / "system-prompt.txt"
    files[path] = said
    return [f"--append-system-prompt-file={path}"]


def _environment(
    command: ClaudeCommand, task: task_pb2.ClaudeTask, config_folder: Path, workspace: PreparedWorkspace
) -> dict[str, str]:
    if task.environment_profile and task.environment_profile not in command.profiles:
        raise LaunchRefused(f"this worker has no environment profile {task.environment_profile!r}")
    return {
        **command.environment,
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(command.max_retries),
        **command.variables(task.environment_profile),
        "CLAUDE_CONFIG_DIR": str(config_folder),
        "TMPDIR": str(workspace.temporary),
    }


def write_files(launch: Launch) -> None:
    """Makes the folders and files that the start needs. Raises LaunchRefused, OSError."""
    user = launch.program.user
    make_passage(launch.folder, user)
    if launch.config_folder.parent == launch.folder:
        try:
            make_folder(launch.config_folder, user)
        except PermissionError as error:
            raise LaunchRefused(f"the conversation began as another user: {error}") from error
    else:
        launch.config_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in launch.files.items():
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(content)
        if user is not None:
            os.chown(path, user.uid, user.gid)


def plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A Struct as JSON data, with its whole numbers whole."""
    whole: dict[str, Any] = _whole(json_format.MessageToDict(struct))
    return whole


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
