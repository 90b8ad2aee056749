"""Everything that can be made to go wrong, by name.

Each fault is one small function of the session, the turn and its arguments; it returns when the turn may go on. The
table at the end is what a script can ask for, and README.md lists it.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping

from headrace_worker.simulator import apierrors
from headrace_worker.simulator.answer import Delivery
from headrace_worker.simulator.output import Json
from headrace_worker.simulator.script import Answer, Fault, ScriptError, ToolCall, parse_steps
from headrace_worker.simulator.session import SelfTurn, Session, Turn, TurnEndError, TurnVanishedError

_MEMORY_BYTES_MAX = 2 * 1024 * 1024 * 1024
_BYTES_MAX = 256 * 1024 * 1024
_STEP_BYTES = 8 * 1024 * 1024
_STDERR = 2
_HELD: list[bytearray] = []

Play = Callable[[Session, Turn, Json], None]


def play(session: Session, turn: Turn, fault: Fault) -> None:
    """Makes one fault happen."""
    chosen = _FAULTS.get(fault.name)
    if chosen is None:
        raise ScriptError(f"no such fault: {fault.name}")
    chosen(session, turn, fault.arguments)


def _delay(session: Session, turn: Turn, arguments: Json) -> None:
    session.timing.exactly(_seconds(arguments))


def _hang(session: Session, turn: Turn, arguments: Json) -> None:
    """Where it stands in the script is where it hangs; `at` picks the places that a script cannot reach otherwise."""
    is_deaf = not arguments.get("interruptible", False)
    match arguments.get("at"):
        case "result":
            turn.hangs_after_result = True
            return
        case "stream":
            text = str(arguments.get("text", "This answer stops in the middle of"))
            Delivery(session, turn, Answer(text=text, hang_after_deltas=1, delta_characters=8)).run()
        case "tool":
            _hang_in_tool(session, turn, arguments)
    if is_deaf:
        session.freeze()
    session.timing.forever()


def _hang_in_tool(session: Session, turn: Turn, arguments: Json) -> None:
    call = ToolCall("Bash", {"command": str(arguments.get("command", "sleep 86400"))})
    (tool,) = Delivery(session, turn, Answer(tools=(call,))).run()
    session.switches.frozen = not arguments.get("interruptible", False)
    if arguments.get("child"):
        session.tools.start_sleep("86400")
    interval = arguments.get("progress_milliseconds")
    elapsed = 0.0
    while interval:
        session.timing.exactly(float(interval) / 1000)
        elapsed += float(interval) / 1000
        session.send(session.frames.tool_progress("Bash", tool.identifier, elapsed))


def _raw(session: Session, turn: Turn, arguments: Json) -> None:
    """Bytes that are not a frame."""
    line = str(arguments.get("line", "this line is not JSON")).encode("utf-8", "surrogatepass") + b"\n"
    for _ in range(int(arguments.get("count", 1))):
        session.output.send_bytes(line)


def _blank_lines(session: Session, turn: Turn, arguments: Json) -> None:
    session.output.send_bytes(b"\n" * int(arguments.get("count", 1)))


def _framing(session: Session, turn: Turn, arguments: Json) -> None:
    line_end = b"\r\n" if arguments.get("crlf") else b"\n"
    piece_seconds = float(arguments.get("piece_milliseconds", 0)) / 1000
    session.output.change_framing(
        line_end=line_end, piece_bytes=int(arguments.get("piece_bytes", 0)), piece_seconds=piece_seconds
    )


def _giant_line(session: Session, turn: Turn, arguments: Json) -> None:
    text = "x" * _size(arguments, "bytes", 1024 * 1024)
    usage = {"output_tokens": 1}
    Delivery(session, turn, Answer(text=text, delta_characters=len(text), delta_seconds=0.0, usage=usage)).run()
    turn.text = f"{len(text)} bytes"


def _frame(session: Session, turn: Turn, arguments: Json) -> None:
    frame = arguments.get("frame") or {"type": "not_known_to_anyone", "payload": {"a": 1}}
    for _ in range(int(arguments.get("count", 1))):
        session.send(session.frames.bare(frame))


def _delta_flood(session: Session, turn: Turn, arguments: Json) -> None:
    count, size = int(arguments.get("count", 1000)), _size(arguments, "bytes", 16)
    Delivery(session, turn, Answer(text="f" * (count * size), delta_characters=size, delta_seconds=0.0)).run()


def _api_retry(session: Session, turn: Turn, arguments: Json) -> None:
    """Retries that succeed in the end."""
    failure = apierrors.FAILURES.get(str(arguments.get("status", "529")))
    if failure is None:
        raise ScriptError(f"no such API failure: {arguments.get('status')}")
    apierrors.retry(session, failure, {"retries": 2, **arguments})


def _rate_limit(session: Session, turn: Turn, arguments: Json) -> None:
    resets = session.timing.epoch_seconds() + round(float(arguments.get("resets_in_seconds", 3600)))
    info = {"status": "allowed_warning", "resetsAt": resets, "rateLimitType": "five_hour", "utilization": 0.9}
    session.send(session.frames.rate_limit({**info, **arguments.get("info", {})}))


def _result(session: Session, turn: Turn, arguments: Json) -> None:
    """Ends the turn with a result of the script's own."""
    fields = {key: value for key, value in arguments.items() if key not in ("subtype", "terminal_reason")}
    subtype = str(arguments.get("subtype", "error_during_execution"))
    raise TurnEndError(subtype, str(arguments.get("terminal_reason", "completed")), **fields)


