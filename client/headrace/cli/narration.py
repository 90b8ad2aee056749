"""One event of a job's life as lines for a person. Pure; knows nothing of terminals, follows nothing over time."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

from headrace import errors, outcomes
from headrace.cli import amounts
from headrace.cli.parts import Line, Tone, one_line
from headrace.v1 import capacity_pb2, event_pb2, input_pb2, job_pb2, outcome_pb2, watch_pb2

SIMULATED = "simulated: the following comes from Headrace's simulated CLI, not from Claude"

REFUSAL_CHARACTERS_MAX = 200

TOOL_INPUT_FIELDS = ("command", "file_path", "path", "pattern", "url", "query", "description", "prompt")
"""The field of a tool's input that says most, first match first."""


def state_word(state: job_pb2.JobState) -> str:
    """`RUNNING` of `JOB_STATE_RUNNING`; a state that this version does not know by its number."""
    if state not in job_pb2.JobState.values():
        return f"state {int(state)}"
    return job_pb2.JobState.Name(state).removeprefix("JOB_STATE_")


def lines(event: event_pb2.Event) -> list[Line]:
    """The lines of a lifecycle event; none for output and for what this version does not know."""
    narrate = NARRATORS.get(event.WhichOneof("kind") or "")
    return [] if narrate is None else narrate(event)


def interruption(cause: errors.HeadraceError) -> str:
    """What broke a stream off: the connection, or a server that has no room for it just now."""
    return "refused" if isinstance(cause, errors.ResourceExhausted) else "connection lost"


def interruption_line(cause: errors.HeadraceError) -> str:
    """Why a stream is opened again."""
    return f"{interruption(cause)}: {one_line(getattr(cause, 'cause', str(cause)), REFUSAL_CHARACTERS_MAX)}"


def waiting_line(reasons: list[job_pb2.WaitReason]) -> str:
    """Why a job waits, in one line; empty when it waits for nothing."""
    return "; ".join(reason_line(reason) for reason in reasons)


def reason_line(reason: job_pb2.WaitReason) -> str:
    """One thing that a job waits for."""
    cause = job_pb2.WaitCause.Name(reason.cause).removeprefix("WAIT_CAUSE_").lower().replace("_", " ")
    until = f" (until {amounts.clock(reason.until_time)})" if reason.HasField("until_time") else ""
    return one_line(reason.message or cause, 300).rstrip(".") + until


def gap_line(gap: watch_pb2.WatchGap) -> Line:
    """Events that are gone."""
    why = "retention removed them"
    if gap.reason == watch_pb2.GAP_REASON_RESTORED:
        why = "the store was restored from a backup"
    return Line(f"events {gap.from_sequence} to {gap.to_sequence} are missing: {why}", Tone.WARNING)


def outcome_line(job: job_pb2.Job) -> Line:
    """How a job ended, what it took and what it used."""
    details = []
    if job.HasField("end_time"):
        since = job.start_time if job.HasField("start_time") else job.create_time
        details.append(f"in {amounts.elapsed((amounts.moment(job.end_time) - amounts.moment(since)).total_seconds())}")
    if job.attempt_count > 1:
        details.append(amounts.plural(job.attempt_count, "attempt"))
    details += amounts.usage(job.usage)
    word, tone = _ending(job)
    return Line(" · ".join([word, *details]), tone)


def _ending(job: job_pb2.Job) -> tuple[str, Tone]:
    match job.state:
        case job_pb2.JOB_STATE_SUCCEEDED:
            return "✓ succeeded", Tone.GOOD
        case job_pb2.JOB_STATE_FAILED:
            return f"✗ failed: {one_line(outcomes.failure_line(job.failure), 400)}", Tone.BAD
        case job_pb2.JOB_STATE_CANCELLED:
            who = f" by {job.cancellation.actor}" if job.cancellation.actor else ""
            reason = f": {one_line(job.cancellation.reason, 300)}" if job.cancellation.reason else ""
            return f"✗ cancelled{who}{reason}{_cause(job.cancellation)}", Tone.WARNING
        case job_pb2.JOB_STATE_EXPIRED:
            return f"✗ expired: {one_line(outcomes.failure_line(job.failure), 400)}", Tone.WARNING
        case job_pb2.JOB_STATE_SKIPPED:
            return f"✗ skipped: {one_line(outcomes.failure_line(job.failure), 400)}", Tone.WARNING
    return state_word(job.state).lower(), Tone.NOTE


def tool_line(call: event_pb2.ToolUse) -> Line:
    """A call of a tool: its name and what its input says most."""
    return Line(f"● {one_line(call.name, 60)} {tool_input(call.input_json)}".rstrip(), Tone.TOOL)


