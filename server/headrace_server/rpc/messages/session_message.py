"""A session as the contract's message."""

from headrace.v1 import session_pb2
from headrace_server.core.ids import Micros, job_id_text
from headrace_server.store.codec import number, set_time, usage_message
from headrace_server.store.sessions.listing import SeenSession
from headrace_server.store.sessions.session_row import StoredSession


def session_message(seen: SeenSession, process: session_pb2.SessionProcess | None = None) -> session_pb2.Session:
    """A session; `process` as its worker last said, where that is wanted and there is one."""
    session = seen.session
    message = session_pb2.Session(
        id=job_id_text(session.id),
        namespace=session.namespace,
        state=number(seen.state),
        etag=str(session.version),
        close_reason=session.end_reason,
        turn_count=session.ended_turns,
        pending_turn_count=len(seen.pending),
        usage=usage_message(session.usage),
        claude_session_id=session.claude_session,
        open_inputs=seen.inputs,
        fork_session_ids=map(job_id_text, seen.forks),
    )
    message.spec.ParseFromString(session.spec)
    message.run_duration.FromMicroseconds(session.run_micros)
    if seen.active is not None:
        message.active_job_id = job_id_text(seen.active.id)
    if seen.last is not None:
        message.last_job_id = job_id_text(seen.last)
    if session.forked_from is not None:
        message.forked_from_session_id = job_id_text(session.forked_from)
    if seen.snapshot is not None:
        message.latest_snapshot.CopyFrom(seen.snapshot.message())
    _set_times(message, session)
    if session.binding_epoch:
        _set_binding(message.binding, session, process)
    return message


def _set_times(message: session_pb2.Session, session: StoredSession) -> None:
    for field, time in (
        (message.create_time, session.created),
        (message.update_time, session.updated),
        (message.activity_time, session.activity),
        (message.close_time, session.ended),
    ):
        if time:
            set_time(field, Micros(time))


def _set_binding(
    message: session_pb2.SessionBinding, session: StoredSession, process: session_pb2.SessionProcess | None
) -> None:
    message.worker_id = session.worker
    message.epoch = session.binding_epoch
    set_time(message.time, session.bound)
    if process is not None:
        message.process.CopyFrom(process)
