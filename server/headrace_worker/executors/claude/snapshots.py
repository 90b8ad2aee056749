"""Snapshots of sessions: what a session needs in order to go on at another worker, taken when a turn ends and put back
where one begins (R6).

What an archive may be like is `archive.py`'s, whether a session moves the control plane's.
"""

import asyncio
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.v1 import event_pb2, job_service_pb2, session_pb2, task_pb2, worker_pb2
from headrace_worker.acting import as_owner
from headrace_worker.artifact_reader import ArtifactDamaged, ArtifactReader
from headrace_worker.executors.artifacts import deliver_file
from headrace_worker.executors.claude import transcript
from headrace_worker.executors.claude.archive import (
    PIECE_BYTES,
    Archive,
    ArchiveRefused,
    Source,
    TooLarge,
    cleaned,
    expand,
    pack,
)
from headrace_worker.executors.claude.launch import SESSION_ID, ClaudeCommand
from headrace_worker.executors.contract import Attempt
from headrace_worker.executors.limits import SNAPSHOT_BYTES_MAX
from headrace_worker.ladder import first_of
from headrace_worker.redaction import NOTHING_TO_HIDE, Redaction
from headrace_worker.user import make_folder, make_passage
from headrace_worker.workspace import PreparedWorkspace, WorkspaceRefused, Workspaces
from headrace_worker.worktree import GitFailed, Worktree

NAME = "session.tar.gz"
MEDIA_TYPE = "application/gzip"
VERSION = 1
BINDING_MARK = "binding"
"""A file in a session's folder: the binding under which its process was last started."""
CONFIG, WORKSPACE, CHANGES = "config", "workspace", "changes.patch"
"""What stands in an archive: below the first two files, the third is one."""
INDEX = "headrace-index"
WITH_WORKSPACE = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE
POLICIES = (session_pb2.SNAPSHOT_POLICY_TRANSCRIPT, WITH_WORKSPACE)

logger = logging.getLogger(__name__)


class SnapshotUnusable(Exception):
    """The session can't go on from its snapshot; the text says why."""


@dataclass(frozen=True, slots=True)
class ConversationIds:
    """The session whose conversation it is, and by which id the CLI knows it."""

    session_id: str
    claude_session_id: str


