"""The sessions of one simulated worker: at most one process for each, kept between turns, and what it began by itself.

It follows `headrace_worker/executors/claude/sessions.py` in everything that the server can see.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from headrace.v1 import worker_service_pb2 as pb
from headrace.v1.outcome_pb2 import FAILURE_CLASS_NETWORK, FAILURE_CLASS_UNKNOWN_OUTCOME
from simulation.attempts import HeldAttempt
from simulation.conversations import TRANSCRIPT_SIGN, ConversationLost, is_repeat, open_transcript
from simulation.ground import Ending
from simulation.held_process import Process
from simulation.snapshots import POLICIES, SIGN, SnapshotGone, restore
from simulation.surroundings import Surroundings
from simulation.turns import Saying
from simulation.violation import hold

ENDED_KEPT_SECONDS = 120.0
"""How long what is kept of a session outlives the server's word that it is over."""
OWN_TURN_SECONDS = 6.0
OWN_TURN_SIGN = "background_number"
_CLASSES = {
    TRANSCRIPT_SIGN: FAILURE_CLASS_UNKNOWN_OUTCOME,
    OWN_TURN_SIGN: FAILURE_CLASS_UNKNOWN_OUTCOME,
    SIGN: FAILURE_CLASS_NETWORK,
}
"""Of the failure of a turn that can't begin."""
_TAKES_SNAPSHOT = frozenset({Ending.SUCCEEDED, Ending.FAILED, Ending.CANCELLED, Ending.RETURNED})
_KEEPS_PROCESS = frozenset({Ending.SUCCEEDED, Ending.CANCELLED, Ending.RETURNED})


@dataclass(eq=False, slots=True)
class OwnTurn:
    """A turn that a CLI began by itself."""

    message: pb.BackgroundTurn
    process: Process
    said: bool = False
    """On the stream that stands."""
    job_id: str = ""


@dataclass(eq=False, slots=True)
class Session:
    """A session under one binding."""

    id: str
    binding_epoch: int
    idle_seconds: float
    process: Process | None = None
    busy: HeldAttempt | None = None
    used: float = 0.0
    closing: bool = False
    own_turns: dict[int, OwnTurn] = field(default_factory=dict)
    own_turns_count: int = 0
    own_until: float = 0.0
    """Until when the process is in a turn of its own."""


