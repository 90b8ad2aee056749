"""Changing the settings of a session (UpdateSession): what turns of it take part, and from when on.

The turn that runs is told of a model and a permission mode; turns that wait take over what they had from the session;
the rest is for turns to come.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.field_mask_pb2 import FieldMask

from headrace.v1 import job_pb2, session_pb2, task_pb2, worker_service_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.refusal import Refusal
from headrace_server.core.states import WAITING, JobState
from headrace_server.store.attempts.commands import tell_settings
from headrace_server.store.etags import stale_etag
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.line import pending_turns
from headrace_server.store.sessions.session_row import (
    StoredSession,
    find_session,
    save_session,
    session_ended,
    store_labels,
)
from headrace_server.store.sessions.sessions import audit_session

_TASK = "task."


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What somebody wants to be otherwise."""

    paths: Sequence[str]
    """Of the `SessionSpec`."""
    spec: session_pb2.SessionSpec
    """Holds their new values."""
    etag: str
    """Compared when not empty."""
    actor: str


def update_session(ledger: Ledger, namespace: str, session_id: JobId, change: SessionChange) -> StoredSession | Refusal:
    """Changes settings of a session."""
    session = find_session(ledger, namespace, session_id)
    if isinstance(session, Refusal):
        return session
    refusal = session_ended(session) or stale_etag("Session", job_id_text(session_id), session.version, change.etag)
    if refusal is not None:
        return refusal
    earlier = session_pb2.SessionSpec.FromString(session.spec)
    spec = _changed_spec(earlier, change)
    session.spec = spec.SerializeToString(deterministic=True)
    session.version += 1
    session.updated = ledger.now
    save_session(ledger, session)
    if "labels" in change.paths:
        store_labels(ledger, session, dict(earlier.labels), dict(spec.labels))
    names = [path.removeprefix(_TASK) for path in change.paths if path.startswith(_TASK)]
    if names:
        _tell_turns(ledger, session, _Taken(names, earlier.task, spec.task))
    audit_session(ledger, change.actor, "UpdateSession", session, f"changed {', '.join(sorted(change.paths))}")
    return session


@dataclass(frozen=True, slots=True)
class _Taken:
    """Settings of turns that have changed."""

    names: Sequence[str]
    """Fields of `ClaudeTask`."""
    earlier: task_pb2.ClaudeTask
    wanted: task_pb2.ClaudeTask


def _tell_turns(ledger: Ledger, session: StoredSession, taken: _Taken) -> None:
    """What a turn has said for itself stays as it is."""
    for job in pending_turns(ledger, session):
        spec = job_pb2.JobSpec.FromString(_spec_of(ledger, job))
        names = [name for name in taken.names if getattr(spec.claude, name) == getattr(taken.earlier, name)]
        if job.state in WAITING:
            _take_over(spec.claude, names, taken.wanted)
            body = spec.SerializeToString(deterministic=True)
            ledger.run("UPDATE job_specs SET spec = ? WHERE job = ?", (body, job.row))
        elif job.state is not JobState.CANCELLING:
            settings = worker_service_pb2.SettingsCommand()
            if "model" in names:
                settings.model = taken.wanted.model
            if "permission_mode" in names:
                settings.permission_mode = taken.wanted.permission_mode
            if settings.ByteSize():
                tell_settings(ledger, job, settings)


def _take_over(task: task_pb2.ClaudeTask, names: Sequence[str], wanted: task_pb2.ClaudeTask) -> None:
    for name in names:
        task.ClearField(name)
    FieldMask(paths=list(names)).MergeMessage(wanted, task)


def _spec_of(ledger: Ledger, job: Job) -> bytes:
    return bytes(ledger.query("SELECT spec FROM job_specs WHERE job = ?", (job.row,))[0][0])


def _changed_spec(earlier: session_pb2.SessionSpec, change: SessionChange) -> session_pb2.SessionSpec:
    spec = session_pb2.SessionSpec()
    spec.CopyFrom(earlier)
    for path in change.paths:
        target = spec
        *outer, name = path.split(".")
        for part in outer:
            target = getattr(target, part)
        target.ClearField(name)
    FieldMask(paths=list(change.paths)).MergeMessage(change.spec, spec)
    return spec
