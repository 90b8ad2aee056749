"""Tasks and job specs from plain Python values. Pure: nothing is sent, and only the server judges what is valid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from headrace import fields, words
from headrace.options import check_names
from headrace.policies import Seconds, duration
from headrace.v1 import job_pb2, task_pb2

__all__ = ["Seconds", "Task", "claude", "command", "duration", "handler", "spec", "struct", "timestamp"]

Task = task_pb2.ClaudeTask | task_pb2.CommandTask | task_pb2.HandlerTask

MICROS = 1_000_000


class SpecOptions(TypedDict, total=False):
    """What a job may say beside its task; see `JobSpec` in `job.proto`."""

    queue: str
    owner: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    schedule_time: datetime
    retry_policy: job_pb2.RetryPolicy
    """Best made with `headrace.retry_policy`."""
    timeouts: job_pb2.Timeouts
    """Best made with `headrace.timeouts`."""
    after: Sequence[str | job_pb2.Dependency]
    """Jobs that have to end first: ids, or dependencies by ref."""
    dependency_condition: str | job_pb2.DependencyCondition
    """`all-succeeded` (default), `all-ended` or `any-succeeded`."""
    dependency_failure_action: str | job_pb2.DependencyFailureAction
    """When the condition can no longer come true: `skip` (default) or `fail`."""
    dependency_cancel_action: str | job_pb2.DependencyCancelAction
    """When a job it depends on is cancelled: `evaluate` the condition (default) or `cancel`."""
    unique_key: str | job_pb2.UniqueKey
    """A key, or a key with its conflict from `headrace.unique_key`."""
    concurrency_key: str
    placement: job_pb2.Placement
    """Best made with `headrace.placement`."""
    output_bytes_max: int


class ConversationOptions(TypedDict, total=False):
    """How Claude works, in one turn or in all turns of a session; see `ClaudeTask` in `task.proto`."""

    folder: str
    """An existing folder to work in; absent means a new empty one."""
    share_folder: bool
    """Other jobs may work in that folder at the same time."""
    repository: str
    """A git repository to make a worktree of, at `ref`."""
    ref: str
    branch: str
    """A branch of that repository to make of the result."""
    model: str
    fallback_model: str
    allowed_tools: Sequence[str]
    disallowed_tools: Sequence[str]
    permission_mode: str | task_pb2.PermissionMode
    """In the CLI's word, e.g. `acceptEdits`, or the enum's value."""
    ask: bool
    """Waits for a person when the CLI asks, instead of denying at once."""
    append_system_prompt: str
    max_turns: int
    max_cost_usd: float
    output_schema: Mapping[str, Any]
    deltas: bool
    resume_policy: task_pb2.ResumePolicy
    environment_profile: str


class ClaudeOptions(ConversationOptions, total=False):
    """What a Claude turn may say beside its prompt."""

    response_cache: Seconds
    """Takes an answer that is no older, and leaves one: for a question without session, tools and workspace."""

    session_id: str
    """The Headrace session that this turn continues; absent means a conversation of one turn."""


def claude(prompt: str, **options: Unpack[ClaudeOptions]) -> task_pb2.ClaudeTask:
    """A Claude Code turn."""
    check_names(options, ClaudeOptions)
    task = fields.message(
        task_pb2.ClaudeTask,
        prompt=prompt,
        session_id=options.get("session_id", ""),
        model=options.get("model", ""),
        fallback_model=options.get("fallback_model", ""),
        allowed_tools=options.get("allowed_tools", ()),
        disallowed_tools=options.get("disallowed_tools", ()),
        permission_mode=permission_mode(options.get("permission_mode", "")),
        append_system_prompt=options.get("append_system_prompt", ""),
        resume_policy=options.get("resume_policy", task_pb2.RESUME_POLICY_UNSPECIFIED),
        environment_profile=options.get("environment_profile", ""),
    )
    if "response_cache" in options:
        task.response_cache.ttl.CopyFrom(duration(options["response_cache"]))
    if options.get("ask"):
        task.permission_prompts = task_pb2.PERMISSION_PROMPTS_ASK
    if options.get("max_turns"):
        task.limits.MergeFrom(fields.message(task_pb2.ClaudeLimits, max_turns=options["max_turns"]))
    if options.get("max_cost_usd"):
        task.limits.max_cost_usd_micros = usd_micros("max_cost_usd", options["max_cost_usd"])
    if "output_schema" in options:
        task.output_schema.CopyFrom(struct(options["output_schema"]))
    if "deltas" in options:
        task.deltas = options["deltas"]
    place = workspace(
        options.get("folder", ""), options.get("repository", ""), options.get("ref", ""), options.get("branch", "")
    )
    if options.get("share_folder"):
        if not options.get("folder"):
            raise ValueError("`share_folder` needs a `folder`")
        place = task_pb2.Workspace(folder=options["folder"], shared=True)
    if place is not None:
        task.workspace.CopyFrom(place)
    return task


def command(
    program: str,
    *arguments: str,
    folder: str = "",
    repository: str = "",
    ref: str = "",
    branch: str = "",
    environment: Mapping[str, str] | None = None,
    stdin: bytes | str = b"",
) -> task_pb2.CommandTask:
    """One allowed program, run without a shell."""
    return fields.message(
        task_pb2.CommandTask,
        program=program,
        arguments=arguments,
        environment=environment,
        workspace=workspace(folder, repository, ref, branch),
        stdin=stdin.encode() if isinstance(stdin, str) else stdin,
    )


def handler(name: str, input: Mapping[str, Any] | None = None) -> task_pb2.HandlerTask:
    """A function that a worker registered under `name`; `input` is a JSON object."""
    return fields.message(task_pb2.HandlerTask, name=name, input=None if input is None else struct(input))


def spec(task: Task | job_pb2.JobSpec, **options: Unpack[SpecOptions]) -> job_pb2.JobSpec:
    """A job spec from a task and options; a spec is taken as it is, with the options laid over it."""
    check_names(options, SpecOptions)
    made = job_pb2.JobSpec()
    match task:
        case job_pb2.JobSpec():
            made.CopyFrom(task)
        case task_pb2.ClaudeTask():
            made.claude.CopyFrom(task)
        case task_pb2.CommandTask():
            made.command.CopyFrom(task)
        case task_pb2.HandlerTask():
            made.handler.CopyFrom(task)
        case _:
            raise TypeError(f"a job is made from a task or a JobSpec, not from {type(task).__name__}")
    made.MergeFrom(_spec_of(options))
    return made


def usd_micros(name: str, dollars: float) -> int:
    """Millionths of a dollar. Raises ValueError for less than one, which would be taken for no limit."""
    if not math.isfinite(dollars) or 0 < dollars < 1 / MICROS:
        raise ValueError(f"{name} is {dollars}; it has to be 0, or a number from {1 / MICROS:f} on")
    return round(dollars * MICROS)


def timestamp(value: datetime) -> Timestamp:
    """A protobuf timestamp from a datetime, which has to know its zone."""
    if value.tzinfo is None:
        raise ValueError("a time needs a time zone, e.g. datetime.now(timezone.utc)")
    made = Timestamp()
    made.FromDatetime(value)
    return made


def struct(value: Mapping[str, Any]) -> Struct:
    """A protobuf struct from a JSON object."""
    made = Struct()
    made.update(dict(value))
    return made


def workspace(folder: str, repository: str, ref: str, branch: str) -> task_pb2.Workspace | None:
    """Where a task works; None leaves it to the server: a new empty folder."""
    if folder and repository:
        raise ValueError("a task works either in a folder or in a worktree of a repository, not in both")
    if (ref or branch) and not repository:
        raise ValueError("`ref`, or `branch`, needs a `repository`")
    if folder:
        return task_pb2.Workspace(folder=folder)
    if repository:
        worktree = task_pb2.GitWorktree(repository=repository, ref=ref, branch=branch)
        return task_pb2.Workspace(git_worktree=worktree)
    return None


PERMISSION_MODES: Mapping[str, task_pb2.PermissionMode] = {
    "": task_pb2.PERMISSION_MODE_UNSPECIFIED,
    "default": task_pb2.PERMISSION_MODE_DEFAULT,
    "acceptEdits": task_pb2.PERMISSION_MODE_ACCEPT_EDITS,
    "plan": task_pb2.PERMISSION_MODE_PLAN,
    "bypassPermissions": task_pb2.PERMISSION_MODE_BYPASS_PERMISSIONS,
    "dontAsk": task_pb2.PERMISSION_MODE_DONT_ASK,
}
"""The CLI's words for its modes."""


