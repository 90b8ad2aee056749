"""What a worker sends of a snapshot of a session."""

import hashlib

from headrace.v1 import event_pb2, outcome_pb2, session_pb2

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
