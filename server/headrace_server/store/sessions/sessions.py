"""Making, changing, forking, interrupting and closing sessions (X4)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.v1 import session_pb2
from headrace_server.core.ids import JobId, Micros, job_id_text, new_job_id, random_bits_needed
from headrace_server.core.job import CancelCause, Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import LEASED, JobState
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.jobs.claude_defaults import fill_session
from headrace_server.store.jobs.refusals import request_reused
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import DEFAULT_QUEUE, policy_of
from headrace_server.store.records.audit import record_audit
from headrace_server.store.records.settings import settings_of
from headrace_server.store.sessions.bindings import end_turns, forget_snapshot
from headrace_server.store.sessions.limits import too_many_sessions
from headrace_server.store.sessions.line import pending_turns
from headrace_server.store.sessions.session_row import (
    StoredSession,
    find_session,
    insert_session,
    read_session,
    save_session,
    session_ended,
    store_labels,
)
from headrace_server.store.sessions.snapshots import drop_snapshot

_FINGERPRINT_VERSION = b"\x03"
"""Of a session or a fork; never that of a job's spec, so a `request_id` of one is no repeat of the other."""


@dataclass(frozen=True, slots=True)
class Made:
    """A session that is in the store; or, of a repeated call, one that was there and is removed since."""

    session: StoredSession
    deduplicated: bool


@dataclass(frozen=True, slots=True)
class Fork:
    """A session that is to go on from another one."""

    session_id: JobId
    display_name: str
    labels: Mapping[str, str]


def create_session(
    ledger: Ledger, namespace: str, request_id: str, spec: session_pb2.SessionSpec, actor: str
) -> Made | Refusal:
    """Makes a session. The spec was checked before; its `queue` and `owner` are filled in by this."""
    spec.queue = spec.queue or DEFAULT_QUEUE
    spec.owner = spec.owner or actor
    fingerprint = _fingerprint(b"create", spec.SerializeToString(deterministic=True))
    earlier = _repeated(ledger, namespace, request_id, fingerprint)
    if earlier is not None:
        return earlier
    refusal = _no_queue(ledger, namespace, spec.queue) or too_many_sessions(ledger, namespace, spec.owner)
    if refusal is not None:
        return refusal
    fill_session(spec, settings_of(ledger, namespace), spec.queue)
    session = _new(ledger, namespace, request_id, spec)
    _store(ledger, session, spec, fingerprint)
    return Made(session, deduplicated=False)


def fork_session(ledger: Ledger, namespace: str, request_id: str, fork: Fork, actor: str) -> Made | Refusal:
    """Makes a session that goes on from where another one is now."""
    asked = session_pb2.SessionSpec(display_name=fork.display_name, labels=fork.labels)
    fingerprint = _fingerprint(b"fork", fork.session_id + asked.SerializeToString(deterministic=True))
    earlier = _repeated(ledger, namespace, request_id, fingerprint)
    if earlier is not None:
        return earlier
    source = find_session(ledger, namespace, fork.session_id)
    if isinstance(source, Refusal):
        return source
    refusal = session_ended(source) or _empty(source) or too_many_sessions(ledger, namespace, source.owner)
    if refusal is not None:
        return refusal
    spec = session_pb2.SessionSpec.FromString(source.spec)
    spec.display_name = fork.display_name or spec.display_name
    if fork.labels:
        spec.ClearField("labels")
        spec.labels.update(fork.labels)
    session = _new(ledger, namespace, request_id, spec)
    session.forked_from = source.id
    session.source_worker, session.source_claude_session = source.worker, source.claude_session
    _store(ledger, session, spec, fingerprint)
    detail = f"made session {job_id_text(session.id)}"
    audit_session(ledger, actor, "ForkSession", source, detail)
    return Made(session, deduplicated=False)


def close_session(
    ledger: Ledger, namespace: str, session_id: JobId, reason: str, actor: str, *, finish_turn: bool
) -> StoredSession | Refusal:
    """Closes a session: it takes no further turn. Changes nothing of one that has ended."""
    session = find_session(ledger, namespace, session_id)
    if isinstance(session, Refusal) or session.ended:
        return session
    session.ended = session.updated = ledger.now
    session.end_reason = reason
    session.version += 1
    save_session(ledger, session)
    because = f": {reason}" if reason else ""
    end_turns(ledger, session, f"its session was closed{because}", actor, keep_active=finish_turn)
    forget_snapshot(ledger, session)
    audit_session(ledger, actor, "CloseSession", session, f"reason: {reason}" if reason else "")
    return session


def interrupt_session(ledger: Ledger, namespace: str, session_id: JobId, reason: str, actor: str) -> Job | Refusal:
    """Ends the turn that runs, not the session: turns that wait go on."""
    session = find_session(ledger, namespace, session_id)
    if isinstance(session, Refusal):
        return session
    active = [job for job in pending_turns(ledger, session) if job.state in LEASED]
    if not active:
        text = job_id_text(session_id)
        return Refusal(Reason.NO_ACTIVE_TURN, f"no turn of session {text} is active", "headrace.v1.Session", text)
    # Of two, the one that began first is what the CLI is busy with.
    job = min(active, key=lambda job: (job.state is JobState.CANCELLING, job.begun or ledger.now))
    if job.state is not JobState.CANCELLING:
        cancel(ledger, namespace, job.id, reason, actor, CancelCause.INTERRUPTED)
        audit_session(ledger, actor, "InterruptSession", session, f"ended job {job_id_text(job.id)}")
    return job


