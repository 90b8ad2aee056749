"""Sessions of which snapshots are taken: what a worker sends of one, and what the store has of it."""

import hashlib
from typing import Any

from headrace.v1 import event_pb2, outcome_pb2, session_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.job import Job
from headrace_server.store.attempts import artifacts as artifact_verbs
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.sessions.snapshots import StoredSnapshot, latest_snapshot
from store.conversing import Conversing, session_spec
from store.driving import HOME, Bench

NAME = "session.tar.gz"
WHOLE = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE


def snapshot(
    first: int, data: bytes = b"archive", sha256: str = "", contents: session_pb2.SnapshotPolicy = WHOLE
) -> list[event_pb2.Output]:
    """What a worker sends of one."""
    digest = sha256 or hashlib.sha256(data).hexdigest()
    note = event_pb2.SnapshotNote(
        action=event_pb2.SNAPSHOT_ACTION_TAKEN,
        snapshot=session_pb2.SessionSnapshot(artifact_name=NAME, sha256=digest, contents=contents),
    )
    part = event_pb2.ArtifactPart(name=NAME, data=data)
    artifact = outcome_pb2.Artifact(name=NAME, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    return [
        event_pb2.Output(producer_sequence=first, artifact_part=part),
        event_pb2.Output(producer_sequence=first + 1, artifact=artifact),
        event_pb2.Output(producer_sequence=first + 2, snapshot=note),
    ]


def shipped(**task: Any) -> session_pb2.SessionSpec:
    """Of a session of which snapshots are taken."""
    spec = session_spec(**task) if task else session_pb2.SessionSpec()
    spec.snapshots = WHOLE
    return spec


def failed_note(sequence: int) -> event_pb2.Output:
    note = event_pb2.SnapshotNote(action=event_pb2.SNAPSHOT_ACTION_FAILED, message="too large")
    return event_pb2.Output(producer_sequence=sequence, snapshot=note)


def turn(session: Conversing, holder: Holder = HOME, data: bytes = b"archive") -> Job:
    """A turn after which a snapshot is taken."""
    bench, job = session.bench, session.say()
    lease = session.start(job.id, holder)
    bench.append(lease, *snapshot(2, data), holder=holder)
    bench.finish(lease, holder, outputs=4)
    return bench.job(job.id)


def latest(session: Conversing) -> StoredSnapshot | None:
    row = session.row.row
    return session.bench.read(lambda connection: latest_snapshot(connection.rows, row))


def kept(bench: Bench, job_id: JobId) -> list[str]:
    """Names of the artifacts that a job has."""
    row = bench.job(job_id).row
    return [one.name for one in bench.read(artifact_verbs.artifacts_of, row)]


def notes(bench: Bench, job_id: JobId) -> list[event_pb2.SnapshotNote]:
    outputs = [event.output for event in bench.events(job_id) if event.HasField("output")]
    return [output.snapshot for output in outputs if output.HasField("snapshot")]
