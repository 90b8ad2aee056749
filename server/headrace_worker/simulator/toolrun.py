"""The tool loop: for each tool call the permission, the run, and the result that the model reads.

Owns the round trip with the host and what an interrupt leaves behind. What tools do is in `tools`, who may is in
`permissions`.
"""

from dataclasses import dataclass

from headrace_worker.simulator import permissions, structured
from headrace_worker.simulator.answer import Wanted
from headrace_worker.simulator.output import Json, encode
from headrace_worker.simulator.permissions import Verdict
from headrace_worker.simulator.script import Answer, ToolCall
from headrace_worker.simulator.session import SelfTurn, Session, Turn, aborted
from headrace_worker.simulator.timing import TurnInterruptedError
from headrace_worker.simulator.tools import Done, ToolError, background_seconds

_STOPPED = (
    "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, the "
    "new_string was NOT written to the file). STOP what you are doing and wait for the user to tell you how to proceed."
)
_STOPPED_WHILE_RUNNING = " Correction to the text above: this call was stopped while running."
_STREAM_CLOSED = "Tool permission request failed: AbortError: Tool permission stream closed before response received"


@dataclass(frozen=True, slots=True)
class _Grant:
    """The tool may run, perhaps with another input."""

    input: Json
    meta: Json


class ToolRun:
    """Runs the tool calls of one message, in order."""

    def __init__(self, session: Session, turn: Turn) -> None:
        self._session = session
        self._turn = turn
        self._is_running = False

    def run(self, wanted: list[Wanted]) -> None:
        for place, tool in enumerate(wanted):
            try:
                self._one(tool)
            except TurnInterruptedError:
                self._stop(wanted[place:])

    def _one(self, tool: Wanted) -> None:
        name = tool.call.name
        if name in self._session.options.disallowed_tools:
            message = f"Error: No such tool available: {name}. {name} is disabled for this session."
            self._result(tool, Done(f"<tool_use_error>{message}</tool_use_error>", message, is_error=True), None)
            return
        grant = self._permission(tool)
        if grant is None:
            return
        self._is_running = True
        self._session.timing.natural(self._session.ids.between(0.05, 0.2))
        self._result(tool, self._perform(tool, grant.input), {"permission_decision": grant.meta})
        self._is_running = False

    def _permission(self, tool: Wanted) -> _Grant | None:
        """The grant, or None when the refusal has been said."""
        options, call = self._session.options, tool.call
        verdict = permissions.decide(
            call.name,
            call.input,
            mode=self._session.switches.permission_mode,
            allowed=options.allowed_tools,
            denied=options.disallowed_tools,
        )
        match verdict:
            case Verdict.ALLOW_BY_RULE:
                return _Grant(call.input, {"decision": "accept", "source": "config", "reason_type": "rule"})
            case Verdict.ALLOW_BY_MODE:
                return _Grant(call.input, {"decision": "accept", "source": "config", "reason_type": "mode"})
            case Verdict.ASK if options.asks_host:
                return self._ask(tool)
        mode = self._session.switches.permission_mode
        message = permissions.refusal(call.name, call.input, mode)
        why = {"decision_reason_type": "mode"} if mode == "dontAsk" else {}
        self._session.send(self._session.frames.permission_denied(call.name, tool.identifier, message, **why))
        self._refuse(tool, message, {"decision": "reject", "source": "config"}, "user-rejected")
        return None

    def _ask(self, tool: Wanted) -> _Grant | None:
        session, call = self._session, tool.call
        request_id = session.ids.uuid()
        session.send_state("requires_action")
        session.send(
            session.frames.can_use_tool(request_id, call.name, tool.identifier, call.input, _description(call))
        )
        withdrawn, session.withdraw_seconds = session.withdraw_seconds, None
        reply = session.host.wait_reply(request_id, withdrawn)
        if reply is None:
            self._unanswered(tool, request_id, is_withdrawn=withdrawn is not None)
            return None
        session.send_state("running")
        return self._weigh(tool, reply)

    def _unanswered(self, tool: Wanted, request_id: str, *, is_withdrawn: bool) -> None:
        session = self._session
        if session.host.is_interrupted:
            self._deny(tool)
            raise TurnInterruptedError
        if session.host.has_ended():
            self._refuse(tool, _STREAM_CLOSED, {"decision": "reject", "source": "config"}, "permission-rule")
            return
        session.send(session.frames.cancel_request(request_id))
        session.send_state("running")
        assert is_withdrawn, "only an interrupt, the end of input or a withdrawal leaves a question open"
        self._refuse(tool, "The question was withdrawn.", {"decision": "reject", "source": "hook"}, "permission-rule")

    def _weigh(self, tool: Wanted, reply: Json) -> _Grant | None:
        answer = reply.get("response") or {}
        if reply.get("subtype") == "success" and answer.get("behavior") == "allow":
            given = answer.get("updatedInput")
            chosen = given if isinstance(given, dict) else tool.call.input
            return _Grant(chosen, {"decision": "accept", "source": "user_temporary"})
        if answer.get("interrupt"):
            self._deny(tool)
            raise TurnInterruptedError
        message = str(answer.get("message") or reply.get("error") or "denied")
        self._refuse(tool, message, {"decision": "reject", "source": "user_reject"}, "permission-rule")
        return None

    def _perform(self, tool: Wanted, tool_input: Json) -> Done:
        match tool.call.name:
            case "AskUserQuestion":
                answers = tool_input.get("answers") or {}
                said = ", ".join(f'"{question}"="{answer}"' for question, answer in answers.items())
                return Done(f"Your questions have been answered: {said}.", {**tool_input, "answers": answers})
            case "StructuredOutput":
                return self._structured(tool_input)
            case "Bash" if tool_input.get("run_in_background"):
                return self._background(tool, tool_input)
        return self._session.tools.run(tool.call.name, tool_input)

    def _structured(self, value: Json) -> Done:
        wrong = structured.problem(value, self._session.options.json_schema or {})
        if wrong:
            message = f"Output does not match required schema: {wrong}"
            return Done(message, f"Error: {message}", is_error=True)
        self._turn.structured = value
        self._turn.text = encode(value).decode()
        said = "Structured output provided successfully"
        return Done(said, said)

    def _background(self, tool: Wanted, tool_input: Json) -> Done:
        """Starts the command and leaves a turn behind that runs when it ends."""
        session = self._session
        try:
            process = session.tools.start_sleep(background_seconds(tool_input) or "0")
        except ToolError as problem:
            return Done(str(problem), f"Error: {problem}", is_error=True)
        task_id = session.ids.task()
        summary = f'Background command "{tool_input.get("description", "")}" completed (exit code 0)'
        steps = (Answer(text=f"[simulated] The background command {task_id} has ended."),)
        session.later.append(SelfTurn(lambda: process.poll() is not None, steps, task_id, summary, is_task=True))
        session.send_tasks()
        described = str(tool_input.get("description", ""))
        task = {"task_id": task_id, "task_type": "local_bash", "description": described}
        session.send(session.frames.task_started(task, tool.identifier))
        outcome = {"stdout": "", "stderr": "", "interrupted": False, "backgroundTaskId": task_id}
        return Done(f"Command running in background with ID: {task_id}.", outcome)

    def _result(self, tool: Wanted, done: Done, meta: Json | None) -> None:
        session = self._session
        session.context_characters += len(done.content)
        frame = session.frames.tool_result(
            tool.identifier, done.content, is_error=done.is_error, outcome=done.outcome, meta=meta
        )
        session.send_user(self._turn, frame)

    def _refuse(self, tool: Wanted, message: str, decision: Json, kind: str) -> None:
        self._deny(tool)
        meta = {"non_execution_kind": kind, "permission_decision": decision}
        self._result(tool, Done(message, f"Error: {message}", is_error=True), meta)

    def _deny(self, tool: Wanted) -> None:
        denial = {"tool_name": tool.call.name, "tool_use_id": tool.identifier, "tool_input": tool.call.input}
        self._turn.denials.append(denial)

    def _stop(self, left: list[Wanted]) -> None:
        """Every call that has no result gets one, then the turn ends."""
        for tool in left:
            message = _STOPPED + (_STOPPED_WHILE_RUNNING if self._is_running else "")
            done = Done(message, "User rejected tool use", is_error=True)
            self._result(tool, done, {"non_execution_kind": "user-rejected"})
            self._is_running = False
        text = "[Request interrupted by user for tool use]"
        self._session.send_user(self._turn, self._session.frames.user_text(text))
        raise aborted("aborted_tools", "tool_use")


def _description(call: ToolCall) -> str | None:
    """What the host may show; None when only a person's own words will do."""
    if call.name == "AskUserQuestion":
        return None
    given = call.input.get("description") or call.input.get("file_path") or call.input.get("command") or call.name
    return str(given).split("/")[-1]
