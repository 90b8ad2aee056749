"""What one run of the simulated program consists of, and the record of the turn that is going on.

Holds the collaborators and hands frames out; it decides nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace_worker.simulator.flags import Options
from headrace_worker.simulator.frames import Frames
from headrace_worker.simulator.host import Host, Switches
from headrace_worker.simulator.ledger import Ledger, Usage
from headrace_worker.simulator.output import Json, Output
from headrace_worker.simulator.script import Step
from headrace_worker.simulator.timing import Ids, Timing, timestamp
from headrace_worker.simulator.tools import Tools
from headrace_worker.simulator.transcript import Transcript

_STATES_WANTED = ("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "CLAUDE_CODE_SDK_READS_SESSION_STATE")


@dataclass(frozen=True, slots=True)
class SelfTurn:
    """A turn that the program starts by itself, once it is ready."""

    is_ready: Callable[[], bool]
    steps: tuple[Step, ...]
    task_id: str
    summary: str
    is_task: bool = False
    """Whether it ends a background task that was announced."""


@dataclass(slots=True)
class Turn:
    """One turn, from its user line to its result."""

    started: float
    message_uuid: str | None = None
    """The id of the user line that it answers, where the host gave one."""
    is_own: bool = False
    """Whether nobody asked for it."""
    calls: int = 0
    cuts: int = 0
    """Answers whose connection was cut."""
    repeats: bool = False
    """Whether the next call is the one that was cut, made again."""
    user_frames: int = 0
    usage: Usage = field(default_factory=Usage)
    text: str = ""
    structured: Any = None
    denials: list[Json] = field(default_factory=list)
    message_ids: list[str] = field(default_factory=list)
    first_token: float | None = None
    hangs_after_result: bool = False


@dataclass(slots=True)
class Session:
    """The collaborators of a run."""

    options: Options
    environment: Mapping[str, str]
    switches: Switches
    output: Output
    host: Host
    timing: Timing
    ids: Ids
    frames: Frames
    ledger: Ledger
    transcript: Transcript
    tools: Tools
    scripted: str | None = None
    """The last prompt with a script."""
    answers: int = 0
    """How often the model has spoken about it."""
    context_characters: int = 0
    """What the model would have to read again with each call."""
    withdraw_seconds: float | None = None
    """The next question to the host is taken back after this long."""
    limit_told: Json | None = None
    """What was last said of a usage limit."""
    later: list[SelfTurn] = field(default_factory=list)

    def send(self, frame: Json) -> None:
        if self.options.output_format == "stream-json":
            self.output.send(frame)

    def send_state(self, state: str) -> None:
        """Session states are for hosts that ask for them in the environment."""
        if any(self.environment.get(name) in ("1", "true") for name in _STATES_WANTED):
            self.send(self.frames.state(state))

    def send_requesting(self) -> None:
        """A call of the model begins."""
        if self.options.partial_messages:
            self.send(self.frames.status("requesting"))

    def send_tasks(self) -> None:
        """Says which background tasks run."""
        running = [own for own in self.later if own.is_task]
        tasks = [{"task_id": own.task_id, "task_type": "local_bash", "description": own.summary} for own in running]
        self.send(self.frames.tasks_changed(tasks))

    def send_user(self, turn: Turn, frame: Json) -> None:
        """A user frame of the turn: counted, sent, kept."""
        turn.user_frames += 1
        self.send(frame)
        self.keep("user", frame["message"])

    def keep(self, kind: str, message: Json, identity: str | None = None) -> None:
        """Appends one message to the transcript, under its own id or a new one."""
        entry = {
            "type": kind,
            "message": message,
            "sessionId": self.frames.session_id,
            "timestamp": timestamp(),
            "uuid": identity or self.ids.uuid(),
        }
        self.transcript.append(entry)

    def freeze(self) -> None:
        """From now on the program is deaf to everything but signals."""
        self.switches.frozen = True
        self.timing.deaf_forever()


class TurnEndError(Exception):
    """The turn is over before its script is."""

    def __init__(self, subtype: str, terminal_reason: str, **fields: Any) -> None:
        super().__init__(subtype)
        self.fields: Json = {"subtype": subtype, "is_error": True, "terminal_reason": terminal_reason, **fields}


class TurnVanishedError(Exception):
    """The turn ends without a result."""


def aborted(terminal_reason: str, stop_reason: str | None) -> TurnEndError:
    """The end that an interrupt brings."""
    said = stop_reason or "null"
    diagnosis = f"[ede_diagnostic] result_type=user last_content_type=n/a stop_reason={said}"
    return TurnEndError("error_during_execution", terminal_reason, stop_reason=stop_reason, errors=[diagnosis])
