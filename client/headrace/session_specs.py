"""Sessions, changes of them and answers from plain Python values. Pure; only the server judges what is valid."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from headrace import fields, tasks
from headrace.options import check_names
from headrace.policies import Seconds, optional_duration
from headrace.v1 import input_pb2, job_pb2, session_pb2, task_pb2

Settings = task_pb2.ClaudeTask | session_pb2.SessionSpec


class SessionOptions(tasks.ConversationOptions, total=False):
    """What all turns of a session have in common; see `SessionSpec` in `session.proto`."""

    queue: str
    owner: str
    display_name: str
    labels: Mapping[str, str]
    priority: int
    retry_policy: job_pb2.RetryPolicy
    """Best made with `headrace.retry_policy`."""
    timeouts: job_pb2.Timeouts
    """Of each turn; best made with `headrace.timeouts`."""
    placement: job_pb2.Placement
    """Best made with `headrace.placement`."""
    output_bytes_max: int
    """Of each turn."""
    idle_timeout: Seconds
    """How long an idle session keeps its process; left out: 5 minutes."""
    snapshots: str | session_pb2.SnapshotPolicy
    """What the server keeps of it after each turn, so that it can go on when its worker is lost: `none`, which is the
    default, `transcript`, or `workspace` for the transcript and the session's own folder."""


class SessionChanges(TypedDict, total=False):
    """What can be changed of a session. Model and permission mode hold at once, all else from the next turn on."""

    display_name: str
    labels: Mapping[str, str]
    priority: int
    idle_timeout: Seconds
    timeouts: job_pb2.Timeouts
    retry_policy: job_pb2.RetryPolicy
    model: str
    fallback_model: str
    permission_mode: str | task_pb2.PermissionMode
    ask: bool
    allowed_tools: Sequence[str]
    disallowed_tools: Sequence[str]
    append_system_prompt: str
    max_turns: int
    """Set together with `max_cost_usd`: the one that is left out becomes no limit."""
    max_cost_usd: float


SNAPSHOTS: Mapping[str, session_pb2.SnapshotPolicy] = {
    "": session_pb2.SNAPSHOT_POLICY_UNSPECIFIED,
    "none": session_pb2.SNAPSHOT_POLICY_NONE,
    "transcript": session_pb2.SNAPSHOT_POLICY_TRANSCRIPT,
    "workspace": session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE,
}
"""Policies by the words that people use."""
_OF_TASK = {
    "model": "task.model",
    "fallback_model": "task.fallback_model",
    "permission_mode": "task.permission_mode",
    "ask": "task.permission_prompts",
    "allowed_tools": "task.allowed_tools",
    "disallowed_tools": "task.disallowed_tools",
    "append_system_prompt": "task.append_system_prompt",
    "max_turns": "task.limits",
    "max_cost_usd": "task.limits",
}
"""Paths in the contract of what is said of the task."""
_OF_SPEC = frozenset(SessionOptions.__annotations__) - frozenset(tasks.ConversationOptions.__annotations__)


def session(settings: Settings | None = None, **options: Unpack[SessionOptions]) -> session_pb2.SessionSpec:
    """A session's spec from options; a task without prompt or a spec is taken as it is, with the options over it."""
    check_names(options, SessionOptions)
    made = session_pb2.SessionSpec()
    match settings:
        case session_pb2.SessionSpec():
            made.CopyFrom(settings)
        case task_pb2.ClaudeTask():
            made.task.CopyFrom(settings)
        case None:
            pass
        case _:
            raise TypeError(f"a session is made from a ClaudeTask or SessionSpec, not from {type(settings).__name__}")
    made.MergeFrom(_spec_of(options))
    return made


def changes(options: SessionChanges) -> tuple[session_pb2.SessionSpec, FieldMask]:
    """The new values, and the paths of all that is given."""
    check_names(options, SessionChanges)
    paths = dict.fromkeys(_OF_TASK.get(name, name) for name in options)
    return _spec_of(options), FieldMask(paths=paths)


def snapshot_policy(policy: str | session_pb2.SnapshotPolicy) -> session_pb2.SnapshotPolicy:
    """A policy by its word. Raises ValueError for another word."""
    if not isinstance(policy, str):
        return policy
    if policy not in SNAPSHOTS:
        raise ValueError(f"{policy!r} is not what snapshots can be of: {', '.join(filter(None, SNAPSHOTS))}")
    return SNAPSHOTS[policy]


def answer(
    request_id: str,
    allow: bool,
    message: str = "",
    updated_input: Mapping[str, Any] | None = None,
    interrupt: bool = False,
) -> input_pb2.InputAnswer:
    """The answer to a request for input."""
    return input_pb2.InputAnswer(
        request_id=request_id,
        allow=allow,
        message=message,
        updated_input_json="" if updated_input is None else json.dumps(dict(updated_input), ensure_ascii=False),
        interrupt=interrupt,
    )


def _spec_of(options: SessionOptions | SessionChanges) -> session_pb2.SessionSpec:
    of_spec: dict[str, Any] = {name: value for name, value in options.items() if name in _OF_SPEC}
    of_task: dict[str, Any] = {name: value for name, value in options.items() if name not in _OF_SPEC}
    of_spec["idle_timeout"] = optional_duration(of_spec.get("idle_timeout"))
    of_spec["snapshots"] = snapshot_policy(of_spec.get("snapshots", ""))
    made = fields.message(session_pb2.SessionSpec, **of_spec)
    if of_task:
        made.task.CopyFrom(tasks.claude("", **of_task))
    return made
