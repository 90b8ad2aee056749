"""Delivers what an attempt made besides its output: the changes in its git worktree, as an artifact and as a branch."""

import asyncio
import hashlib
import logging
from pathlib import Path

from headrace.v1 import event_pb2, outcome_pb2
from headrace_worker.executors.contract import Attempt, Failed, Outcome, Succeeded
from headrace_worker.executors.failures import failure
from headrace_worker.executors.limits import ARTIFACT_BYTES_MAX, CHUNK_BYTES_MAX
from headrace_worker.workspace import PreparedWorkspace
from headrace_worker.worktree import GitFailed

CHANGES = "changes.patch"
PATCH = "text/x-patch"

logger = logging.getLogger(__name__)


async def deliver_changes(attempt: Attempt, workspace: PreparedWorkspace, branch: str, outcome: Outcome) -> Outcome:
    """Delivers what an attempt changed in its worktree, also of one that failed; with a success makes the branch, too.

    Returns the outcome: a failure, when what was asked for could not be made.
    """
    worktree, stop = workspace.worktree, attempt.stop_requested()
    if worktree is None or (stop is not None and stop.kill):
        return outcome
    patch, index = workspace.private / CHANGES, workspace.temporary / "headrace-index"
    try:
        await asyncio.to_thread(worktree.write_changes, patch, index)
        await deliver_file(attempt, CHANGES, PATCH, patch)
        if branch and isinstance(outcome, Succeeded):
            await asyncio.to_thread(worktree.make_branch, branch, index, attempt.assignment.lease.job_id)
    except (GitFailed, OSError) as fault:
        logger.warning("the changes of job %s can't be had: %s", attempt.assignment.lease.job_id, fault)
        if isinstance(outcome, Succeeded):
            words = f"the changes in the worktree can't be had: {fault}"
            found = failure(outcome_pb2.FAILURE_CLASS_RESOURCE, words, "git")
            found.partial_result.CopyFrom(outcome.result)
            return Failed(found, outcome.usage)
    return outcome


async def deliver_file(attempt: Attempt, name: str, media_type: str, path: Path) -> outcome_pb2.Artifact:
    """Delivers a file as an artifact, and returns what is said of it. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while size < ARTIFACT_BYTES_MAX and (data := await asyncio.to_thread(file.read, CHUNK_BYTES_MAX)):
            digest.update(data)
            size += len(data)
            part = event_pb2.ArtifactPart(name=name, data=data)
            await attempt.emit(event_pb2.Output(artifact_part=part))
        cut = bool(file.read(1))
    artifact = outcome_pb2.Artifact(
        name=name, media_type=media_type, size_bytes=size, sha256=digest.hexdigest(), cut=cut
    )
    await attempt.emit(event_pb2.Output(artifact=artifact))
    return artifact
