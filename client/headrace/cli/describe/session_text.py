"""Sessions as text: a table, the full description, what is asked. Pure; the present time comes in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from google.protobuf.message import Message

from headrace import tasks
from headrace.cli import amounts, narration
from headrace.cli.describe import job_text, tables
from headrace.cli.parts import one_line
from headrace.v1 import input_pb2, session_pb2, task_pb2

COLUMNS = ("ID", "STATE", "OWNER", "ACTIVE", "TURNS", "COST", "WORKER", "WHAT")


def state_word(state: session_pb2.SessionState) -> str:
    """`RUNNING` of `SESSION_STATE_RUNNING`; a state that this version does not know by its number."""
    if state not in session_pb2.SessionState.values():
        return f"state {int(state)}"
    return session_pb2.SessionState.Name(state).removeprefix("SESSION_STATE_")


def session_table(sessions: Sequence[session_pb2.Session], now: datetime) -> list[str]:
    """Sessions, a line each."""
    return tables.table(COLUMNS, [_row(session, now) for session in sessions])


def session_lines(session: session_pb2.Session, now: datetime) -> list[str]:
    """Everything that a person wants to know of a session."""
    return tables.fields(
        {**_what(session), **_course(session, now), **_binding(session, now)},
        *(("fork", one) for one in session.fork_session_ids),
        *(("asks", input_line(one, now)) for one in session.open_inputs),
    )


def input_line(one: session_pb2.OpenInput, now: datetime) -> str:
    """What is asked of a person: `Bash rm -rf build (request req-1 of job …), denied in 9 min`."""
    asked = one.request
    what = asked.tool_name if asked.kind != input_pb2.INPUT_KIND_QUESTION else "question:"
    subject = f"{one_line(what, 60)} {narration.tool_input(asked.input_json)}".strip()
    expiry = ""
    if one.HasField("expire_time"):
        left = (amounts.moment(one.expire_time) - now).total_seconds()
        expiry = f", denied in {amounts.short(left)}" if left > 0 else ", about to be denied"
    return f"{subject} (request {asked.request_id} of job {one.job_id}){expiry}"


def _row(session: session_pb2.Session, now: datetime) -> tuple[str, ...]:
    turns = str(session.turn_count) + (f"+{session.pending_turn_count}" if session.pending_turn_count else "")
    return (
        session.id,
        state_word(session.state),
        one_line(session.spec.owner, 20),
        amounts.age(session.activity_time if session.HasField("activity_time") else session.create_time, now),
        turns,
        amounts.dollars(session.usage.cost_usd_micros) if session.usage.cost_usd_micros else "",
        one_line(session.binding.worker_id, 20),
        one_line(session.spec.display_name, 60),
    )


def _what(session: session_pb2.Session) -> dict[str, str]:
    spec = session.spec
    mode = spec.task.permission_mode
    return {
        "session": session.id + (f"  ({one_line(spec.display_name, 256)})" if spec.display_name else ""),
        "state": state_word(session.state) + (f": {one_line(session.close_reason)}" if session.close_reason else ""),
        "queue": spec.queue,
        "owner": spec.owner,
        "labels": job_text.pairs(spec.labels),
        "model": spec.task.model,
        "mode": mode_word(mode) if mode else "",
        "folder": _folder(spec.task.workspace),
        "fork of": session.forked_from_session_id,
    }


def _folder(workspace: task_pb2.Workspace) -> str:
    return workspace.git_worktree.repository or workspace.folder + (" (shared)" if workspace.shared else "")


def mode_word(mode: int) -> str:
    """The CLI's word for a permission mode."""
    return next((word for word, value in tasks.PERMISSION_MODES.items() if value == mode and word), str(mode))


def _course(session: session_pb2.Session, now: datetime) -> dict[str, str]:
    ran = amounts.seconds_of(session.run_duration)
    return {
        "created": _ago(session, "create_time", now),
        "active": _ago(session, "activity_time", now),
        "ended": _ago(session, "close_time", now),
        "turns": f"{session.turn_count} ended"
        + (f", {session.pending_turn_count} pending" if session.pending_turn_count else ""),
        "turn": session.active_job_id or session.last_job_id,
        "ran": amounts.elapsed(ran) if ran else "",
        "used": ", ".join(amounts.usage(session.usage)),
        "conversation": session.claude_session_id,
    }


def _binding(session: session_pb2.Session, now: datetime) -> dict[str, str]:
    if not session.HasField("binding"):
        return {}
    binding = session.binding
    found = {"worker": f"{binding.worker_id}, binding {binding.epoch}"}
    if binding.HasField("process"):
        process = binding.process
        busy = "busy" if process.busy else "idle"
        since = f", started {amounts.age(process.start_time, now)} ago" if process.HasField("start_time") else ""
        found["process"] = f"{process.process_id}, {busy}, {amounts.size(process.memory_bytes)}{since}"
        found["works in"] = process.folder
    if session.HasField("latest_snapshot"):
        found["snapshot"] = _snapshot(session.latest_snapshot, now)
    return found


def _snapshot(snapshot: session_pb2.SessionSnapshot, now: datetime) -> str:
    """What it can go on from: `turn 7, 1.2 MiB with its folder, 3 min ago: it moves when w1 is lost`."""
    whole = snapshot.contents == session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE
    what = f"turn {snapshot.turn}, {amounts.size(snapshot.size_bytes)}{' with its folder' if whole else ''}"
    return f"{what}, {amounts.age(snapshot.time, now)} ago: the session moves when its worker is lost"


def _ago(message: Message, field: str, now: datetime) -> str:
    if not message.HasField(field):
        return ""
    stamp = getattr(message, field)
    return f"{amounts.clock(stamp)}  ({amounts.age(stamp, now)} ago)"