def permission_mode(mode: str | task_pb2.PermissionMode) -> task_pb2.PermissionMode:
    """The mode for the CLI's word. Raises ValueError with the words that there are."""
    if not isinstance(mode, str):
        return mode
    if mode not in PERMISSION_MODES:
        raise ValueError(f"{mode!r} is not a permission mode: {', '.join(filter(None, PERMISSION_MODES))}")
    return PERMISSION_MODES[mode]


def _spec_of(options: SpecOptions) -> job_pb2.JobSpec:
    key = options.get("unique_key")
    when = options.get("schedule_time")
    return fields.message(
        job_pb2.JobSpec,
        queue=options.get("queue", ""),
        owner=options.get("owner", ""),
        display_name=options.get("display_name", ""),
        labels=options.get("labels"),
        priority=options.get("priority", 0),
        schedule_time=None if when is None else timestamp(when),
        retry_policy=options.get("retry_policy"),
        timeouts=options.get("timeouts"),
        dependencies=[_dependency(one) for one in options.get("after", ())],
        dependency_condition=words.chosen(job_pb2.DependencyCondition, options.get("dependency_condition")),
        dependency_failure_action=words.chosen(
            job_pb2.DependencyFailureAction, options.get("dependency_failure_action")
        ),
        dependency_cancel_action=words.chosen(job_pb2.DependencyCancelAction, options.get("dependency_cancel_action")),
        unique_key=job_pb2.UniqueKey(key=key) if isinstance(key, str) else key,
        concurrency_key=options.get("concurrency_key", ""),
        placement=options.get("placement"),
        output_bytes_max=options.get("output_bytes_max", 0),
    )


def _dependency(one: str | job_pb2.Dependency) -> job_pb2.Dependency:
    return job_pb2.Dependency(job_id=one) if isinstance(one, str) else one