def remove_sessions(ledger: Ledger, ended_by: Micros, count: int) -> bool:
    """Removes sessions that had ended by a time and of whose turns none is left; says whether there may be more."""
    found = ledger.look_up(
        "SELECT id FROM sessions WHERE ended > 0 AND ended <= ? AND NOT EXISTS"
        " (SELECT 1 FROM session_turns WHERE session_turns.session = sessions.session) ORDER BY ended LIMIT ?",
        (ended_by, count),
    )
    for (session_id,) in found:
        session = read_session(ledger.look_up, JobId(bytes(session_id)))
        assert session is not None, "a session that was just found"
        _remove(ledger, session)
    return len(found) == count


def _remove(ledger: Ledger, session: StoredSession) -> None:
    store_labels(ledger, session, dict(session_pb2.SessionSpec.FromString(session.spec).labels), {})
    if session.request_id:
        ledger.run(
            "UPDATE requests SET deleted = ? WHERE namespace = ? AND request_id = ? AND id = ?",
            (ledger.now, session.namespace, session.request_id, session.id),
        )
    drop_snapshot(ledger, session)
    ledger.run("DELETE FROM sessions WHERE session = ?", (session.row,))
    ledger.effects.sessions.add(session.id)


def _new(ledger: Ledger, namespace: str, request_id: str, spec: session_pb2.SessionSpec) -> StoredSession:
    return StoredSession(
        row=ledger.next_number("session"),
        id=new_job_id(ledger.now, ledger.entropy.getrandbits(random_bits_needed())),
        namespace=namespace,
        owner=spec.owner,
        queue=spec.queue,
        created=ledger.now,
        spec=spec.SerializeToString(deterministic=True),
        request_id=request_id,
        updated=ledger.now,
        activity=ledger.now,
    )


def _store(ledger: Ledger, session: StoredSession, spec: session_pb2.SessionSpec, fingerprint: bytes) -> None:
    insert_session(ledger, session)
    store_labels(ledger, session, {}, dict(spec.labels))
    if session.request_id:
        columns = ("namespace", "request_id", "fingerprint", "id", "session")
        ledger.insert("requests", columns, [(session.namespace, session.request_id, fingerprint, session.id, 1)])


def _repeated(ledger: Ledger, namespace: str, request_id: str, fingerprint: bytes) -> Made | Refusal | None:
    if not request_id:
        return None
    found = ledger.look_up(
        "SELECT fingerprint, id, session FROM requests WHERE namespace = ? AND request_id = ?", (namespace, request_id)
    )
    if not found:
        return None
    earlier, owner_id, is_session = bytes(found[0][0]), JobId(bytes(found[0][1])), bool(found[0][2])
    if earlier != fingerprint:
        return request_reused(request_id, owner_id, is_session=is_session)
    session = read_session(ledger.look_up, owner_id)
    return Made(session or _removed(namespace, owner_id), deduplicated=True)


def _removed(namespace: str, session_id: JobId) -> StoredSession:
    """What is still known of a session that was removed: that it had been closed."""
    return StoredSession(0, session_id, namespace, "", "", Micros(0), b"", ended=Micros(1))


def _no_queue(ledger: Ledger, namespace: str, queue: str) -> Refusal | None:
    policy = policy_of(ledger, namespace, queue)
    if policy is None:
        message = f"there is no queue {queue!r} in namespace {namespace!r}"
        return Refusal(Reason.NOT_FOUND, message, "headrace.v1.Queue", queue)
    if policy.executors and "claude" not in policy.executors:
        message = f"queue {queue!r} takes {', '.join(sorted(policy.executors))} tasks, not claude"
        metadata = {"field": "spec.queue"}
        return Refusal(Reason.EXECUTOR_NOT_TAKEN, message, "headrace.v1.Queue", queue, metadata=metadata)
    return None


def _empty(session: StoredSession) -> Refusal | None:
    if session.claude_session:
        return None
    text = job_id_text(session.id)
    message = f"session {text} has had no turn to go on from"
    return Refusal(Reason.SESSION_EMPTY, message, "headrace.v1.Session", text)


def _fingerprint(kind: bytes, body: bytes) -> bytes:
    return _FINGERPRINT_VERSION + hashlib.blake2b(body, digest_size=16, person=kind).digest()


def audit_session(ledger: Ledger, actor: str, rpc: str, session: StoredSession, detail: str) -> None:
    """Puts a change of a session into the audit log, by its rpc."""
    name = job_id_text(session.id)
    record_audit(ledger, actor, f"SessionService.{rpc}", session.namespace, "session", name, detail)
