"""The rules of the three kinds of task: what can never run is refused at submit (S6).

What depends on a worker (is the program allowed, is the folder inside a root) is the worker's to say.
"""

import re
from collections.abc import Iterable
from typing import Any

from headrace.v1 import task_pb2
from headrace_server.core import limits
from headrace_server.rpc.checks.violations import (
    CONTROL_CHARACTERS,
    FieldCheck,
    Rules,
    Violations,
    anything,
    at_least_zero,
    bytes_within,
    check_fields,
    duration,
    each,
    each_entry,
    enum,
    job_id,
    message_of,
    pattern,
    structured_within,
    text,
)

PATH_CHARACTERS_MAX = 4096
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HANDLER_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{limits.HANDLER_NAME_CHARACTERS_MAX}}}")


def option_value(characters_max: int) -> FieldCheck:
    """Text that becomes the value of a command-line option: it must not look like an option itself."""
    bounded = text(characters_max)

    def check(value: str, path: str, violations: Violations) -> None:
        bounded(value, path, violations)
        if value.startswith("-"):
            violations.add(path, "must not begin with '-'")

    return check


def tool(value: str, path: str, violations: Violations) -> None:
    """The name of a tool, with an optional pattern."""
    if not value.strip():
        violations.add(path, "is empty")
    else:
        option_value(limits.KEY_CHARACTERS_MAX)(value, path, violations)


def absolute_folder(value: str, path: str, violations: Violations) -> None:
    """An absolute path without `.` and `..`, so that it means the same to everybody who compares it."""
    if len(value) > PATH_CHARACTERS_MAX:
        violations.add(path, f"has {len(value)} characters; at most {PATH_CHARACTERS_MAX} are allowed")
    elif CONTROL_CHARACTERS.search(value):
        violations.add(path, "holds a control character")
    elif not value.startswith("/"):
        violations.add(path, "has to be an absolute path")
    elif {".", ".."} & set(value.split("/")):
        violations.add(path, "must not hold '.' or '..'")


def program(value: str, path: str, violations: Violations) -> None:
    """A bare name, or an absolute path: never relative to a folder that the caller does not know."""
    if "/" in value:
        absolute_folder(value, path, violations)
    else:
        option_value(limits.KEY_CHARACTERS_MAX)(value, path, violations)


def arguments(values: Iterable[str], path: str, violations: Violations) -> None:
    """Bounded in number and together in bytes, as the kernel takes them."""
    items = list(values)
    if len(items) > limits.ARGUMENTS_COUNT_MAX:
        violations.add(path, f"has {len(items)} items; at most {limits.ARGUMENTS_COUNT_MAX} are allowed")
        return
    size = sum(len(item.encode()) for item in items)
    if size > limits.ARGUMENTS_BYTES_MAX:
        violations.add(path, f"has {size} bytes; at most {limits.ARGUMENTS_BYTES_MAX} are allowed together")
    for index, item in enumerate(items):
        if "\0" in item:
            violations.add(f"{path}[{index}]", "holds a NUL character")


def workspace(value: task_pb2.Workspace, path: str, violations: Violations) -> None:
    """One kind of folder."""
    check_fields(value, WORKSPACE, path + ".", violations)
    kind = value.WhichOneof("kind")
    if kind == "folder" and not value.folder:
        violations.add(path + ".folder", "is empty")
    elif kind == "git_worktree" and not value.git_worktree.repository:
        violations.add(path + ".git_worktree.repository", "is required")
    if value.shared and kind != "folder":
        violations.add(path + ".shared", "can be said of a given folder only: any other one is the job's own")


def _of_command(value: task_pb2.Workspace, path: str, violations: Violations) -> None:
    workspace(value, path, violations)
    if value.shared and value.folder:
        violations.add(path + ".shared", "can't be said of a command: it has no folder to itself")


