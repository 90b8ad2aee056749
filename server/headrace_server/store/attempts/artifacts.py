"""Artifacts: what attempts produce beside their log, in parts; each part in the transaction that acknowledges it (L7).

Parts belong to their attempt until the artifact is complete; then it takes the place of an earlier one with its name.
What an attempt left incomplete goes with the next one, or with the job.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.v1 import event_pb2, outcome_pb2
from headrace_server.core.job import Job
from headrace_server.core.limits import ARTIFACT_BYTES_MAX
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An artifact that is complete."""

    epoch: int
    message: outcome_pb2.Artifact


def keep_part(ledger: Ledger, job: Job, part: event_pb2.ArtifactPart) -> None:
    """Keeps the next bytes of an artifact, as far as the job's artifacts have room."""
    found = ledger.look_up(
        "SELECT size, parts FROM artifacts WHERE job = ? AND name = ? AND epoch = ?", (job.row, part.name, job.epoch)
    )
    if not found:
        _begin(ledger, job, part.name)
    size, parts = found[0] if found else (0, 0)
    data = part.data[: max(0, ARTIFACT_BYTES_MAX - _kept_bytes(ledger, job))]
    if data:
        columns = ("job", "name", "epoch", "number", "start", "data")
        ledger.insert("artifact_parts", columns, [(job.row, part.name, job.epoch, parts, size, data)])
    ledger.run(
        "UPDATE artifacts SET size = ?, parts = ?, cut = cut | ? WHERE job = ? AND name = ? AND epoch = ?",
        (size + len(data), parts + bool(data), int(len(data) < len(part.data)), job.row, part.name, job.epoch),
    )


def complete(ledger: Ledger, job: Job, artifact: outcome_pb2.Artifact) -> outcome_pb2.Artifact:
    """Makes an artifact the job's; returns it as it was kept. One of which no part came is empty."""
    name = (job.row, artifact.name, job.epoch)
    found = ledger.look_up("SELECT size, cut FROM artifacts WHERE job = ? AND name = ? AND epoch = ?", name)
    if not found:
        _begin(ledger, job, artifact.name)
    size, cut = found[0] if found else (0, 0)
    kept = outcome_pb2.Artifact()
    kept.CopyFrom(artifact)
    kept.size_bytes, kept.cut = size, bool(cut or artifact.cut)
    if cut:
        # The digest is that of all that was sent.
        kept.sha256 = ""
    ledger.run(
        "UPDATE artifacts SET complete = 1, media_type = ?, sha256 = ?, cut = ?"
        " WHERE job = ? AND name = ? AND epoch = ?",
        (kept.media_type, kept.sha256, int(kept.cut), *name),
    )
    for table in ("artifact_parts", "artifacts"):
        ledger.run(f"DELETE FROM {table} WHERE job = ? AND name = ? AND epoch <> ?", name)
    return kept


def artifacts_of(connection: Connection, row: int) -> list[outcome_pb2.Artifact]:
    """The complete artifacts of a job, by name."""
    found = connection.rows(
        "SELECT name, media_type, size, sha256, cut FROM artifacts WHERE job = ? AND complete = 1 ORDER BY name", (row,)
    )
    return [_message(*one) for one in found]


def find_artifact(connection: Connection, row: int, name: str) -> StoredArtifact | None:
    """A complete artifact of a job, or None."""
    found = connection.rows(
        "SELECT epoch, name, media_type, size, sha256, cut FROM artifacts WHERE job = ? AND name = ? AND complete = 1",
        (row, name),
    )
    return StoredArtifact(found[0][0], _message(*found[0][1:])) if found else None


def read_part(connection: Connection, row: int, name: str, epoch: int, offset: int) -> bytes:
    """The part in which a byte is, from that byte on; empty when it is not there any more."""
    found = connection.rows(
        "SELECT start, data FROM artifact_parts WHERE job = ? AND name = ? AND epoch = ? AND start <= ?"
        " ORDER BY number DESC LIMIT 1",
        (row, name, epoch, offset),
    )
    return bytes(found[0][1])[offset - found[0][0] :] if found else b""


def whole_artifact(ledger: Ledger, job: Job, name: str) -> outcome_pb2.Artifact | None:
    """An artifact that the attempt of a job has completed and of which nothing was cut, or None."""
    found = ledger.look_up(
        "SELECT name, media_type, size, sha256, cut FROM artifacts"
        " WHERE job = ? AND name = ? AND epoch = ? AND complete = 1 AND cut = 0",
        (job.row, name, job.epoch),
    )
    return _message(*found[0]) if found else None


def remove_artifact(ledger: Ledger, row: int, name: str) -> None:
    """Removes one of a job's, as far as it is there."""
    for table in ("artifact_parts", "artifacts"):
        ledger.run(f"DELETE FROM {table} WHERE job = ? AND name = ?", (row, name))


def remove_artifacts(ledger: Ledger, jobs: Sequence[int]) -> None:
    """Removes those of jobs that are deleted."""
    for row in jobs:
        ledger.run("DELETE FROM artifact_parts WHERE job = ?", (row,))
        ledger.run("DELETE FROM artifacts WHERE job = ?", (row,))


def _begin(ledger: Ledger, job: Job, name: str) -> None:
    """Of an earlier attempt only what is complete stays."""
    ledger.run(
        "DELETE FROM artifact_parts WHERE job = ? AND epoch IN (SELECT epoch FROM artifacts"
        " WHERE artifacts.job = artifact_parts.job AND artifacts.name = artifact_parts.name"
        " AND complete = 0 AND epoch < ?)",
        (job.row, job.epoch),
    )
    ledger.run("DELETE FROM artifacts WHERE job = ? AND complete = 0 AND epoch < ?", (job.row, job.epoch))
    columns = ("job", "name", "epoch", "media_type", "size", "parts", "sha256", "cut", "complete")
    ledger.insert("artifacts", columns, [(job.row, name, job.epoch, "", 0, 0, "", 0, 0)])


def _kept_bytes(ledger: Ledger, job: Job) -> int:
    return int(ledger.look_up("SELECT coalesce(sum(size), 0) FROM artifacts WHERE job = ?", (job.row,))[0][0])


def _message(name: str, media_type: str, size: int, sha256: str, cut: int) -> outcome_pb2.Artifact:
    return outcome_pb2.Artifact(name=name, media_type=media_type, size_bytes=size, sha256=sha256, cut=bool(cut))
