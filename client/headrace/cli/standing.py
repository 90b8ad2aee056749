"""Where a followed job stands: the fold behind the status line. Pure; the present time comes in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace import follow
from headrace.cli import amounts, narration, transcript
from headrace.cli.parts import one_line
from headrace.v1 import event_pb2, job_pb2, outcome_pb2, watch_pb2

STATES_AFTER: dict[str, job_pb2.JobState] = {
    "scheduled": job_pb2.JOB_STATE_SCHEDULED,
    "queued": job_pb2.JOB_STATE_QUEUED,
    "attempt_assigned": job_pb2.JOB_STATE_ASSIGNED,
    "attempt_started": job_pb2.JOB_STATE_RUNNING,
    "attempt_released": job_pb2.JOB_STATE_QUEUED,
    "input_requested": job_pb2.JOB_STATE_WAITING_INPUT,
    "input_resolved": job_pb2.JOB_STATE_RUNNING,
    "cancel_requested": job_pb2.JOB_STATE_CANCELLING,
    "succeeded": job_pb2.JOB_STATE_SUCCEEDED,
    "failed": job_pb2.JOB_STATE_FAILED,
    "cancelled": job_pb2.JOB_STATE_CANCELLED,
    "expired": job_pb2.JOB_STATE_EXPIRED,
    "skipped": job_pb2.JOB_STATE_SKIPPED,
}
"""For the status line only: the job itself is what `opened` and `end` carry."""


class Standing:
    """State, time, attempt, usage and what is being done."""

    def __init__(self) -> None:
        self.state: job_pb2.JobState = job_pb2.JOB_STATE_UNSPECIFIED
        self.reasons = ""
        self._since: datetime | None = None
        self._attempt = 0
        self._before = outcome_pb2.Usage()
        self._now = outcome_pb2.Usage()
        self._doing = ""
        self._lost = ""

    def feed(self, item: follow.Item) -> None:
        """Takes in what the stream says."""
        self._lost = (
            f"{narration.interruption(item.cause)}, next try in {amounts.elapsed(item.delay)}"
            if isinstance(item, follow.Reconnecting)
            else ""
        )
        match item:
            case watch_pb2.WatchOpened():
                self.state = item.job.state
                self.reasons = narration.waiting_line(list(item.job.wait_reasons))
                started = item.job.start_time if item.job.HasField("start_time") else item.job.create_time
                self._since = amounts.moment(started)
            case event_pb2.Event():
                self._event(item)
            case event_pb2.Delta():
                self._delta(item)

    def told(self, reasons: list[job_pb2.WaitReason]) -> None:
        """Takes in why the job waits now."""
        self.reasons = narration.waiting_line(reasons)

    def line(self, now: datetime) -> str:
        """The status line."""
        if self.state == job_pb2.JOB_STATE_UNSPECIFIED:
            return " · ".join(filter(None, ["connecting", self._lost]))
        words = [narration.state_word(self.state)]
        if self._since is not None:
            words.append(amounts.elapsed_whole((now - self._since).total_seconds()))
        if self._attempt > 1:
            words.append(f"attempt {self._attempt}")
        total = outcome_pb2.Usage()
        total.CopyFrom(self._before)
        add(total, self._now)
        words += amounts.usage(total)
        waiting = f"waiting: {self.reasons}" if self.reasons and self.state in transcript.WAITING_STATES else ""
        return " · ".join([*words, *filter(None, [waiting or self._doing, self._lost])])

    def _event(self, event: event_pb2.Event) -> None:
        kind = event.WhichOneof("kind") or ""
        match kind:
            case "submitted":
                self.state, self._since = event.submitted.state, amounts.moment(event.time)
            case "attempt_started":
                self._attempt, self._since, self.reasons = event.attempt, amounts.moment(event.time), ""
            case "attempt_failed" | "attempt_lost" | "attempt_handed_back" | "attempt_snoozed":
                self._attempt_ended(event, getattr(event, kind))
            case "updated":
                self.state = event.updated.state or self.state
            case "output":
                self._output(event.output)
        self.state = STATES_AFTER.get(kind, self.state)

    def _attempt_ended(self, event: event_pb2.Event, how: Any) -> None:
        add(self._before, self._now if event.HasField("attempt_lost") else how.usage)
        self._now = outcome_pb2.Usage()
        waits = how.HasField("next_time") if event.HasField("attempt_snoozed") else how.decision.HasField("next_time")
        self.state = job_pb2.JOB_STATE_SCHEDULED if waits else job_pb2.JOB_STATE_QUEUED
        self._doing, self._since = "", amounts.moment(event.time)

    def _output(self, output: event_pb2.Output) -> None:
        match output.WhichOneof("kind"):
            case "usage":
                self._now = output.usage
            case "progress":
                self._doing = transcript.progress_text(output.progress)
            case "claude":
                self._frame(output.claude)

    def _frame(self, frame: event_pb2.ClaudeFrame) -> None:
        match frame.WhichOneof("kind"):
            case "assistant":
                calls = [block.tool_use.name for block in frame.assistant.blocks if block.HasField("tool_use")]
                self._doing = one_line(calls[-1], 40) if calls else ""
            case "user":
                self._doing = ""
            case "tool_progress":
                spent = amounts.elapsed(frame.tool_progress.elapsed_seconds)
                self._doing = f"{one_line(frame.tool_progress.tool_name, 40)} for {spent}"
            case "api_retry":
                self._doing = "the model's service is failing"

    def _delta(self, delta: event_pb2.Delta) -> None:
        match delta.WhichOneof("kind"):
            case "thinking":
                self._doing = "thinking"
            case "text":
                self._doing = "answering"
            case "tool_name":
                self._doing = f"calls {one_line(delta.tool_name, 40)}"


def add(total: outcome_pb2.Usage, more: outcome_pb2.Usage) -> None:
    """Adds the numbers that a status line shows."""
    total.turns += more.turns
    total.tool_calls += more.tool_calls
    total.input_tokens += more.input_tokens
    total.output_tokens += more.output_tokens
    total.cache_creation_tokens += more.cache_creation_tokens
    total.cache_read_tokens += more.cache_read_tokens
    total.cost_usd_micros += more.cost_usd_micros
