"""Workers with disks of their own that hand a session on by its snapshots, and the control plane that keeps those."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace.v1 import event_pb2, session_pb2, task_pb2
from headrace_worker.artifact_reader import ArtifactDamaged, ArtifactReader
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.claude.snapshots import NAME, Snapshots
from headrace_worker.executors.contract import Outcome
from headrace_worker.redaction import NOTHING_TO_HIDE, Redaction
from headrace_worker.workspace import Workspaces
from worker.session_running import QUICK, SESSION, SIMULATOR, SessionWorker, use

WHOLE = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT_AND_WORKSPACE
EDITS: dict[str, Any] = {"permission_mode": task_pb2.PERMISSION_MODE_ACCEPT_EDITS}


class Kept(ArtifactReader):
    """What a control plane has: the artifact of the latest snapshot."""

    def __init__(self) -> None:
        self.content = b""
        self.snapshot: session_pb2.SessionSnapshot | None = None
        self.fetched = 0
        self.fault: Exception | None = None
        self.hangs = False

    def take(self, attempt: Any) -> None:
        """Hears what an attempt has delivered."""
        (note,) = notes(attempt)
        assert note.action == event_pb2.SNAPSHOT_ACTION_TAKEN, note.message
        parts = [one.artifact_part.data for one in attempt.outputs if one.artifact_part.name == NAME]
        turn = attempt.assignment.session
        self.content = b"".join(parts)
        self.snapshot = session_pb2.SessionSnapshot(
            job_id="job",
            artifact_name=note.snapshot.artifact_name,
            size_bytes=len(self.content),
            sha256=note.snapshot.sha256,
            contents=note.snapshot.contents,
            turn=turn.turn,
            binding_epoch=turn.binding_epoch,
        )

    def hold(self, content: bytes) -> None:
        """Something else takes its place, with a digest that is right."""
        assert self.snapshot is not None
        self.content = content
        self.snapshot.sha256, self.snapshot.size_bytes = hashlib.sha256(content).hexdigest(), len(content)

    async def fetch(self, request: Any, target: Path, size_max: int, sha256: str) -> None:
        self.fetched += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        target.write_bytes(self.content)
        if hashlib.sha256(self.content).hexdigest() != sha256:
            raise ArtifactDamaged("it has another digest")


class Fleet:
    """Workers with disks of their own, and what a control plane would know."""

    def __init__(
        self,
        folder: Path,
        attempt_of: Callable[..., Any],
        environment: dict[str, str],
        program: tuple[str, ...],
        credentials: dict[str, str],
    ) -> None:
        self.kept = Kept()
        self.workers: list[SessionWorker] = []
        self._jobs = 0
        self._folder = folder
        self._attempt_of = attempt_of
        self._environment = environment
        self._program = program
        self._credentials = credentials

    def run(self, main: Callable[["Fleet", SessionWorker], Any]) -> None:
        """Runs a test with a first worker, and ends all that were started."""

        async def test(worker: SessionWorker) -> None:
            try:
                await main(self, worker)
            finally:
                for other in self.workers:
                    await other.sessions.end_all()

        use(lambda: self.start("a"), test)

    def start(self, name: str, root: Path | None = None, redaction: Redaction = NOTHING_TO_HIDE) -> SessionWorker:
        """A worker; the same name has the same disk. `root`: one more in which workspaces may lie."""
        folder = self._folder / name
        (folder / "allowed").mkdir(parents=True, exist_ok=True)
        simulated = self._program == SIMULATOR
        arguments = (folder, self._attempt_of, self._program, self._credentials, self._environment)
        worker = SessionWorker(*arguments, simulated=simulated, seconds=QUICK)
        if root is not None:
            worker.workspaces = Workspaces(folder / "data", [root], self._environment)
        command = ClaudeCommand(
            self._program, simulated, folder / "data", self._environment, credentials=self._credentials
        )
        snapshots = Snapshots(command, worker.workspaces, self.kept, redaction)
        worker.executor = ClaudeExecutor(
            command, worker.workspaces, worker.trees, lambda: 1.8e9, QUICK, None, worker.sessions, snapshots
        )
        self.workers.append(worker)
        return worker

    def attempt(self, worker: SessionWorker, prompt: str, epoch: int, policy: Any = WHOLE, **turn: Any) -> Any:
        """An attempt at a turn, with the latest snapshot."""
        known = next((one.claude_session_ids.get(SESSION) for one in self.workers if one.claude_session_ids), None)
        if known and SESSION not in worker.claude_session_ids:
            worker.claude_session_ids[SESSION] = known
        self._jobs += 1
        job_id = turn.pop("job_id", f"job-{self._jobs}")
        made = worker.attempt(prompt, epoch=epoch, job_id=job_id, **EDITS, **turn)
        made.assignment.session.snapshots = policy
        if self.kept.snapshot is not None:
            made.assignment.session.snapshot.CopyFrom(self.kept.snapshot)
        return made

    async def turn(self, worker: SessionWorker, prompt: str, epoch: int, policy: Any = WHOLE, **turn: Any) -> Outcome:
        """A turn after which there is a snapshot."""
        attempt = self.attempt(worker, prompt, epoch, policy, **turn)
        outcome = await worker.run(attempt)
        notes_taken = [note for note in notes(attempt) if note.action == event_pb2.SNAPSHOT_ACTION_TAKEN]
        if notes_taken:
            attempt.outputs = [
                one for one in attempt.outputs if one.snapshot.action != event_pb2.SNAPSHOT_ACTION_RESTORED
            ]
            self.kept.take(attempt)
        return outcome


def notes(attempt: Any) -> list[event_pb2.SnapshotNote]:
    return [one.snapshot for one in attempt.outputs if one.HasField("snapshot")]
