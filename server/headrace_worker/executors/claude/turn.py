"""What the frames so far say about a conversation: its phase, what it used, whether it may have changed the world.

Pure: it takes frames in and answers questions. Time, processes and delivery never enter here.
"""

from enum import Enum

from headrace.v1 import outcome_pb2
from headrace_worker.executors.claude.usage import SYNTHETIC_MODEL, UsageMeter
from headrace_worker.executors.claude.wire import Body, Frame, integer, mapping, mappings, text

READ_ONLY_TOOLS = frozenset(
    {
        "Agent",
        "AskUserQuestion",
        "BashOutput",
        "CronList",
        "EnterPlanMode",
        "ExitPlanMode",
        "Glob",
        "Grep",
        "LS",
        "ListAgents",
        "ListMcpResourcesTool",
        "NotebookRead",
        "Read",
        "ReadMcpResourceTool",
        "ReportFindings",
        "StructuredOutput",
        "Task",
        "TaskOutput",
        "TodoRead",
        "TodoWrite",
        "ToolSearch",
        "WebFetch",
        "WebSearch",
    }
)
"""Tools that change nothing outside the conversation. A subagent's own calls are seen as they are made."""
TOOLS_OPEN_COUNT_MAX = 10_000
FRAME_NAME_CHARACTERS_MAX = 100


class Phase(Enum):
    """What the CLI is doing, as far as its silence is judged."""

    START = "start"
    FIRST_TOKEN = "first_token"
    STREAMING = "streaming"
    TOOL = "tool"
    AFTER_TOOL = "after_tool"
    COMPACTING = "compacting"
    BACKGROUND = "background"
    WAITING_PERSON = "waiting_person"
    CLOSING = "closing"


class Turn:
    """The fold of the frames of one turn, or, of a process that has one prompt only, of all of them."""

    def __init__(self, meter: UsageMeter | None = None) -> None:
        self.phase = Phase.START
        self.meter = meter or UsageMeter()
        self.frames = 0
        self.results = 0
        self.running = False
        """Whether a turn has begun and not ended."""
        self.session_id = ""
        self.model = ""
        self.dirty = False
        self.background = False
        """Whether tasks run that will start a turn of their own when they end."""
        self.had_background = False
        self.result: Body | None = None
        """The last result."""
        self.assistant_error: Body | None = None
        """The last assistant frame, if it stands for an error."""
        self.rate_limit: Body | None = None
        """The last word on a usage limit."""
        self.api_retry: Body | None = None
        """The last retry that nothing good followed."""
        self.first_token_seconds: float | None = None
        """From when the message was said until the model's first word."""
        self.last_text = ""
        """What the model said last in the main conversation."""
        self.last_frame = ""
        """Type and subtype of the last frame."""
        self._tools: dict[str, str] = {}

    def next(self) -> "Turn":
        """The fold of the turn after this one in the same process; nothing of this one counts there."""
        following = Turn(self.meter.next())
        following.phase = Phase.FIRST_TOKEN
        following.session_id, following.model = self.session_id, self.model
        following.background = following.had_background = self.background
        return following

    @property
    def open_tools(self) -> list[str]:
        """Names of the tools that have been called and have not returned."""
        return sorted(set(self._tools.values()))

    def said(self) -> None:
        """The host has sent a message, so a turn begins."""
        self.running = True
        self.phase = Phase.FIRST_TOKEN

    def absorbed(self) -> None:
        """The CLI has taken a message into the turn; the result will be that message's, and settle what was used."""
        self.running = False
        self.results += 1
        self.result = {"subtype": "success", "result": self.last_text, "session_id": self.session_id}
        self.meter = UsageMeter()

    def closed(self) -> None:
        """The host has closed the CLI's input and waits for its exit."""
        if not self.running:
            self.phase = Phase.CLOSING

    def observe(self, frame: Frame) -> outcome_pb2.Usage | None:
        """Takes in a frame; for a result, returns what was used since the one before."""
        body = frame.body
        if body is None:
            return None
        self.frames += 1
        self.last_frame = f"{frame.type} {frame.subtype}".strip()[:FRAME_NAME_CHARACTERS_MAX]
        if frame.type == "result":
            return self._result(body)
        self.meter.observe(body)
        match frame.type:
            case "system":
                self._system(body, frame.subtype)
            case "assistant":
                self._assistant(body)
            case "user":
                self._user(body)
            case "stream_event":
                self.api_retry = None
                if not self._tools:
                    self.phase = Phase.STREAMING
            case "rate_limit_event":
                self.rate_limit = mapping(body, "rate_limit_info")
        return None

    def auth_failed(self) -> bool:
        """Whether the CLI retries what a retry can't help: a credential that is refused."""
        retry = self.api_retry
        return retry is not None and (
            text(retry, "error") == "authentication_failed" or integer(retry, "error_status") in (401, 403)
        )

    def _system(self, body: Body, subtype: str) -> None:
        match subtype:
            case "init":
                self.session_id = text(body, "session_id") or self.session_id
                self.model = text(body, "model") or self.model
                self.running = True
                self._tools.clear()
                self.phase = Phase.FIRST_TOKEN
            case "api_retry":
                self.api_retry = body
                self.phase = Phase.FIRST_TOKEN
            case "status":
                if text(body, "status") == "compacting":
                    self.phase = Phase.COMPACTING
                elif self.phase is Phase.COMPACTING:
                    self.phase = Phase.FIRST_TOKEN
            case "compact_boundary":
                self.phase = Phase.FIRST_TOKEN
            case "background_tasks_changed":
                self.background = bool(mappings(body, "tasks"))
                self.had_background = self.had_background or self.background

    def _assistant(self, body: Body) -> None:
        message = mapping(body, "message")
        self.assistant_error = body if text(body, "error") else None
        if text(message, "model") != SYNTHETIC_MODEL:
            self.api_retry = None
            self.model = text(message, "model") or self.model
        for part in mappings(message, "content"):
            if text(part, "type") == "tool_use":
                self._tool(part)
            elif text(part, "type") == "text" and not (text(body, "parent_tool_use_id") or self.assistant_error):
                self.last_text = text(part, "text")
        self.phase = Phase.TOOL if self._tools else Phase.STREAMING

    def _tool(self, part: Body) -> None:
        name = text(part, "name")
        if name not in READ_ONLY_TOOLS:
            self.dirty = True
        if len(self._tools) < TOOLS_OPEN_COUNT_MAX:
            self._tools[text(part, "id")] = name

    def _user(self, body: Body) -> None:
        for part in mappings(mapping(body, "message"), "content"):
            if text(part, "type") == "tool_result":
                self._tools.pop(text(part, "tool_use_id"), None)
        if not self._tools:
            self.phase = Phase.AFTER_TOOL

    def _result(self, body: Body) -> outcome_pb2.Usage:
        self.results += 1
        self.result = body
        self.running = False
        self._tools.clear()
        self.session_id = text(body, "session_id") or self.session_id
        self.phase = Phase.BACKGROUND if self.background else Phase.CLOSING
        return self.meter.settle(body)
