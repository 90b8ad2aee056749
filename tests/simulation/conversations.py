"""What a worker has of conversations on its disk: transcripts, as lists of the messages that were said in them.

A folder of a worker's data stays when its process is gone, until somebody takes it away. Which process may go on with
which conversation is decided here as the contract says it; what then happens is the worker's.
"""

from dataclasses import dataclass, field

from headrace.v1 import worker_pb2
from simulation.violation import hold

TRANSCRIPT_SIGN = "transcript"
"""Of the failure by which a worker says that a conversation is gone."""


class ConversationLost(Exception):
    """What a turn is to go on with is not on this disk."""


@dataclass(eq=False, slots=True)
class Transcript:
    """What is kept of a session."""

    id: str
    """The CLI's own, of the conversation."""
    said: list[str] = field(default_factory=list)
    """Jobs whose message was said, in order."""
    answered: bool = False
    source: tuple[str, str] | None = None
    """Of a fork: session and conversation."""
    binding_epoch: int = 0
    """Under which a process last held it."""
    ended: float | None = None
    """Since when the server wants it no more."""


@dataclass(eq=False, slots=True)
class Disk:
    """The data folder of a worker, whichever of its processes uses it."""

    transcripts: dict[str, Transcript] = field(default_factory=dict)
    """By session."""
    taken: set[str] = field(default_factory=set)
    """Sessions whose transcript was lost with the folder."""
    removed: set[str] = field(default_factory=set)
    """Sessions whose transcript the server wanted no more."""

    def wipe(self) -> None:
        """The folder is gone."""
        self.taken.update(self.transcripts)
        self.transcripts.clear()

    def remove(self, session_id: str) -> None:
        """What is kept of a session goes, by the server's word."""
        del self.transcripts[session_id]
        self.removed.add(session_id)


def is_repeat(assignment: worker_pb2.Assignment, transcript: Transcript) -> bool:
    """Whether the message of a turn was said before, by an attempt that the server may never have heard of."""
    lease = assignment.lease
    return (lease.attempt > 1 or lease.epoch > 1) and lease.job_id in transcript.said


def open_transcript(disk: Disk, assignment: worker_pb2.Assignment) -> Transcript:
    """The conversation that a turn goes on with, made when there is none yet. Raises ConversationLost."""
    turn = assignment.session
    known = disk.transcripts.get(turn.session_id)
    if known is not None and known.said:
        known.ended = None
        return known
    begun = turn.turn > 1 or assignment.resume_claude_session_id
    if turn.claude_session_id and begun and (known is None or known.answered):
        _lose(disk, turn, turn.session_id)
    if turn.fork_session_id:
        return _fork(disk, turn, (turn.fork_session_id, turn.fork_claude_session_id))
    if known is not None and known.source is not None:
        return _fork(disk, turn, known.source)
    return _new(disk, turn.session_id, turn.claude_session_id)


def _fork(disk: Disk, turn: worker_pb2.SessionTurn, source: tuple[str, str]) -> Transcript:
    past = disk.transcripts.get(source[0])
    if past is None:
        _lose(disk, turn, source[0])
    if past is None or past.id != source[1] or not past.said:
        raise ConversationLost(turn.session_id)
    fresh = _new(disk, turn.session_id, "")
    fresh.said, fresh.source = list(past.said), source
    return fresh


def _new(disk: Disk, session_id: str, known: str) -> Transcript:
    """The id of a new conversation is derived from the session's, so that it is found again, whoever was told."""
    disk.removed.discard(session_id)
    disk.taken.discard(session_id)
    disk.transcripts[session_id] = Transcript(known or f"c-{session_id}")
    return disk.transcripts[session_id]


def _lose(disk: Disk, turn: worker_pb2.SessionTurn, session_id: str) -> None:
    hold(session_id not in disk.removed, "X1", f"{session_id} goes on where the server wanted it no more")
    hold(session_id in disk.taken, "X1", f"a turn comes to a worker that never had the conversation of {session_id}")
    raise ConversationLost(session_id)
