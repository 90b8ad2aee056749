"""The frames of the protocol, built as the real program shapes them.

Pure construction: what to say and when is decided by the conversation. Every init carries a version that no real
program has, so that whatever came from here can be told apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace_worker.simulator.ledger import Usage
from headrace_worker.simulator.output import Json
from headrace_worker.simulator.timing import Ids, timestamp

VERSION = "simulated-1"
TOOLS = ("Task", "Bash", "Edit", "Glob", "Grep", "Read", "WebFetch", "Write")
_QUESTION_TOOL = "AskUserQuestion"
_CAPABILITIES = ("interrupt_receipt_v1",)


def text_block(text: str) -> Json:
    return {"type": "text", "text": text}


def thinking_block(text: str) -> Json:
    return {"type": "thinking", "thinking": text, "signature": "simulated"}


def tool_block(identifier: str, name: str, tool_input: Json) -> Json:
    return {"type": "tool_use", "id": identifier, "name": name, "input": tool_input}


class Frames:
    """Builds frames of one session."""

    def __init__(self, session_id: str, cwd: str, ids: Ids) -> None:
        self.session_id = session_id
        self._cwd = cwd
        self._ids = ids

    def init(self, model: str, permission_mode: str, tools: Sequence[str], key_source: str) -> Json:
        return self._system(
            "init",
            cwd=self._cwd,
            tools=list(tools),
            mcp_servers=[],
            model=model,
            permissionMode=permission_mode,
            slash_commands=[],
            apiKeySource=key_source,
            claude_code_version=VERSION,
            output_style="default",
            agents=[],
            skills=[],
            plugins=[],
            capabilities=list(_CAPABILITIES),
            original_cwd=self._cwd,
            additional_directories=[],
            fast_mode_state="off",
        )

    def state(self, state: str) -> Json:
        return self._system("session_state_changed", state=state, sdk_host_only=True)

    def status(self, status: str | None, **extra: Any) -> Json:
        return self._system("status", status=status, **extra)

    def lifecycle(self, message_uuid: str, state: str) -> Json:
        """What becomes of a user line that came with an id: queued, started, completed."""
        return self._stamped({"type": "command_lifecycle", "command_uuid": message_uuid, "state": state})

    def api_retry(self, attempt: int, maximum: int, delay_ms: int, status: int | None, error: str) -> Json:
        return self._system(
            "api_retry",
            attempt=attempt,
            max_retries=maximum,
            retry_delay_ms=delay_ms,
            error_status=status,
            error=error,
        )

    def permission_denied(self, name: str, identifier: str, message: str, **extra: Any) -> Json:
        return self._system("permission_denied", tool_name=name, tool_use_id=identifier, message=message, **extra)

    def tasks_changed(self, tasks: Sequence[Json]) -> Json:
        """Every background task that runs now."""
        return self._system("background_tasks_changed", tasks=list(tasks))

    def task_started(self, task: Json, tool_use_id: str) -> Json:
        return self._system("task_started", **task, tool_use_id=tool_use_id, is_backgrounded=True)

    def task_notification(self, task_id: str, summary: str) -> Json:
        return self._system("task_notification", task_id=task_id, status="completed", summary=summary)

    def rate_limit(self, info: Json) -> Json:
        return self._stamped({"type": "rate_limit_event", "rate_limit_info": info})

    def stream_event(self, message_id: str, event: Json, **extra: Any) -> Json:
        return self._stamped(
            {"type": "stream_event", "event": event, "parent_tool_use_id": None},
            api_message_id=message_id,
            **extra,
        )

    def message_start(self, message_id: str, model: str, usage: Usage) -> Json:
        return {"type": "message_start", "message": self._message(message_id, model, [], usage)}

    def assistant(self, message_id: str, request_id: str, model: str, block: Json, usage: Usage, **extra: Any) -> Json:
        message = {**self._message(message_id, model, [block], usage), "context_management": None}
        return self._stamped(
            {"type": "assistant", "message": message, "parent_tool_use_id": None},
            timestamp=timestamp(),
            request_id=request_id,
            **extra,
        )

    def synthetic(self, text: str, error: str, extra: Mapping[str, Any]) -> Json:
        """An API failure, said as if it were the model's answer."""
        message = {
            **self._message(self._ids.uuid(), "<synthetic>", [text_block(text)], Usage()),
            "stop_reason": "stop_sequence",
            "stop_sequence": "",
            "context_management": None,
        }
        return self._stamped(
            {"type": "assistant", "message": message, "parent_tool_use_id": None},
            timestamp=timestamp(),
            error=error,
            is_api_error_message=True,
            **extra,
        )

    def user_text(self, text: str, **extra: Any) -> Json:
        return self._user([text_block(text)], **extra)

    def replayed(self, content: str | list[Any], identifier: str | None) -> Json:
        frame = self._user(content, isReplay=True)
        return {**frame, "uuid": identifier or frame["uuid"]}

    def tool_result(
        self, identifier: str, content: str, *, is_error: bool, outcome: object, meta: Json | None = None
    ) -> Json:
        block = {"tool_use_id": identifier, "type": "tool_result", "content": content, "is_error": is_error}
        extra = {} if meta is None else {"tool_result_meta": [{"id": identifier, **meta}]}
        return self._user([block], tool_use_result=outcome, **extra)

    def tool_progress(self, name: str, identifier: str, elapsed_seconds: float) -> Json:
        return self._stamped(
            {"type": "tool_progress", "tool_use_id": identifier, "tool_name": name, "parent_tool_use_id": None},
            elapsed_time_seconds=elapsed_seconds,
        )

    def can_use_tool(
        self, request_id: str, name: str, identifier: str, tool_input: Json, description: str | None
    ) -> Json:
        """A question to the host; one without a description needs a person's own words."""
        request: Json = {"subtype": "can_use_tool", "tool_name": name, "display_name": name, "input": tool_input}
        if description is None:
            request["requires_user_interaction"] = True
        else:
            request["description"] = description
            request["permission_suggestions"] = [{"type": "setMode", "mode": "acceptEdits", "destination": "session"}]
        request["tool_use_id"] = identifier
        return {"type": "control_request", "request_id": request_id, "request": request}

    def cancel_request(self, request_id: str) -> Json:
        return {"type": "control_cancel_request", "request_id": request_id}

    def result(self, fields: Mapping[str, Any]) -> Json:
        return self._stamped({"type": "result", **fields})

    def bare(self, frame: Json) -> Json:
        """A frame that a script wrote, completed with what every frame has."""
        return {"session_id": self.session_id, "uuid": self._ids.uuid(), **frame}

    def _message(self, message_id: str, model: str, content: list[Json], usage: Usage) -> Json:
        return {
            "id": message_id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage.per_message(),
        }

    def _user(self, content: str | list[Any], **extra: Any) -> Json:
        return self._stamped(
            {"type": "user", "message": {"role": "user", "content": content}, "parent_tool_use_id": None},
            timestamp=timestamp(),
            **extra,
        )

    def _system(self, subtype: str, **fields: Any) -> Json:
        return self._stamped({"type": "system", "subtype": subtype, **fields})

    def _stamped(self, frame: Json, **extra: Any) -> Json:
        return {**frame, "session_id": self.session_id, "uuid": self._ids.uuid(), **extra}


def greeting(permission_mode: str, pid: int) -> Json:
    """The answer to `initialize`."""
    return {
        "commands": [],
        "agents": [],
        "output_style": "default",
        "available_output_styles": [],
        "models": [],
        "pid": pid,
        "claude_code_version": VERSION,
        "current_permission_mode": permission_mode,
        "session_state": "idle",
    }


def tools_offered(*, asks_host: bool, has_schema: bool, withheld: Sequence[str]) -> tuple[str, ...]:
    """The tools that an init names."""
    offered = (*TOOLS, *((_QUESTION_TOOL,) if asks_host else ()), *(("StructuredOutput",) if has_schema else ()))
    return tuple(tool for tool in offered if tool not in withheld)