class Snapshots:
    """Those of one worker."""

    def __init__(
        self,
        command: ClaudeCommand,
        workspaces: Workspaces,
        reader: ArtifactReader | None = None,
        redaction: Redaction = NOTHING_TO_HIDE,
    ) -> None:
        """`redaction`: what must not leave the worker. Without a `reader` nothing is put back."""
        self._command = command
        self._workspaces = workspaces
        self._reader = reader
        self._redaction = redaction
        self._temporary = command.data_folder / "tmp"

    def mark(self, session_id: str, binding_epoch: int) -> None:
        """Takes note of the binding under which a session's process is started."""
        (self._command.session_folder(session_id) / BINDING_MARK).write_text(str(binding_epoch))

    async def take(self, attempt: Attempt, claude_session_id: str, goes_on: Callable[[], bool] = lambda: False) -> None:
        """Takes a snapshot of the session of a turn that has ended, where that is asked for, and delivers it with what
        has become of it. `goes_on`: whether a later turn has begun meanwhile; then that one has its own instead."""
        turn, stop = attempt.assignment.session, attempt.stop_requested()
        if turn.snapshots not in POLICIES or (stop is not None and stop.kill):
            return
        note = event_pb2.SnapshotNote(action=event_pb2.SNAPSHOT_ACTION_FAILED)
        workspace = attempt.assignment.spec.claude.workspace
        folder = await asyncio.to_thread(self._make_temporary)
        try:
            left_out = await asyncio.to_thread(self._pack, folder / NAME, turn, workspace, claude_session_id)
            if goes_on():
                return
            artifact = await deliver_file(attempt, NAME, MEDIA_TYPE, folder / NAME)
            note.action = event_pb2.SNAPSHOT_ACTION_TAKEN
            note.snapshot.artifact_name, note.snapshot.sha256 = artifact.name, artifact.sha256
            note.snapshot.contents = turn.snapshots
            if left_out:
                note.message = f"{left_out} files are not in it: links to the outside, or no files"
        except (TooLarge, WorkspaceRefused, GitFailed, OSError) as fault:
            logger.warning("no snapshot of session %s: %s", turn.session_id, fault)
            note.message = str(fault)[:1000]
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await attempt.emit(event_pb2.Output(snapshot=note))

    async def restore(self, attempt: Attempt, own: str) -> bool:
        """Puts the session of a turn back as it is in its snapshot, unless this worker has it as new or the attempt
        has to end first; says whether it did. `own`: the id of its conversation when nobody has said another one.

        Raises SnapshotUnusable, ArtifactUnreachable, WorkspaceRefused, OSError.
        """
        turn = attempt.assignment.session
        if self._reader is None or not turn.HasField("snapshot"):
            return False
        wanted = ConversationIds(turn.session_id, turn.claude_session_id or own)
        if turn.fork_session_id:
            if await asyncio.to_thread(self._is_here, wanted, 0):
                return False
            wanted = ConversationIds(turn.fork_session_id, turn.fork_claude_session_id)
        if await asyncio.to_thread(self._is_here, wanted, turn.snapshot.binding_epoch):
            return False
        folder = await asyncio.to_thread(self._make_temporary)
        try:
            if not await self._fetched(attempt, folder / NAME):
                return False
            await asyncio.to_thread(self._unpack, folder, attempt.assignment, wanted)
        except (ArtifactDamaged, ArchiveRefused) as fault:
            raise SnapshotUnusable(f"the snapshot of turn {turn.snapshot.turn} is refused: {fault}") from fault
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        note = event_pb2.SnapshotNote(action=event_pb2.SNAPSHOT_ACTION_RESTORED, snapshot=turn.snapshot)
        await attempt.emit(event_pb2.Output(snapshot=note))
        return True

    def _make_temporary(self) -> Path:
        self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="snapshot-", dir=self._temporary))

    def _is_here(self, wanted: ConversationIds, binding_epoch: int) -> bool:
        """Whether this worker has a conversation, and has it from that binding on."""
        if not SESSION_ID.fullmatch(wanted.session_id) or not SESSION_ID.fullmatch(wanted.claude_session_id):
            raise SnapshotUnusable("the session of the snapshot has an id that is none")
        if transcript.find(self._command.session_config(wanted.session_id), wanted.claude_session_id) is None:
            return False
        return self._marked(wanted.session_id) >= binding_epoch

    def _marked(self, session_id: str) -> int:
        """The binding under which what is here was last gone on with; zero when nobody can say."""
        try:
            return int((self._command.session_folder(session_id) / BINDING_MARK).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _pack(
        self, target: Path, turn: worker_pb2.SessionTurn, workspace: task_pb2.Workspace, claude_session_id: str
    ) -> int:
        config = self._command.session_config(turn.session_id)
        past = transcript.find(config, claude_session_id)
        if past is None:
            raise OSError("the CLI has written no transcript")
        note: dict[str, Any] = {"version": VERSION, "conversation": claude_session_id, "base": ""}
        sources: list[Source] = []
        prepared = self._prepared(turn, workspace) if turn.snapshots == WITH_WORKSPACE else None
        try:
            if prepared is not None and prepared.worktree is not None:
                changes = target.with_name(CHANGES)
                prepared.worktree.write_changes(changes, prepared.temporary / INDEX)
                self._check_changes(prepared, prepared.worktree, changes)
                note["base"] = prepared.worktree.base()
                sources.append(Source(CHANGES, changes, target.parent))
            elif prepared is not None and prepared.owned:
                sources.append(Source(WORKSPACE, prepared.folder, prepared.folder))
            # The transcript last: where it is, all else is.
            project, beside = f"{CONFIG}/projects/{past.parent.name}", past.with_suffix("")
            if beside.is_dir():
                sources.append(Source(f"{project}/{beside.name}", beside, config, with_links=False))
            sources.append(Source(f"{project}/{past.name}", past, config, with_links=False))
            return pack(target, json.dumps(note, sort_keys=True).encode(), sources, self._redaction)
        finally:
            if prepared is not None:
                self._workspaces.remove(prepared, keep_folder=True)

    def _check_changes(self, prepared: PreparedWorkspace, worktree: Worktree, changes: Path) -> None:
        """Without the secrets in it a patch has to be one still: what it removes, and what is beside that, is compared.

        Raises WorkspaceRefused, GitFailed, OSError.
        """
        if not _finds(self._redaction, changes):
            return
        clean = prepared.temporary / CHANGES
        with changes.open("rb") as source, as_owner(prepared.temporary), clean.open("wb") as target:
            target.writelines(cleaned(source, self._redaction))
        if not worktree.takes_changes(clean, prepared.temporary / INDEX):
            raise WorkspaceRefused("a secret of this worker is in lines that the worktree has changed, or beside them")

    def _prepared(self, turn: worker_pb2.SessionTurn, workspace: task_pb2.Workspace) -> PreparedWorkspace:
        return self._workspaces.prepare(worker_pb2.Lease(job_id=turn.session_id), workspace, resumed=True)

    async def _fetched(self, attempt: Attempt, target: Path) -> bool:
        """Reads the snapshot that a turn is to go on from; false when the attempt has to end first."""
        fetching = asyncio.create_task(self._fetch(attempt.assignment, target))
        try:
            await first_of(asyncio.wait([fetching]), attempt.wait_stop())
        finally:
            fetching.cancel()
            await asyncio.wait([fetching])
        if fetching.cancelled():
            return False
        fetching.result()
        return attempt.stop_requested() is None

    async def _fetch(self, assignment: worker_pb2.Assignment, target: Path) -> None:
        assert self._reader is not None, "only where artifacts can be read"
        snapshot = assignment.session.snapshot
        if not 0 < snapshot.size_bytes <= SNAPSHOT_BYTES_MAX:
            raise ArchiveRefused(f"it has {snapshot.size_bytes} bytes; at most {SNAPSHOT_BYTES_MAX} are allowed")
        request = job_service_pb2.ReadArtifactRequest(
            namespace=assignment.namespace, job_id=snapshot.job_id, name=snapshot.artifact_name
        )
        await self._reader.fetch(request, target, SNAPSHOT_BYTES_MAX, snapshot.sha256)

    def _unpack(self, folder: Path, assignment: worker_pb2.Assignment, wanted: ConversationIds) -> None:
        turn, expanded = assignment.session, folder / "expanded"
        expand(folder / NAME, expanded)
        archive = Archive(expanded, (CONFIG, WORKSPACE))
        try:
            base = _base_of(archive, wanted)
            if turn.snapshot.contents == WITH_WORKSPACE and not turn.fork_session_id:
                self._restore_workspace(archive, turn.session_id, assignment.spec.claude.workspace, base)
            config = self._make_config(turn.session_id)
            _drop_conversation(config, wanted.claude_session_id)
            archive.unpack({CONFIG: config})
        finally:
            archive.close()
        if transcript.find(config, wanted.claude_session_id) is None:
            raise ArchiveRefused("it holds no transcript of the conversation")

    def _restore_workspace(self, archive: Archive, session_id: str, workspace: task_pb2.Workspace, base: str) -> None:
        if workspace.WhichOneof("kind") == "folder":
            return
        prepared = self._workspaces.anew(session_id, workspace, base)
        try:
            if prepared.worktree is None:
                archive.unpack({WORKSPACE: prepared.folder})
                return
            patch = prepared.temporary / CHANGES
            archive.write_file(CHANGES, patch, prepared.temporary)
            if patch.exists() and patch.stat().st_size:
                prepared.worktree.apply_changes(patch)
        except GitFailed as failed:
            raise WorkspaceRefused(f"the worktree can't be made as it was: {failed}") from failed
        finally:
            self._workspaces.remove(prepared, keep_folder=True)

    def _make_config(self, session_id: str) -> Path:
        folder, config = self._command.session_folder(session_id), self._command.session_config(session_id)
        make_passage(folder, self._workspaces.user)
        if config.parent == folder:
            make_folder(config, self._workspaces.user)
        else:
            config.mkdir(mode=0o700, parents=True, exist_ok=True)
        return config


def _finds(redaction: Redaction, path: Path) -> bool:
    """Whether a secret is in a file."""
    before = b""
    with path.open("rb") as file:
        while data := file.read(PIECE_BYTES):
            if redaction.finds(before + data):
                return True
            before = (before + data)[-redaction.bytes_max :]
    return False


def _base_of(archive: Archive, wanted: ConversationIds) -> str:
    """The commit that the session's worktree began with; empty when it has none."""
    try:
        note = json.loads(archive.note)
    except ValueError as fault:
        raise ArchiveRefused(f"its note can't be read: {fault}") from fault
    if not isinstance(note, dict) or note.get("version") != VERSION:
        raise ArchiveRefused("its note is of another version")
    if note.get("conversation") != wanted.claude_session_id:
        raise ArchiveRefused(f"it holds another conversation than {wanted.claude_session_id}")
    base = note.get("base")
    if not isinstance(base, str) or not all(character in "0123456789abcdef" for character in base):
        raise ArchiveRefused("its note names a commit by what is none")
    return base


def _drop_conversation(config: Path, claude_session_id: str) -> None:
    """What is here of it is older."""
    while (past := transcript.find(config, claude_session_id)) is not None:
        with as_owner(config):
            shutil.rmtree(past.with_suffix(""), ignore_errors=True)
            os.unlink(past)