def tool_input(text: str) -> str:
    """The part of a tool's input that says most, in one line."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return one_line(text)
    if not isinstance(value, dict):
        return one_line(text)
    for name in TOOL_INPUT_FIELDS:
        if isinstance(value.get(name), str):
            return one_line(value[name])
    return one_line(json.dumps(value, ensure_ascii=False)) if value else ""


def asked_text(asked: input_pb2.InputRequest) -> str:
    """What is asked of a person: the tool and its input, or the questions with what may be answered."""
    if asked.kind != input_pb2.INPUT_KIND_QUESTION:
        return f"{one_line(asked.tool_name, 60)} {tool_input(asked.input_json)}".strip()
    try:
        questions = json.loads(asked.input_json)["questions"]
        told = [one["question"] + _options(one.get("options") or []) for one in questions]
    except (ValueError, KeyError, TypeError):
        return f"a question: {one_line(asked.input_json)}"
    return one_line("; ".join(told), 300)


def _options(options: list[Any]) -> str:
    labels = [str(one["label"]) for one in options]
    return f" ({', '.join(labels)})" if labels else ""


def tool_result_line(result: event_pb2.ToolResult) -> Line:
    """What a tool returned: its first line, and how many follow."""
    content = [line for line in result.text.splitlines() if line.strip()]
    first = one_line(content[0]) if content else "(no output)"
    more = f" (+{amounts.plural(len(content) - 1, 'line')})" if len(content) > 1 else ""
    if result.is_error:
        return Line(f"  ⎿ failed: {first}{more}", Tone.WARNING)
    return Line(f"  ⎿ {first}{more}", Tone.DETAIL)


def frame_lines(frame: event_pb2.ClaudeFrame) -> list[Line]:
    """The lines of a CLI frame beside what is said in it."""
    match frame.WhichOneof("kind"):
        case "init":
            version = f", Claude Code {frame.init.version}" if frame.init.version else ""
            return [Line(one_line(f"session {frame.init.claude_session_id}, model {frame.init.model}{version}", 200))]
        case "api_retry":
            return [_api_retry_line(frame.api_retry)]
        case "rate_limit" if frame.rate_limit.status != "allowed":
            reset = _until(frame.rate_limit, "reset_time", ", resets ")
            text = f"usage limit {frame.rate_limit.limit_type}: {frame.rate_limit.status}{reset}"
            return [Line(one_line(text, 200), Tone.WARNING)]
        case "turn_result" if frame.turn_result.is_error:
            text = frame.turn_result.text or frame.turn_result.subtype
            return [Line(f"the turn failed: {one_line(text, 300)}", Tone.WARNING)]
        case "system" if frame.system.message and frame.system.subtype != "status":
            return [Line(one_line(f"{frame.system.subtype}: {frame.system.message}", 200))]
        case "unknown":
            return [Line(f"a frame of unknown type {frame.unknown.type!r} was kept")]
    return []


def _api_retry_line(retry: event_pb2.ClaudeApiRetry) -> Line:
    status = f"{retry.error_status} " if retry.error_status else ""
    wait = amounts.elapsed(retry.retry_delay_millis / 1000)
    text = f"the model's service failed: {status}{retry.error}; Claude Code tries again in {wait}"
    return Line(one_line(f"{text} ({retry.attempt}/{retry.max_retries})", 200), Tone.WARNING)


NEXT_WORDS: dict[job_pb2.RetryAction, str] = {
    job_pb2.RETRY_ACTION_RESUME: "resumes",
    job_pb2.RETRY_ACTION_WAIT_QUOTA: "waits for the usage limit, next",
}


def _until(message: Message, field: str, before: str) -> str:
    """A moment in a message with words before it; empty when it isn't set."""
    return before + amounts.clock(getattr(message, field)) if message.HasField(field) else ""


def decision_text(event: event_pb2.Event, decision: job_pb2.RetryDecision) -> str:
    """What follows a failed attempt."""
    rule = f" ({one_line(decision.rule)})" if decision.rule else ""
    if decision.action == job_pb2.RETRY_ACTION_FAIL:
        return f"no further attempt{rule}"
    what = NEXT_WORDS.get(decision.action, "next")
    if not decision.HasField("next_time"):
        return f"{what} at once{rule}"
    wait = (amounts.moment(decision.next_time) - amounts.moment(event.time)).total_seconds()
    return f"{what} in {amounts.elapsed(wait)}{rule}"


def _submitted(event: event_pb2.Event) -> list[Line]:
    due = _until(event.submitted, "due_time", ", due ")
    retry = f", a retry of {event.submitted.retry_of_job_id}" if event.submitted.retry_of_job_id else ""
    return [Line(f"submitted: {state_word(event.submitted.state)}{due}{retry}{_tick(event.submitted)}")]


