"""X1, R6 where it happens: what turns really begin, in which conversation, and what was said there before.

Only checkers read it; `Ground` has one.
"""

from collections import defaultdict
from dataclasses import dataclass

from headrace.v1 import worker_pb2
from simulation.conversations import Transcript
from simulation.violation import hold


@dataclass(eq=False, slots=True)
class Saying:
    """A message that was given to a process. It stands in the transcript once the CLI has begun with it."""

    transcript: Transcript
    identity: str
    """Empty when it stands there already."""

    def begin(self) -> None:
        """The CLI has begun. May be said again."""
        if self.identity:
            twice = self.identity in self.transcript.said
            hold(not twice, "R6", f"{self.identity} is said a second time in {self.transcript.id}")
            self.transcript.said.append(self.identity)
            self.identity = ""


@dataclass(slots=True)
class _Begun:
    """A turn that runs."""

    job_id: str
    worker: str
    generation: int


class Turns:
    """Every turn that a worker really began."""

    def __init__(self) -> None:
        self.succeeded: defaultdict[str, list[str]] = defaultdict(list)
        """By session: turns that ended well, in order; those that a fork goes on from stand before its own. A checker
        fills it from the logs."""
        self._running: dict[str, _Begun] = {}
        self._bindings: dict[tuple[str, int], tuple[int, str]] = {}
        """By session and generation: the newest under which a turn began, and where."""

    def begin(self, assignment: worker_pb2.Assignment, worker: str, saying: Saying | None) -> None:
        """A worker begins with a turn, in this conversation if it has it."""
        turn, lease = assignment.session, assignment.lease
        if turn.background_number:
            return
        self._check_binding(turn, lease.generation, worker)
        other = self._running.get(turn.session_id)
        if other is not None and other.generation == lease.generation:
            what = f"{worker} begins turn {lease.job_id} while {other.worker} is in {other.job_id}"
            hold(False, "X1", f"{turn.session_id}: {what}")
        self._running[turn.session_id] = _Begun(lease.job_id, worker, lease.generation)
        if saying is not None:
            self._check_conversation(turn.session_id, lease.job_id, saying.transcript)

    def end(self, assignment: worker_pb2.Assignment) -> None:
        """A turn's attempt is over. May be said twice."""
        running = self._running.get(assignment.session.session_id)
        lease = assignment.lease
        if running is not None and (running.job_id, running.generation) == (lease.job_id, lease.generation):
            del self._running[assignment.session.session_id]

    def _check_binding(self, turn: worker_pb2.SessionTurn, generation: int, worker: str) -> None:
        epoch, where = self._bindings.get((turn.session_id, generation), (0, worker))
        what = f"{turn.session_id}: a turn begins on {worker} under binding {turn.binding_epoch}"
        hold(turn.binding_epoch >= epoch, "X1", f"{what} after one under {epoch}")
        hold(turn.binding_epoch > epoch or where == worker, "X1", f"{what}, which is {where}'s")
        self._bindings[turn.session_id, generation] = (turn.binding_epoch, worker)

    def _check_conversation(self, session_id: str, job_id: str, transcript: Transcript) -> None:
        before = [one for one in self.succeeded[session_id] if one != job_id]
        said = [one for one in transcript.said if one in before]
        what = f"{session_id} goes on with {job_id} where {transcript.said} were said"
        hold(said == before, "X1", f"{what}, and {before} had succeeded")