def _no_result(session: Session, turn: Turn, arguments: Json) -> None:
    raise TurnVanishedError


def _unsolicited_turn(session: Session, turn: Turn, arguments: Json) -> None:
    due = session.timing.monotonic() + _seconds(arguments)
    steps = parse_steps(arguments.get("steps") or [{"text": "Nobody asked for this turn."}])
    summary = str(arguments.get("summary", "a background task has ended"))
    ready = SelfTurn(lambda: session.timing.monotonic() >= due, steps, session.ids.task(), summary)
    session.later.append(ready)


def _no_structured_output(session: Session, turn: Turn, arguments: Json) -> None:
    """The model never calls the tool that a schema demands, not even when told to."""
    Delivery(session, turn, Answer(text="I would rather answer in prose.")).run()
    told = "[structured-output-enforce] You MUST call the StructuredOutput tool to complete this request."
    session.send_user(turn, session.frames.user_text(told, isSynthetic=True))
    Delivery(session, turn, Answer(text="Still prose.")).run()


def _withdraw_request(session: Session, turn: Turn, arguments: Json) -> None:
    session.withdraw_seconds = _seconds(arguments)


def _conversation_reset(session: Session, turn: Turn, arguments: Json) -> None:
    session.ledger.reset()
    session.send(session.frames.bare({"type": "conversation_reset"}))


def _ignore(session: Session, turn: Turn, arguments: Json) -> None:
    match arguments.get("what"):
        case "sigterm":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "sigint":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        case "eof":
            session.switches.ignores_end = True
        case "interrupt":
            session.switches.ignores_interrupt = True
        case what:
            raise ScriptError(f"cannot ignore {what}")


def _stderr(session: Session, turn: Turn, arguments: Json) -> None:
    line = (str(arguments.get("line", "simulated noise on stderr")) + "\n").encode()
    left = _size(arguments, "bytes", len(line))
    while left > 0:
        left -= os.write(_STDERR, (line * (1 + min(left, 65536) // len(line)))[: min(left, 65536)])


def _grandchild(session: Session, turn: Turn, arguments: Json) -> None:
    """A process that outlives its parent: it may hold stdout, leave the session, and empty its environment."""
    holds = arguments.get("holds") == "stdout"
    subprocess.Popen(
        ["/bin/sleep", str(min(float(arguments.get("seconds", 60)), 3600.0))],
        stdin=subprocess.DEVNULL,
        stdout=None if holds else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=bool(arguments.get("setsid", False)),
        env={} if arguments.get("clear_environment") else None,
    )


def _memory(session: Session, turn: Turn, arguments: Json) -> None:
    """Grows to `bytes` in steps, `milliseconds` apart, and keeps what it took."""
    left = min(int(arguments.get("bytes", 64 * 1024 * 1024)), _MEMORY_BYTES_MAX)
    while left > 0:
        step = min(left, _STEP_BYTES)
        _HELD.append(bytearray(b"m" * step))
        left -= step
        session.timing.exactly(_seconds(arguments))


def _exit(session: Session, turn: Turn, arguments: Json) -> None:
    """Ends the process at once; `signal` names one that it sends itself."""
    if arguments.get("drain", True):
        session.output.drain(5.0)
    if "signal" in arguments:
        number = signal.Signals[str(arguments["signal"])]
        if number is not signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        session.timing.deaf_forever()
    os._exit(int(arguments.get("code", 1)))


def _seconds(arguments: Json) -> float:
    return float(arguments.get("milliseconds", 0)) / 1000


def _size(arguments: Json, name: str, default: int) -> int:
    return max(1, min(int(arguments.get(name, default)), _BYTES_MAX))


_FAULTS: Mapping[str, Play] = {
    "api_error": apierrors.fail,
    "api_retry": _api_retry,
    "blank_lines": _blank_lines,
    "conversation_reset": _conversation_reset,
    "delay": _delay,
    "delta_flood": _delta_flood,
    "exit": _exit,
    "frame": _frame,
    "framing": _framing,
    "giant_line": _giant_line,
    "grandchild": _grandchild,
    "hang": _hang,
    "ignore": _ignore,
    "memory": _memory,
    "no_result": _no_result,
    "no_structured_output": _no_structured_output,
    "rate_limit": _rate_limit,
    "raw": _raw,
    "result": _result,
    "stderr": _stderr,
    "unsolicited_turn": _unsolicited_turn,
    "withdraw_request": _withdraw_request,
}
