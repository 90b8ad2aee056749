"""Snapshots of sessions: what a session goes on from on another worker once its own is lost (R6).

Of each session the latest one is known. It is an artifact of the job of its turn; the one before is removed, so that
what a session takes does not grow with its turns. When a session may move is decided in `bindings`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.v1 import event_pb2, session_pb2
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.store.attempts.artifacts import remove_artifact, whole_artifact
from headrace_server.store.codec import set_time
from headrace_server.store.engine import Query, in_list
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.session_row import StoredSession, existing

_COLUMNS = ("job", "job_id", "epoch", "name", "size", "sha256", "turn", "contents", "worker", "binding_epoch", "taken")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM session_snapshots WHERE session = ?"


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot that is whole."""

    job: int
    """Row of the job whose artifact it is."""
    job_id: JobId
    epoch: int
    """Of the attempt that it was taken after."""
    name: str
    size: int
    sha256: str
    turn: int
    contents: session_pb2.SnapshotPolicy
    worker: str
    binding_epoch: int
    taken: Micros

    @property
    def has_workspace(self) -> bool:
        """Whether the session's own folder is in it."""
        return self.contents == session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE

    def message(self) -> session_pb2.SessionSnapshot:
        """The contract's form of it."""
        said = session_pb2.SessionSnapshot(
            job_id=job_id_text(self.job_id),
            artifact_name=self.name,
            size_bytes=self.size,
            sha256=self.sha256,
            turn=self.turn,
            worker_id=self.worker,
            binding_epoch=self.binding_epoch,
            contents=self.contents,
        )
        set_time(said.time, self.taken)
        return said


def latest_snapshot(query: Query, session: int) -> StoredSnapshot | None:
    """The latest snapshot of the session with that row, or None."""
    found = query(_SELECT, (session,))
    if not found:
        return None
    values = dict(zip(_COLUMNS, found[0], strict=True))
    return StoredSnapshot(**{**values, "job_id": JobId(bytes(values["job_id"]))})


def kept_by(query: Query, jobs: Sequence[int]) -> dict[int, JobId]:
    """Of jobs, by their rows, those that keep what a session or a fork of it would go on from, and which session."""
    if not jobs:
        return {}
    marks, values = in_list(jobs)
    found = query(
        "SELECT job, sessions.id FROM session_snapshots JOIN sessions ON sessions.session = session_snapshots.session"
        f" WHERE job IN ({marks}) AND (sessions.ended = 0"
        " OR EXISTS (SELECT 1 FROM session_turns WHERE session = sessions.session AND ended = 0)"
        " OR EXISTS (SELECT 1 FROM sessions AS fork"
        " WHERE fork.forked_from = sessions.id AND fork.ended = 0 AND fork.claude_session = ''))",
        values,
    )
    return {int(row): JobId(bytes(session_id)) for row, session_id in found}


def note_snapshot(ledger: Ledger, job: Job, note: event_pb2.SnapshotNote) -> None:
    """Takes note of what a worker says of a snapshot, and puts into its words what is known here.

    Without one after this turn the session can't move: from an older one it would go on as if the turn had not been.
    """
    if job.turn is None or note.action == event_pb2.SNAPSHOT_ACTION_RESTORED:
        return
    session = existing(ledger, job.turn.session_id)
    earlier = latest_snapshot(ledger.look_up, session.row)
    if earlier is not None and job.turn.background and earlier.turn > job.turn.number:
        _refuse_older(ledger, job, note, earlier)
        return
    taken = _taken(ledger, session, job, note) if note.action == event_pb2.SNAPSHOT_ACTION_TAKEN else None
    if earlier is not None and (taken is None or (earlier.job, earlier.name) != (taken.job, taken.name)):
        _drop(ledger, session, earlier)
    if taken is None:
        note.action = event_pb2.SNAPSHOT_ACTION_FAILED
        note.ClearField("snapshot")
        return
    note.snapshot.CopyFrom(taken.message())
    columns = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
    values = (session.row, *(getattr(taken, column) for column in _COLUMNS))
    ledger.insert(
        "session_snapshots", ("session", *_COLUMNS), [values], f"ON CONFLICT (session) DO UPDATE SET {columns}"
    )


def drop_snapshot(ledger: Ledger, session: StoredSession) -> None:
    """Removes what is kept of a session that nobody will go on with."""
    snapshot = latest_snapshot(ledger.look_up, session.row)
    if snapshot is not None:
        _drop(ledger, session, snapshot)


def _refuse_older(ledger: Ledger, job: Job, note: event_pb2.SnapshotNote, latest: StoredSnapshot) -> None:
    """A message waits for what the CLI does by itself, but not until that is stored, which may so come after it."""
    if note.action == event_pb2.SNAPSHOT_ACTION_TAKEN:
        remove_artifact(ledger, job.row, note.snapshot.artifact_name)
    note.action = event_pb2.SNAPSHOT_ACTION_FAILED
    note.message = f"it is older than the one of turn {latest.turn}, which is kept"
    note.ClearField("snapshot")


def _taken(ledger: Ledger, session: StoredSession, job: Job, note: event_pb2.SnapshotNote) -> StoredSnapshot | None:
    assert job.turn is not None, "only a turn has a session"
    said = note.snapshot
    artifact = whole_artifact(ledger, job, said.artifact_name)
    if artifact is None or artifact.sha256 != said.sha256:
        note.message = "the artifacts of the job have no room for it"
        return None
    return StoredSnapshot(
        job=job.row,
        job_id=job.id,
        epoch=job.epoch,
        name=artifact.name,
        size=artifact.size_bytes,
        sha256=artifact.sha256,
        turn=job.turn.number,
        contents=said.contents,
        worker=job.worker,
        binding_epoch=session.binding_epoch,
        taken=ledger.now,
    )


def _drop(ledger: Ledger, session: StoredSession, snapshot: StoredSnapshot) -> None:
    remove_artifact(ledger, snapshot.job, snapshot.name)
    ledger.run("DELETE FROM session_snapshots WHERE session = ?", (session.row,))
