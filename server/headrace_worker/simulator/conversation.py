"""The life of the simulated program after its start: turn after turn until the input ends.

Owns the order of a turn (state, init, answers and tools, result) and the laws that end one early: turns, budget,
schema, interrupt. How a part of it looks is decided in the other files.
"""

import json
from collections.abc import Iterator

from headrace_worker.simulator import demo, faults, script, structured
from headrace_worker.simulator.answer import Delivery
from headrace_worker.simulator.frames import tools_offered
from headrace_worker.simulator.host import UserMessage
from headrace_worker.simulator.ledger import Usage
from headrace_worker.simulator.output import Json, encode
from headrace_worker.simulator.script import Answer, Fault, Replay, ScriptError, ScriptFile, Step, ToolCall
from headrace_worker.simulator.session import SelfTurn, Session, Turn, TurnEndError, TurnVanishedError, aborted
from headrace_worker.simulator.timing import TurnInterruptedError
from headrace_worker.simulator.toolrun import ToolRun

_IDLE_LOOK_SECONDS = 0.02


class Conversation:
    """Runs the turns of one process."""

    def __init__(self, session: Session, script_file: ScriptFile) -> None:
        self._session = session
        self._file = script_file
        self._turns = 0
        self._last: Json | None = None

    def play_start(self) -> None:
        """Plays what the script file wants to happen before anything else."""
        turn = Turn(self._session.timing.monotonic())
        for step in self._file.start:
            if not isinstance(step, Fault):
                raise ScriptError("only faults can stand in `start`")
            faults.play(self._session, turn, step)

    def run_prompt(self, prompt: str) -> int:
        """The one-shot form: one message, and whatever turns follow from it."""
        self._answer(UserMessage(prompt))
        while self._session.later and not self._session.host.is_stopped:
            self._start_due()
            self._session.timing.rest()
        return self._finish()

    def run_stream(self) -> int:
        """The stream form: user lines until the input ends."""
        session = self._session
        while not session.host.is_stopped:
            message = session.host.next_message(_IDLE_LOOK_SECONDS if session.later else None)
            if message is not None:
                self._answer(message)
            elif session.later:
                self._start_due()
            elif session.host.is_over():
                break
        return self._finish()

    def _start_due(self) -> None:
        ready = next((turn for turn in self._session.later if turn.is_ready()), None)
        if ready is not None:
            self._session.later.remove(ready)
            self._own_turn(ready)

    def _own_turn(self, own: SelfTurn) -> None:
        self._session.send(self._session.frames.task_notification(own.task_id, own.summary))
        if own.is_task:
            self._session.send_tasks()
        told = f"<task-notification>\n<task-id>{own.task_id}</task-id>\n<summary>{own.summary}</summary>\n"
        self._session.keep("user", {"role": "user", "content": f"{told}</task-notification>"})
        self._turn(own.steps, is_own=True)

    def _answer(self, message: UserMessage) -> None:
        session = self._session
        session.context_characters += len(message.text)
        self._lifecycle(message, "started")
        session.keep("user", {"role": "user", "content": message.content}, message.uuid)
        completed = self._turn(self._plan(message.text), message)
        self._lifecycle(message, "completed" if completed else "cancelled")

    def _lifecycle(self, message: UserMessage, state: str) -> None:
        if message.uuid is not None:
            self._session.send(self._session.frames.lifecycle(message.uuid, state))

    def _plan(self, prompt: str) -> tuple[Step, ...]:
        """The prompt's own script, else, when it says to go on, the rest of the last one, else the file's or a demo."""
        session = self._session
        if script.has_script(prompt):
            session.scripted, session.answers = prompt, 0
        goes_on = session.scripted != prompt and script.says_to_go_on(prompt)
        try:
            found = script.in_prompt(session.scripted or prompt) if goes_on else script.in_prompt(prompt)
        except ScriptError as problem:
            return (Fault("result", {"errors": [f"[simulated] {problem}"]}),)
        if found is not None and goes_on:
            found = script.rest(found, session.answers)
        steps = found if found is not None else self._file.turn(self._turns)
        return demo.plan(prompt, self._session.tools.workspace, self._session.ids) if steps is None else steps

    def _turn(self, steps: tuple[Step, ...], message: UserMessage | None = None, *, is_own: bool = False) -> bool:
        """Runs a turn; False when it was cut off."""
        session = self._session
        turn = Turn(session.timing.monotonic(), message.uuid if message else None, is_own)
        self._turns += 1
        session.host.begin_turn()
        session.send_state("running")
        first = steps[0] if steps else None
        if isinstance(first, Fault) and first.arguments.get("at") == "start":
            faults.play(session, turn, first)
            steps = steps[1:]
        self._send_init()
        if message is not None and session.options.replay_user_messages:
            session.send(session.frames.replayed(message.content, message.uuid))
        try:
            fields = self._play(turn, steps)
        except TurnVanishedError:
            session.host.end_turn()
            return True
        session.switches.frozen = turn.hangs_after_result
        self._send_result(turn, fields)
        session.host.end_turn()
        session.send_state("idle")
        if turn.hangs_after_result:
            session.freeze()
        return not str(fields.get("terminal_reason")).startswith(("aborted", "budget"))

    def _send_init(self) -> None:
        session, options = self._session, self._session.options
        offered = tools_offered(
            asks_host=options.asks_host,
            has_schema=options.json_schema is not None,
            withheld=options.disallowed_tools,
        )
        source = "ANTHROPIC_API_KEY" if session.environment.get("ANTHROPIC_API_KEY") else "none"
        init = session.frames.init(session.switches.model, session.switches.permission_mode, offered, source)
        session.send(init)

    def _play(self, turn: Turn, steps: tuple[Step, ...]) -> Json:
        """Plays the steps; returns the fields that make the result."""
        try:
            for step in self._completed(steps):
                self._step(turn, step)
        except TurnEndError as end:
            return end.fields
        except ScriptError as problem:
            return TurnEndError("error_during_execution", "completed", errors=[f"[simulated] {problem}"]).fields
        except TurnInterruptedError:
            session = self._session
            session.send_user(turn, session.frames.user_text("[Request interrupted by user]"))
            return aborted("aborted_streaming", None).fields
        stop_reason = "end_turn" if turn.structured is None else "tool_use"
        return {"subtype": "success", "is_error": False, "terminal_reason": "completed", "stop_reason": stop_reason}

    def _completed(self, steps: tuple[Step, ...]) -> Iterator[Step]:
        """The steps, with the structured answer that a schema demands, and an end that is not a tool call."""
        wants_structure = self._session.options.json_schema is not None
        last: Step | None = None
        for last in steps:
            if isinstance(last, Answer) and last.structured is not None:
                wants_structure = False
            yield last
        if wants_structure and not isinstance(last, Fault):
            yield Answer(structured=structured.example(self._session.options.json_schema or {}))
        elif isinstance(last, Answer) and last.tools:
            yield Answer(text="(end of script)")

    def _step(self, turn: Turn, step: Step) -> None:
        match step:
            case Fault():
                faults.play(self._session, turn, step)
            case Replay():
                self._replay(step)
            case Answer() if step.structured is not None:
                self._model_call(turn, Answer(tools=(ToolCall("StructuredOutput", step.structured),)))
            case Answer():
                self._model_call(turn, step)

    def _model_call(self, turn: Turn, answer: Answer) -> None:
        session, options = self._session, self._session.options
        wanted = Delivery(session, turn, answer).run()
        session.answers += 1
        if options.max_budget_usd is not None and session.ledger.spent_usd >= options.max_budget_usd:
            turn.usage = Usage()
            text = f"Reached maximum budget (${options.max_budget_usd:g})"
            stop_reason = "tool_use" if wanted else "end_turn"
            raise TurnEndError("error_max_budget_usd", "budget_exhausted", stop_reason=stop_reason, errors=[text])
        ToolRun(session, turn).run(wanted)
        is_last = not wanted or turn.structured is not None
        if options.max_turns is not None and turn.calls >= options.max_turns and not is_last:
            text = f"Reached maximum number of turns ({options.max_turns})"
            raise TurnEndError("error_max_turns", "max_turns", stop_reason="tool_use", errors=[text])

    def _replay(self, step: Replay) -> None:
        """Says a recording again, frame by frame; it brings its own results."""
        try:
            lines = step.path.read_bytes().split(b"\n")
        except OSError as problem:
            raise ScriptError(f"cannot read the recording {step.path}: {problem}") from problem
        for line in lines:
            said = _recorded(line)
            if said:
                self._session.output.send_bytes(said + b"\n")
        raise TurnVanishedError

    def _send_result(self, turn: Turn, fields: Json) -> None:
        session = self._session
        now = session.timing.monotonic()
        result: Json = {
            "duration_ms": round((now - turn.started) * 1000),
            "num_turns": 1 + turn.user_frames,
            "usage": turn.usage.per_result(),
            "permission_denials": turn.denials,
            "fast_mode_state": "off",
            "queued_turn_count": len(session.host.queued()),
            **session.ledger.close_result(),
            **({"begun_message_ids": turn.message_ids} if turn.message_ids else {}),
            **(
                {"user_message_uuid": turn.message_uuid, "user_message_uuids": [turn.message_uuid]}
                if turn.message_uuid
                else {}
            ),
            **({"origin": {"kind": "task-notification", "producer": "session-task"}} if turn.is_own else {}),
            **({"ttft_ms": round((turn.first_token - turn.started) * 1000)} if turn.first_token else {}),
            **({"result": turn.text, "api_error_status": None} if fields["subtype"] == "success" else {}),
            **({"structured_output": turn.structured} if turn.structured is not None else {}),
            **fields,
        }
        self._last = session.frames.result(result)
        session.send(self._last)
        spent = {model: [u.input_tokens, u.output_tokens] for model, u in session.ledger.totals.items()}
        session.transcript.append({"type": "spent", "spent": spent, "sessionId": session.frames.session_id})

    def _finish(self) -> int:
        """Prints what the other output formats print; returns the exit code."""
        session, last = self._session, self._last
        if last is None:
            return 0
        if session.options.output_format == "json":
            session.output.send(last)
        elif session.options.output_format == "text":
            said = str(last.get("result") or "\n".join(last.get("errors", [])))
            session.output.send_bytes(said.encode("utf-8", "surrogatepass") + b"\n")
        return 1 if last["is_error"] and not session.host.is_stopped else 0


def _recorded(line: bytes) -> bytes:
    """The frame in a line of a recording, be it a plain one or one with both directions."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if isinstance(entry, dict) and "dir" in entry:
        return str(entry.get("line", "")).encode() if entry["dir"] == "out" else b""
    return line if isinstance(entry, dict) else encode(entry)
