"""Snapshots of conversations, as a simulated worker takes them when a turn ends, and goes on from them (R6)."""

import json
from hashlib import sha256

from headrace.v1 import event_pb2, outcome_pb2, session_pb2, worker_pb2
from headrace_server.core.ids import parse_job_id
from headrace_server.store.engine import Connection
from simulation.conversations import Disk, Transcript
from simulation.violation import hold

SIGN = "snapshot"
"""Of the failure by which a worker says that it can't have one."""
NAME = "session.tar.gz"
POLICIES = (session_pb2.SNAPSHOT_POLICY_TRANSCRIPT, session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE)


class SnapshotGone(Exception):
    """A newer one has taken its place since the turn was granted."""


def outputs_of(transcript: Transcript, policy: session_pb2.SnapshotPolicy, first: int) -> list[event_pb2.Output]:
    """What a worker sends of one."""
    data = json.dumps(transcript.said).encode()
    digest = sha256(data).hexdigest()
    note = event_pb2.SnapshotNote(action=event_pb2.SNAPSHOT_ACTION_TAKEN)
    note.snapshot.artifact_name, note.snapshot.sha256, note.snapshot.contents = NAME, digest, policy
    return [
        event_pb2.Output(producer_sequence=first, artifact_part=event_pb2.ArtifactPart(name=NAME, data=data)),
        event_pb2.Output(
            producer_sequence=first + 1,
            artifact=outcome_pb2.Artifact(name=NAME, size_bytes=len(data), sha256=digest),
        ),
        event_pb2.Output(producer_sequence=first + 2, snapshot=note),
    ]


def restore(disk: Disk, turn: worker_pb2.SessionTurn, connection: Connection) -> None:
    """Has the conversation of a turn as it is in its snapshot, where this disk has it not, or has it from before.

    Raises SnapshotGone.
    """
    own = disk.transcripts.get(turn.session_id)
    if turn.fork_session_id and own is not None and own.said:
        return
    wanted = (turn.session_id, turn.claude_session_id or f"c-{turn.session_id}")
    if turn.fork_session_id:
        wanted = (turn.fork_session_id, turn.fork_claude_session_id)
    known = disk.transcripts.get(wanted[0])
    if known is not None and known.said and known.binding_epoch >= turn.snapshot.binding_epoch:
        return
    fresh = Transcript(wanted[1], _said(turn.snapshot, connection), answered=True)
    fresh.binding_epoch = turn.snapshot.binding_epoch
    disk.transcripts[wanted[0]] = fresh


def _said(snapshot: session_pb2.SessionSnapshot, connection: Connection) -> list[str]:
    found = connection.rows(
        "SELECT data FROM artifact_parts JOIN jobs ON jobs.job = artifact_parts.job"
        " WHERE jobs.id = ? AND name = ? ORDER BY number",
        (parse_job_id(snapshot.job_id), snapshot.artifact_name),
    )
    if not found:
        raise SnapshotGone(snapshot.job_id)
    data = b"".join(bytes(part) for (part,) in found)
    same = sha256(data).hexdigest() == snapshot.sha256
    hold(same, "R6", f"the snapshot of turn {snapshot.turn}, of {snapshot.job_id}, has {len(data)} bytes, others")
    said: list[str] = json.loads(data)
    return said