def _tick(submitted: event_pb2.JobSubmitted) -> str:
    if not submitted.schedule_name:
        return ""
    late = ", made up for" if submitted.catch_up else ""
    return f", by schedule {submitted.schedule_name}{_until(submitted, 'nominal_time', ' for ')}{late}"


def _queued(event: event_pb2.Event) -> list[Line]:
    cause = {
        event_pb2.QUEUED_CAUSE_DUE: ": its time has come",
        event_pb2.QUEUED_CAUSE_UNBLOCKED: ": the jobs it waited for have ended",
        event_pb2.QUEUED_CAUSE_HOLDER_LOST: ": the worker that held its session is lost, any other will do",
    }.get(event.queued.cause, "")
    holder = _until(event.queued, "hold_expire_time", "; the worker that holds its session is waited for until ")
    return [Line(f"queued{cause}{holder}")]


def _assigned(event: event_pb2.Event) -> list[Line]:
    assigned, lines = event.attempt_assigned, []
    if assigned.HasField("session_move"):
        move = assigned.session_move
        words = f"the session moves from {move.from_worker_id} to {assigned.worker_id}"
        lines.append(Line(f"{words}, from the snapshot of turn {move.snapshot_turn}", Tone.WARNING))
    rule = f" ({one_line(assigned.rule)})" if assigned.rule else ""
    return [*lines, Line(f"attempt {event.attempt} assigned to {assigned.worker_id}{rule}")]


def _started(event: event_pb2.Event) -> list[Line]:
    return [Line(f"attempt {event.attempt} started on {event.attempt_started.worker_id}")]


def _released(event: event_pb2.Event) -> list[Line]:
    cause = event_pb2.ReleaseCause.Name(event.attempt_released.cause).removeprefix("RELEASE_CAUSE_")
    more = f": {one_line(event.attempt_released.message)}" if event.attempt_released.message else ""
    return [Line(f"attempt {event.attempt} went back unstarted: {cause}{more}", Tone.WARNING)]


def _attempt_failed(event: event_pb2.Event) -> list[Line]:
    failed = event.attempt_failed
    why = one_line(outcomes.failure_line(failed.failure), 200)
    return [Line(f"attempt {event.attempt} failed: {why}; {decision_text(event, failed.decision)}", Tone.WARNING)]


def _handed_back(event: event_pb2.Event) -> list[Line]:
    back = event.attempt_handed_back
    text = f"attempt {event.attempt} handed back by {back.worker_id}; {decision_text(event, back.decision)}"
    return [Line(text + _until(back, "hold_expire_time", "; that worker is waited for until "), Tone.WARNING)]


def _snoozed(event: event_pb2.Event) -> list[Line]:
    why = f": {one_line(event.attempt_snoozed.reason)}" if event.attempt_snoozed.reason else ""
    return [Line(f"attempt {event.attempt} put itself off{_until(event.attempt_snoozed, 'next_time', ' until ')}{why}")]


def _scheduled(event: event_pb2.Event) -> list[Line]:
    return [Line(f"waits for its time{_until(event.scheduled, 'due_time', ': due ')}")]


def _attempt_lost(event: event_pb2.Event) -> list[Line]:
    lost = event.attempt_lost
    why = f": {one_line(lost.reason)}" if lost.reason else ""
    text = f"attempt {event.attempt} lost with worker {lost.worker_id}{why}; {decision_text(event, lost.decision)}"
    return [Line(text + _until(lost, "hold_expire_time", "; that worker is waited for until "), Tone.WARNING)]


def _timed_out(event: event_pb2.Event) -> list[Line]:
    kind = outcome_pb2.TimeoutKind.Name(event.attempt_timed_out.timeout).removeprefix("TIMEOUT_KIND_").lower()
    limit = f": {one_line(event.attempt_timed_out.message)}" if event.attempt_timed_out.message else ""
    text = f"attempt {event.attempt} passed its {kind} timeout{limit}; its worker is told to end it"
    return [Line(text, Tone.WARNING)]


def _budget_reached(event: event_pb2.Event) -> list[Line]:
    reached = event.budget_reached
    used = []
    if reached.max_cost_usd_micros:
        used.append(f"{amounts.dollars(reached.used_usd_micros)} of {amounts.dollars(reached.max_cost_usd_micros)}")
    if reached.max_tokens:
        used.append(f"{amounts.tokens(reached.used_tokens)} of {amounts.tokens(reached.max_tokens)} tokens")
    whose = f"owner {reached.owner}" if reached.owner else f"namespace {reached.namespace}"
    what = f"budget of {whose} {BUDGET_PERIODS.get(reached.period, '')}: {', '.join(used)} used"
    stops = {
        event_pb2.BUDGET_MARK_RESERVATION: f"; the attempt has used the {amounts.dollars(reached.reserved_usd_micros)}"
        " that it had reserved, and ends",
        event_pb2.BUDGET_MARK_LIMIT: "; the attempt has to end",
    }
    return [Line(what + stops.get(reached.mark, ""), Tone.WARNING)]