class HeldSessions:
    """All of one incarnation."""

    def __init__(self, worker: str, around: Surroundings) -> None:
        self._worker = worker
        self._around = around
        self._sessions: dict[str, Session] = {}
        self._acks: dict[tuple[str, int, int], str] = {}

    @property
    def processes(self) -> list[Process]:
        """Those that there are."""
        return [one.process for one in self._sessions.values() if one.process is not None]

    @property
    def idle(self) -> list[Session]:
        """Sessions with a process that is in no turn."""
        now = self._around.now()
        return [one for one in self._sessions.values() if one.process is not None and not _is_at_work(one, now)]

    def enter(self, attempt: HeldAttempt) -> bool:
        """Gives a turn its session's process; false while another turn is in it."""
        turn = attempt.assignment.session
        if turn.background_number:
            self._enter_own(attempt)
            return True
        session = self._sessions.get(turn.session_id)
        if session is not None and _is_at_work(session, self._around.now()):
            return False
        if turn.HasField("snapshot"):
            reading = self._around.connection()
            if reading is None:
                return False
            try:
                with reading as connection:
                    restore(self._around.disk, turn, connection)
            except SnapshotGone:
                attempt.sign = SIGN
                return True
        session = self._open(attempt)
        try:
            transcript = open_transcript(self._around.disk, attempt.assignment)
        except ConversationLost:
            self._end(session)
            attempt.sign = TRANSCRIPT_SIGN
            return True
        if session.process is None or session.process.transcript is not transcript:
            self._end(session)
            session.process = Process(self._worker, session.id, session.binding_epoch, transcript)
        session.busy = attempt
        transcript.binding_epoch = session.binding_epoch
        repeats = is_repeat(attempt.assignment, transcript)
        attempt.saying = Saying(transcript, "" if repeats else attempt.key.job_id)
        return True

    def begin(self, attempt: HeldAttempt) -> int:
        """The class of the failure with which a turn has to end that has begun; zero for none."""
        self._around.ground.turns.begin(attempt.assignment, self._worker, attempt.saying)
        return _CLASSES.get(attempt.sign, 0)

    def conclude(self, attempt: HeldAttempt, ending: Ending) -> None:
        """What a turn has to say before its end: in which conversation it was, and what is kept of it."""
        assert attempt.saying is not None
        if ending is Ending.SUCCEEDED:
            if attempt.tells_conversation:
                attempt.produce(dirty=False)
            attempt.saying.transcript.answered = True
        taken = ending in _TAKES_SNAPSHOT and not attempt.tells_conversation and attempt.own_process is None
        if taken and attempt.assignment.session.snapshots in POLICIES:
            attempt.take_snapshot()

    def leave(self, attempt: HeldAttempt, ending: Ending) -> None:
        """A turn has ended. Its process waits for the next one, unless it has to go. May be said twice."""
        self._around.ground.turns.end(attempt.assignment)
        session = self._sessions.get(attempt.assignment.session.session_id)
        if session is None:
            return
        if session.busy is attempt:
            session.busy = None
            session.used = self._around.now()
            kept = ending in _KEEPS_PROCESS or (ending is Ending.FAILED and len(attempt.outputs) % 2 == 0)
            if not kept or session.closing or not session.idle_seconds:
                self._end(session)
        elif ending is Ending.LOST and attempt.own_process is not None and session.process is attempt.own_process:
            self._end(session)

    def begin_own_turn(self, session: Session) -> None:
        """The process of a session, which is idle, begins a turn by itself."""
        assert session.process is not None
        session.own_turns_count += 1
        message = pb.BackgroundTurn(
            session_id=session.id, binding_epoch=session.binding_epoch, number=session.own_turns_count
        )
        session.own_turns[message.number] = OwnTurn(message, session.process)
        session.own_until = self._around.now() + OWN_TURN_SECONDS

    def end_idle(self, session: Session) -> None:
        """A process ends that nothing needs: by itself, or since its memory is wanted."""
        self._end(session)

    def end_every_idle(self) -> None:
        """The worker drains: no process is kept beyond its turn."""
        for session in self.idle:
            self._end(session)

    def kill_all(self) -> None:
        """No process lives on."""
        for session in self._sessions.values():
            self._end(session)
            session.busy = None
            session.own_turns.clear()

    def look_at_clock(self) -> None:
        """Ends what was idle for long enough, and removes what is kept in vain."""
        now, disk = self._around.now(), self._around.disk
        for session in self.idle:
            if now >= session.used + session.idle_seconds:
                self._end(session)
        used = {one.id for one in self._sessions.values() if one.busy is not None or one.process is not None}
        for session_id, transcript in list(disk.transcripts.items()):
            old = transcript.ended is not None and now >= transcript.ended + ENDED_KEPT_SECONDS
            if old and session_id not in used:
                self._sessions.pop(session_id, None)
                disk.remove(session_id)

    def add_to(self, renewal: pb.WorkerRenewal) -> None:
        """Says which processes there are, and which conversations are kept without one."""
        for process in self.processes:
            renewal.sessions.add(session_id=process.session_id, binding_epoch=process.binding_epoch)
        named = {process.session_id for process in self.processes}
        kept = (one for one, transcript in self._around.disk.transcripts.items() if transcript.ended is None)
        busy = {one.id for one in self._sessions.values() if one.busy is not None}
        renewal.kept_session_ids.extend(one for one in kept if one not in named | busy)

    def unsaid(self) -> Iterator[pb.BackgroundTurn]:
        """Turns of the CLIs' own of which the server was not told on this stream."""
        for session in self._sessions.values():
            for own in session.own_turns.values():
                if not own.said and not own.job_id:
                    own.said = True
                    yield own.message

    def say_again(self) -> None:
        """On a new stream: what the server has not answered is said again."""
        for session in self._sessions.values():
            for own in session.own_turns.values():
                own.said = False

    def acknowledge(self, ack: pb.BackgroundTurnAck) -> None:
        """There is a job for a turn that a CLI began by itself, or never will be."""
        turn = ack.turn
        key = (turn.session_id, turn.binding_epoch, turn.number)
        if ack.job_id:
            told = self._acks.setdefault(key, ack.job_id)
            hold(told == ack.job_id, "X1", f"own turn {key} is job {told} and {ack.job_id}")
        session = self._sessions.get(turn.session_id)
        own = session.own_turns.get(turn.number) if session is not None else None
        if session is None or own is None or session.binding_epoch != turn.binding_epoch:
            return
        own.job_id = ack.job_id
        if not ack.job_id:
            del session.own_turns[turn.number]
            self._close(session)

    def end_named(self, session_ids: Iterable[str]) -> None:
        """The server wants no process of these sessions any more, nor what is kept of them."""
        for session_id in session_ids:
            session = self._sessions.get(session_id)
            if session is not None:
                session.own_turns.clear()
                self._close(session)
            transcript = self._around.disk.transcripts.get(session_id)
            if transcript is not None and transcript.ended is None:
                transcript.ended = self._around.now()

    def _enter_own(self, attempt: HeldAttempt) -> None:
        turn = attempt.assignment.session
        session = self._sessions.get(turn.session_id)
        own = None
        if session is not None and session.binding_epoch == turn.binding_epoch:
            own = session.own_turns.pop(turn.background_number, None)
        if own is None:
            attempt.sign = OWN_TURN_SIGN
        else:
            attempt.own_process = own.process
            attempt.saying = Saying(own.process.transcript, "")

    def _open(self, attempt: HeldAttempt) -> Session:
        turn = attempt.assignment.session
        session = self._sessions.get(turn.session_id)
        if session is None:
            session = self._sessions[turn.session_id] = Session(turn.session_id, turn.binding_epoch, 0)
        elif session.binding_epoch != turn.binding_epoch:
            self._end(session)
            session.own_turns.clear()
            session.binding_epoch, session.own_turns_count = turn.binding_epoch, 0
        session.idle_seconds, session.closing = turn.idle_timeout.ToTimedelta().total_seconds(), False
        return session

    def _close(self, session: Session) -> None:
        session.closing = True
        if not _is_at_work(session, self._around.now()):
            self._end(session)

    def _end(self, session: Session) -> None:
        session.process, session.own_until = None, 0.0


def _is_at_work(session: Session, now: float) -> bool:
    return session.busy is not None or (session.process is not None and now < session.own_until)
