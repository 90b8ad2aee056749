"""Turns what a follow stream says into the parts of a view, in order. Pure: the same items give the same parts."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import json_format

from headrace import follow, outcomes
from headrace.cli import narration
from headrace.cli.parts import Answer, Line, Part, Raw, Tone, one_line
from headrace.cli.speech import Speech
from headrace.v1 import event_pb2, job_pb2, outcome_pb2, watch_pb2

WAITING_STATES = frozenset({job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_SCHEDULED, job_pb2.JOB_STATE_BLOCKED})
ATTEMPT_ENDS = frozenset(
    {
        "attempt_failed",
        "attempt_lost",
        "attempt_handed_back",
        "attempt_snoozed",
        "succeeded",
        "failed",
        "cancelled",
        "expired",
        "skipped",
    }
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a view shows besides the output itself."""

    lifecycle: bool = True
    """Lines about the job's life, and its outcome."""
    tools: bool = True
    """Lines about tool calls and the CLI's frames."""
    progress: bool = False
    """Lines about how far it is, also without those about the job's life."""
    answer: bool = True
    """The final text, when nothing of it was told."""


class Transcript:
    """The view of one job, told from what its stream says."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._speech = Speech()
        self._simulated_told = False
        self._cached_told = False
        self._answered = False
        self._waiting_told = ""
        self._connection_lost = False

    def feed(self, item: follow.Item) -> list[Part]:
        """The parts that an item adds."""
        if isinstance(item, follow.Reconnecting):
            return self._reconnecting(item)
        self._connection_lost = False
        match item:
            case event_pb2.Event():
                return self._event(item)
            case event_pb2.Delta():
                return [*self._speech.delta(item)]
            case watch_pb2.WatchOpened():
                return self._opened(item.job)
            case watch_pb2.WatchGap():
                return [*self._speech.hush(), narration.gap_line(item)]
            case watch_pb2.WatchEnd():
                return self._end(item)
        return []

    def waiting(self, reasons: list[job_pb2.WaitReason]) -> list[Part]:
        """A line about what the job waits for, when it is news."""
        text = narration.waiting_line(reasons)
        if not self._wanted.lifecycle or not text or text == self._waiting_told:
            return []
        self._waiting_told = text
        return [Line(f"waiting: {text}")]

    def _reconnecting(self, item: follow.Reconnecting) -> list[Part]:
        self._speech.doubt()
        if self._connection_lost:
            return []
        self._connection_lost = True
        return [Line(f"{narration.interruption_line(item.cause)}; trying again", Tone.WARNING)]

    def _opened(self, job: job_pb2.Job) -> list[Part]:
        parts: list[Part] = self._simulated() if job.simulated else []
        if job.state in WAITING_STATES:
            parts += self.waiting(list(job.wait_reasons))
        return parts

    def _simulated(self) -> list[Part]:
        if self._simulated_told:
            return []
        self._simulated_told = True
        return [Line(f"({narration.SIMULATED})", Tone.WARNING)]

    def _event(self, event: event_pb2.Event) -> list[Part]:
        kind = event.WhichOneof("kind")
        if kind == "output":
            return self._output(event)
        parts: list[Part] = []
        if kind in ATTEMPT_ENDS:
            parts += self._speech.hush()
        if kind == "succeeded":
            parts += self._unheard(event.succeeded.result.claude.text) + self._returned(event.succeeded.result)
        if kind == "attempt_started":
            self._answered, self._waiting_told = False, ""
        if self._wanted.lifecycle or kind == "output_truncated":
            parts += narration.lines(event)
        if self._wanted.lifecycle and event.input_requested.request.request_id:
            parts += [Line(f"answer it: headrace job answer {event.job_id}", Tone.WARNING)]
        return parts

    def _unheard(self, text: str) -> list[Part]:
        """The final text, when nothing of it was told because its events are gone."""
        return [Answer(text, end=True)] if text and self._wanted.answer and not self._answered else []

    def _returned(self, result: outcome_pb2.Result) -> list[Part]:
        """What a handler returned, unless it is nothing. A log alone is told without it: there its bytes stay exact."""
        value = result.handler.value
        if not self._wanted.lifecycle or value.WhichOneof("kind") in (None, "null_value"):
            return []
        return [Answer(json_format.MessageToJson(value, indent=None, sort_keys=True, ensure_ascii=False), end=True)]

    def _output(self, event: event_pb2.Event) -> list[Part]:
        output = event.output
        match output.WhichOneof("kind"):
            case "chunk":
                return self._chunk(output.chunk)
            case "claude":
                return self._frame(output.claude)
            case "progress" if (self._wanted.lifecycle or self._wanted.progress) and output.progress.message:
                return [Line(progress_text(output.progress))]
            case "snapshot" if self._wanted.lifecycle:
                return snapshot_lines(output.snapshot)
        return []

    def _chunk(self, chunk: event_pb2.Chunk) -> list[Part]:
        if chunk.stream == event_pb2.OUTPUT_STREAM_FRAME:
            return []
        return [Raw(chunk.data, to_stderr=chunk.stream == event_pb2.OUTPUT_STREAM_STDERR)]

    def _frame(self, frame: event_pb2.ClaudeFrame) -> list[Part]:
        parts: list[Part] = self._simulated() if frame.simulated else []
        if frame.cached and not self._cached_told:
            self._cached_told = True
            parts.append(Line("(the answer that an earlier job got; it costs nothing)"))
        match frame.WhichOneof("kind"):
            case "assistant":
                spoken = self._subagent if frame.assistant.parent_tool_use_id else self._assistant
                return parts + spoken(frame.assistant)
            case "user":
                return parts + self._user(frame.user)
            case "turn_result" if self._wanted.lifecycle:
                return parts  # the attempt's end tells it, with the class
        return parts + (list(narration.frame_lines(frame)) if self._wanted.tools else [])

    def _assistant(self, message: event_pb2.ClaudeMessage) -> list[Part]:
        parts: list[Part] = []
        for block in message.blocks:
            parts += self._speech.whole(message.message_id, block)
            match block.WhichOneof("kind"):
                case "text":
                    self._answered = True
                case "tool_use" if self._wanted.tools:
                    parts.append(narration.tool_line(block.tool_use))
            if block.cut:
                parts.append(Line("(cut here; `headrace job logs --raw` has all of it)"))
        return parts

    def _subagent(self, message: event_pb2.ClaudeMessage) -> list[Part]:
        """What a subagent says is about the answer, not part of it."""
        if not self._wanted.tools:
            return []
        parts: list[Part] = []
        for block in message.blocks:
            match block.WhichOneof("kind"):
                case "text":
                    parts.append(Line(f"  ┆ {one_line(block.text)}", Tone.DETAIL))
                case "tool_use":
                    parts.append(Line(f"  ┆ {narration.tool_line(block.tool_use).text}", Tone.DETAIL))
        return parts

    def _user(self, message: event_pb2.ClaudeMessage) -> list[Part]:
        if not self._wanted.tools:
            return []
        results = [block.tool_result for block in message.blocks if block.HasField("tool_result")]
        return [narration.tool_result_line(result) for result in results]

    def _end(self, end: watch_pb2.WatchEnd) -> list[Part]:
        parts: list[Part] = [*self._speech.hush()]
        match end.reason:
            case watch_pb2.END_REASON_JOB_DELETED:
                parts.append(Line("the job was deleted", Tone.WARNING))
            case watch_pb2.END_REASON_PERMISSION_REVOKED:
                parts.append(Line("the right to see the job was revoked", Tone.WARNING))
            case _ if self._wanted.lifecycle and end.job.state in outcomes.TERMINAL_STATES:
                parts.append(narration.outcome_line(end.job))
        return parts


def progress_text(progress: job_pb2.Progress) -> str:
    """How far an attempt is, in one line."""
    share = f"{progress.done}/{progress.total}" if progress.total else str(progress.done) if progress.done else ""
    return " ".join(filter(None, [share, one_line(progress.message, 200)]))


def raw_parts(event: event_pb2.Event) -> list[Part]:
    """The bytes of an event as the program wrote them: chunks as they are, the CLI's frames a line each."""
    output = event.output
    match output.WhichOneof("kind"):
        case "chunk":
            return [Raw(output.chunk.data, to_stderr=output.chunk.stream == event_pb2.OUTPUT_STREAM_STDERR)]
        case "claude" if output.claude.HasField("stored"):
            return [Raw(b"\n")]
        case "claude" if output.claude.HasField("raw_bytes"):
            return [Raw(output.claude.raw_bytes + b"\n")]
        case "claude":
            return [Raw(output.claude.raw_json.encode() + b"\n")]
    return []


def snapshot_lines(note: event_pb2.SnapshotNote) -> list[Part]:
    """A snapshot that was taken is no news; that the session goes on from one is, or that there is none."""
    if note.action == event_pb2.SNAPSHOT_ACTION_RESTORED:
        return [Line(f"the session goes on from the snapshot of turn {note.snapshot.turn}")]
    if note.action == event_pb2.SNAPSHOT_ACTION_FAILED:
        return [Line(f"no snapshot, so the session stays on this worker: {one_line(note.message, 200)}", Tone.WARNING)]
    return [Line(f"snapshot: {one_line(note.message, 200)}")] if note.message else []