def claude(value: task_pb2.ClaudeTask, path: str, violations: Violations) -> None:
    """A Claude Code turn."""
    if not value.prompt:
        violations.add(path + ".prompt", "is required")
    for name in OF_SESSION if value.session_id else ():
        if value.HasField(name) if name == "workspace" else getattr(value, name):
            violations.add(f"{path}.{name}", "has to be left out with a session_id: the session has it")
    if value.HasField("response_cache"):
        for name in ("session_id", "allowed_tools", "workspace"):
            if value.HasField(name) if name == "workspace" else getattr(value, name):
                what = f"can't be had with {name}: only a question alone has one answer"
                violations.add(f"{path}.response_cache", what)
    check_fields(value, CLAUDE, path + ".", violations)


def _response_cache(value: task_pb2.ResponseCache, path: str, violations: Violations) -> None:
    check_fields(value, RESPONSE_CACHE, path + ".", violations)
    low, high = limits.CACHE_TTL_SECONDS_MIN, limits.CACHE_TTL_SECONDS_MAX
    if not low <= value.ttl.seconds <= high:
        violations.add(f"{path}.ttl", f"is required, and has to be from {low} to {high} seconds")


def command(value: task_pb2.CommandTask, path: str, violations: Violations) -> None:
    """One allowed program."""
    if not value.program:
        violations.add(path + ".program", "is required")
    check_fields(value, COMMAND, path + ".", violations)


def handler(value: task_pb2.HandlerTask, path: str, violations: Violations) -> None:
    """A registered function."""
    if not value.name:
        violations.add(path + ".name", "is required")
    check_fields(value, HANDLER, path + ".", violations)


OF_SESSION = ("workspace", "environment_profile")
"""Fields of a turn that only its session can have."""
_tools = each(tool, limits.TOOLS_COUNT_MAX)
_model = option_value(limits.KEY_CHARACTERS_MAX)
_variable_name = pattern(_VARIABLE, "a name of letters, digits and _, not beginning with a digit")

GIT_WORKTREE: Rules = {
    "repository": absolute_folder,
    "ref": option_value(limits.KEY_CHARACTERS_MAX),
    "branch": option_value(limits.KEY_CHARACTERS_MAX),
}
WORKSPACE: Rules = {
    "folder": absolute_folder,
    "git_worktree": message_of(GIT_WORKTREE),
    "empty": anything,
    "shared": anything,
}
CLAUDE_LIMITS: Rules = {"max_turns": at_least_zero, "max_cost_usd_micros": at_least_zero}
RESPONSE_CACHE: Rules = {"ttl": duration, "epoch": text(limits.KEY_CHARACTERS_MAX)}
CLAUDE: Rules = {
    "prompt": bytes_within(limits.PROMPT_BYTES_MAX),
    "session_id": job_id,
    "model": _model,
    "fallback_model": _model,
    "allowed_tools": _tools,
    "disallowed_tools": _tools,
    "permission_mode": enum(task_pb2.PermissionMode),
    "permission_prompts": enum(task_pb2.PermissionPrompts),
    "append_system_prompt": bytes_within(limits.SYSTEM_PROMPT_BYTES_MAX),
    "limits": message_of(CLAUDE_LIMITS),
    "workspace": workspace,
    "output_schema": structured_within(limits.HANDLER_INPUT_BYTES_MAX),
    "deltas": anything,
    "resume_policy": enum(task_pb2.ResumePolicy),
    "environment_profile": text(limits.KEY_CHARACTERS_MAX),
    "response_cache": _response_cache,
}
COMMAND: Rules = {
    "program": program,
    "arguments": arguments,
    "environment": each_entry(
        _variable_name, bytes_within(limits.ARGUMENTS_BYTES_MAX - 4096), limits.ENVIRONMENT_COUNT_MAX
    ),
    "workspace": _of_command,
    "stdin": bytes_within(limits.STDIN_BYTES_MAX),
}
HANDLER: Rules = {
    "name": pattern(
        _HANDLER_NAME, f"1 to {limits.HANDLER_NAME_CHARACTERS_MAX} characters of A-Z, a-z, 0-9, _, . and -"
    ),
    "input": structured_within(limits.HANDLER_INPUT_BYTES_MAX),
}


def task_required(spec: Any, prefix: str, violations: Violations) -> None:
    """A job has exactly one task; the oneof sees to there being no second."""
    if spec.WhichOneof("task") is None:
        violations.add(prefix + "task", "is required: one of claude, command, handler")
