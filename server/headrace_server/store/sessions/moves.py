"""Whether a session can go on at another worker than its own, and from what (R6, X1).

It reads only; what follows from it is for `bindings` to say.
"""

from headrace.v1 import job_pb2, task_pb2
from headrace_server.core.job import Job
from headrace_server.store.engine import Query
from headrace_server.store.sessions.session_row import StoredSession, read_session
from headrace_server.store.sessions.snapshots import StoredSnapshot, latest_snapshot


def snapshot_for(query: Query, session: StoredSession) -> StoredSnapshot | None:
    """What a session can go on from elsewhere: its own snapshot, or that of the one it is a fork of while it has no
    conversation of its own; None when there is nothing."""
    if session.claude_session or session.forked_from is None:
        return latest_snapshot(query, session.row)
    source = read_session(query, session.forked_from)
    return latest_snapshot(query, source.row) if source is not None else None


def may_move(query: Query, session: StoredSession) -> bool:
    """Whether a session goes on anywhere: there is a snapshot, and the worker that has its conversation is lost, or has
    it no more because what the session is a fork of has moved."""
    if snapshot_for(query, session) is None:
        return False
    if is_lost(query, session.holder):
        return True
    if session.claude_session or session.forked_from is None:
        return False
    source = read_session(query, session.forked_from)
    return source is not None and source.worker != session.source_worker


def is_lost(query: Query, worker: str) -> bool:
    """Whether the lease of a worker has ended, and it has not come back: nothing that it has started runs any more."""
    found = query("SELECT lost FROM workers WHERE worker = ?", (worker,))
    return bool(found) and bool(found[0][0])


def is_reached(query: Query, session: StoredSession, job: Job) -> bool:
    """Whether what a turn has to go on with can be had without its worker.

    One that is to be resumed, because it has changed the world, can't go on from before that: it needs a snapshot of
    its own latest attempt, and the folder that it worked in.
    """
    if not job.dirty:
        return True
    spec = query("SELECT spec FROM job_specs WHERE job = ?", (job.row,))[0][0]
    task = job_pb2.JobSpec.FromString(spec).claude
    if task.resume_policy == task_pb2.RESUME_POLICY_FRESH:
        return True
    snapshot = latest_snapshot(query, session.row)
    if snapshot is None or (snapshot.job, snapshot.epoch) != (job.row, job.epoch):
        return False
    return snapshot.has_workspace or task.workspace.HasField("folder")


def way_out(query: Query, job: Job) -> int:
    """The number of the turn from whose snapshot a turn that waits for its worker goes on elsewhere once that is lost;
    zero when it can't."""
    session = read_session(query, job.turn.session_id) if job.turn is not None else None
    snapshot = snapshot_for(query, session) if session is not None else None
    return snapshot.turn if session is not None and snapshot is not None and is_reached(query, session, job) else 0