BUDGET_PERIODS: dict[capacity_pb2.BudgetPeriod, str] = {
    capacity_pb2.BUDGET_PERIOD_DAY: "by day",
    capacity_pb2.BUDGET_PERIOD_TOTAL: "in total",
}


def _input_requested(event: event_pb2.Event) -> list[Line]:
    expiry = _until(event.input_requested, "expire_time", ", denied at ")
    return [Line(f"waits for an answer: {asked_text(event.input_requested.request)}{expiry}", Tone.WARNING)]


def _input_resolved(event: event_pb2.Event) -> list[Line]:
    resolved = event.input_resolved
    how = input_pb2.InputResolution.Name(resolved.resolution).removeprefix("INPUT_RESOLUTION_").lower()
    who = f" by {resolved.actor}" if resolved.actor else ""
    said = f": {one_line(resolved.message)}" if resolved.message else ""
    return [Line(f"request for an answer {how}{who}{said}")]


def _cancel_requested(event: event_pb2.Event) -> list[Line]:
    reason = f": {one_line(event.cancel_requested.reason, 300)}" if event.cancel_requested.reason else ""
    who = f" by {event.cancel_requested.actor}" if event.cancel_requested.actor else ""
    return [Line(f"cancel requested{who}{reason}{_cause(event.cancel_requested)}", Tone.WARNING)]


def _cause(cancel: event_pb2.CancelRequested | job_pb2.Cancellation) -> str:
    """What led to a cancel, where it was not a person."""
    if cancel.cause == job_pb2.CANCEL_CAUSE_SUPERSEDED:
        return f" (job {cancel.superseded_by_job_id} takes its place)"
    return f" ({CANCEL_CAUSES[cancel.cause]})" if cancel.cause in CANCEL_CAUSES else ""


CANCEL_CAUSES: dict[job_pb2.CancelCause, str] = {
    job_pb2.CANCEL_CAUSE_DEPENDENCY: "a job it depends on was cancelled",
    job_pb2.CANCEL_CAUSE_OVERLAP: "a newer firing of its schedule takes its place",
    job_pb2.CANCEL_CAUSE_PURGED: "its queue was purged",
}


def _cancel_stepped(event: event_pb2.Event) -> list[Line]:
    stepped = event.cancel_stepped
    what = {
        event_pb2.CANCEL_STEP_INTERRUPT: "asked to stop",
        event_pb2.CANCEL_STEP_CLOSE_INPUT: "standard input closed",
        event_pb2.CANCEL_STEP_TERMINATE: "SIGTERM to the process tree",
        event_pb2.CANCEL_STEP_KILL: "SIGKILL to the process tree",
        event_pb2.CANCEL_STEP_TREE_GONE: f"process tree gone, {stepped.survivors} left",
    }.get(stepped.step, "step")
    more = f" ({one_line(stepped.message)})" if stepped.message else ""
    return [Line(f"cancel: {what}{more}", Tone.WARNING if stepped.survivors else Tone.NOTE)]


def _updated(event: event_pb2.Event) -> list[Line]:
    changed = event.updated
    spec = changed.spec
    words = {
        "priority": f"priority {spec.priority}",
        "labels": "labels " + (", ".join(f"{key}={value}" for key, value in sorted(spec.labels.items())) or "none"),
        "schedule_time": _until(spec, "schedule_time", "scheduled for ") or "scheduled for now",
    }
    who = f" by {changed.actor}" if changed.actor else ""
    return [Line(f"updated{who}: {', '.join(words.get(path, path) for path in changed.update_mask.paths)}")]


def _truncated(event: event_pb2.Event) -> list[Line]:
    kept = amounts.size(event.output_truncated.output_bytes_max)
    return [Line(f"output past {kept} is not kept; the job goes on", Tone.WARNING)]


NARRATORS: dict[str, Callable[[event_pb2.Event], list[Line]]] = {
    "submitted": _submitted,
    "queued": _queued,
    "attempt_assigned": _assigned,
    "attempt_started": _started,
    "attempt_released": _released,
    "attempt_failed": _attempt_failed,
    "attempt_lost": _attempt_lost,
    "attempt_timed_out": _timed_out,
    "budget_reached": _budget_reached,
    "input_requested": _input_requested,
    "input_resolved": _input_resolved,
    "cancel_requested": _cancel_requested,
    "cancel_stepped": _cancel_stepped,
    "updated": _updated,
    "scheduled": _scheduled,
    "attempt_handed_back": _handed_back,
    "attempt_snoozed": _snoozed,
    "output_truncated": _truncated,
}
"""Terminal events are told by `outcome_line`, with the totals that only the job has."""
