"""What a person sees of a conversation: the fold of what its stream says into parts, and where it stands. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from headrace import converse, follow, outcomes
from headrace.cli import amounts, narration
from headrace.cli.describe import session_text
from headrace.cli.parts import Line, Part, Tone, one_line
from headrace.cli.transcript import Transcript, Wanted
from headrace.v1 import event_pb2, job_pb2, outcome_pb2, session_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb

SHOWN = Wanted(lifecycle=False)
ENDS = frozenset({"succeeded", "failed", "cancelled", "expired", "skipped"})
STATES = {
    "failed": job_pb2.JOB_STATE_FAILED,
    "expired": job_pb2.JOB_STATE_EXPIRED,
    "skipped": job_pb2.JOB_STATE_SKIPPED,
}
TOLD = frozenset(
    {
        "attempt_failed",
        "attempt_lost",
        "attempt_handed_back",
        "attempt_timed_out",
        "budget_reached",
        "input_resolved",
    }
)
"""Of a turn's life, what is told beside what is said in it."""


class ChatView:
    """One conversation, as far as it was heard."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.session = session_pb2.Session()
        self.inputs: tuple[session_pb2.OpenInput, ...] = ()
        self.turn = ""
        """The job of the event that came last."""
        self.ended_turns: set[str] = set()
        self.last_state: job_pb2.JobState = job_pb2.JOB_STATE_UNSPECIFIED
        """How the latest turn ended."""
        self.over = False
        self._now = now
        self._transcript = Transcript(SHOWN)
        self._model = ""
        self._told_inputs: set[tuple[str, str]] = set()

    @property
    def asked(self) -> session_pb2.OpenInput | None:
        """The oldest thing that nobody has answered."""
        return self.inputs[0] if self.inputs else None

    @property
    def is_busy(self) -> bool:
        """Whether a turn runs or is the next to run."""
        return bool(self.session.active_job_id)

    def status(self) -> str:
        """Where it stands, in one line."""
        session = self.session
        if not session.id:
            return "connecting"
        parts = [session_text.state_word(session.state).lower().replace("_", " ")]
        if session.pending_turn_count > 1:
            parts.append(f"{session.pending_turn_count - 1} more to come")
        parts += [one_line(session.spec.task.model, 40)] if session.spec.task.model else []
        if session.usage.cost_usd_micros:
            parts.append(amounts.dollars(session.usage.cost_usd_micros))
        return " · ".join(parts)

    def is_new_turn(self, item: converse.Item) -> bool:
        """Whether an item is the first that comes of a turn."""
        return isinstance(item, event_pb2.Event) and item.job_id != self.turn

    def feed(self, item: converse.Item) -> list[Part]:
        """The parts that an item adds."""
        match item:
            case pb.ConverseOpened():
                known, self.session = self.session.id, item.session
                return [] if known else [Line(f"session {item.session.id}; /help lists what can be typed")]
            case event_pb2.Event():
                return self._event(item)
            case event_pb2.Delta() | follow.Reconnecting():
                return self._transcript.feed(item)
            case pb.ConverseInputs():
                return self._asked(tuple(item.open))
            case session_pb2.Session():
                self.session = item
            case pb.ConverseGap():
                return [narration.gap_line(item.gap)]
            case pb.ConverseEnd():
                return self._end(item)
        return []

    def _event(self, event: event_pb2.Event) -> list[Part]:
        self.turn = event.job_id
        parts = [] if self._is_told(event) else self._transcript.feed(event)
        kind = event.WhichOneof("kind") or ""
        if kind in TOLD:
            parts += narration.lines(event)
        if kind in ENDS:
            self.ended_turns.add(event.job_id)
            parts += self._turn_end(event, kind)
        return parts

    def _is_told(self, event: event_pb2.Event) -> bool:
        """Whether it only says anew which model speaks: the CLI does with each turn."""
        frame = event.output.claude
        if not frame.HasField("init"):
            return False
        before, self._model = self._model, frame.init.model
        return before == self._model

    def _turn_end(self, event: event_pb2.Event, kind: str) -> list[Part]:
        match kind:
            case "succeeded":
                self.last_state = job_pb2.JOB_STATE_SUCCEEDED
                used = ", ".join(amounts.usage(event.succeeded.usage))
                return [Line(f"✓ {used}")] if used else []
            case "cancelled":
                self.last_state = job_pb2.JOB_STATE_CANCELLED
                return [Line(_cancelled(event.cancelled.cancellation), Tone.WARNING)]
        self.last_state = STATES[kind]
        failure: outcome_pb2.Failure = getattr(event, kind).failure
        return [Line(f"✗ {kind}: {one_line(outcomes.failure_line(failure), 400)}", Tone.BAD)]

    def _asked(self, inputs: tuple[session_pb2.OpenInput, ...]) -> list[Part]:
        self.inputs = inputs
        keys = {(one.job_id, one.request.request_id): one for one in inputs}
        new = [one for key, one in keys.items() if key not in self._told_inputs]
        self._told_inputs = set(keys)
        return [Line(f"? {session_text.input_line(one, self._now())}", Tone.WARNING) for one in new]

    def _end(self, end: pb.ConverseEnd) -> list[Part]:
        self.over = True
        self.session = end.session
        state = session_text.state_word(end.session.state).lower()
        why = f": {one_line(end.session.close_reason, 300)}" if end.session.close_reason else ""
        tone = Tone.WARNING if end.session.state == session_pb2.SESSION_STATE_LOST else Tone.NOTE
        if end.reason == watch_pb2.END_REASON_PERMISSION_REVOKED:
            return [Line("the right to see the session was revoked", Tone.WARNING)]
        return [Line(f"the session is {state}{why}", tone)]


def _cancelled(cancellation: job_pb2.Cancellation) -> str:
    who = f" by {cancellation.actor}" if cancellation.actor else ""
    what = "interrupted" if cancellation.cause == job_pb2.CANCEL_CAUSE_INTERRUPTED else "cancelled"
    reason = f": {one_line(cancellation.reason, 300)}" if cancellation.reason else ""
    return f"✗ {what}{who}{reason}"
