"""A simulated worker: the protocol's other side as a machine that any step may move or leave alone.

It obeys the contract: it starts nothing without a live lease, ends everything before its lease can end, and says again
after a reconnect what was not acknowledged. What it is slow with, and in which order it does what it may, is chance.
"""

from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from headrace.v1 import event_pb2, worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace.v1.outcome_pb2 import FAILURE_CLASS_WORKER_LOST
from headrace_server.core.refusal import Reason
from headrace_worker.lease import LeaseKey, WorkerLease, key_of, margin_seconds
from simulation.attempts import ACCEPTED, FINISHED, STARTED, HeldAttempt
from simulation.ground import Ending
from simulation.held_sessions import HeldSessions
from simulation.network import StreamEnd, Wire
from simulation.surroundings import Surroundings, WorkerKind
from simulation.violation import hold

PROTOCOL_VERSION = 1


@dataclass(eq=False, slots=True)
class Worker:
    """One incarnation."""

    drop_stream_at_lease_end: ClassVar[bool] = True
    kind: WorkerKind
    incarnation: str
    around: Surroundings
    keeper_share: float
    """Which part of the lease's margin its keepers take to end a tree."""
    lease: WorkerLease = field(default_factory=WorkerLease)
    attempts: dict[LeaseKey, HeldAttempt] = field(default_factory=dict)
    control: Wire | None = None
    data: Wire | None = None
    frozen: bool = False
    dead: bool = False
    draining: bool = False
    welcomed: bool = False
    _lease_seconds: float = 0.0
    _interval: float = 5.0
    _next_renewal: float = 0.0
    _handled: int = 0
    _connected: bool = False
    """Welcomed on this stream."""
    _releases: list[pb.AttemptRelease] = field(default_factory=list)
    _starts: list[pb.AttemptStart] = field(default_factory=list)
    _command_acks: list[pb.CommandAck] = field(default_factory=list)
    _commands: dict[tuple[LeaseKey, int], bytes] = field(default_factory=dict)
    """Everything that its attempts were told, by number."""
    sessions: HeldSessions = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = HeldSessions(self.kind.name, self.around)

    @property
    def connected(self) -> bool:
        """Whether its stream stands and it was welcomed on it."""
        return self._connected

    def connect(self) -> None:
        """Opens a stream, with hello and renewal."""
        self.control = self.around.open_control()
        self._handled = 0
        hello = pb.WorkerHello(
            worker_id=self.kind.name,
            incarnation=self.incarnation,
            reattach=self.welcomed,
            protocol_version=PROTOCOL_VERSION,
            slots=self.kind.slots,
            capabilities=self.kind.capabilities,
        )
        request = pb.ConnectRequest(hello=hello)
        self._add_renewal(request)
        self.control.up.append(request)

    def disconnect(self, *, lingers: bool = False) -> None:
        """Its streams are cut; it keeps what it runs."""
        for wire in (self.control, self.data):
            if wire is not None:
                wire.cut(lingers=lingers)
        self.control = self.data = None
        self._connected = False
        self.lease.disconnect()
        self._releases.clear()
        self._starts.clear()
        self._command_acks.clear()

    def kill(self) -> None:
        """The process is gone, and its keepers end what it ran."""
        self.dead = True
        self.disconnect()
        for attempt in self.attempts.values():
            self._end_tree(attempt, Ending.LOST)
        self.attempts.clear()
        self.sessions.kill_all()

    def trees_end(self) -> float | None:
        """When its keepers have ended every tree unless the lease is renewed before."""
        if self.lease.deadline is None or not (self.around.ground.alive(self.kind.name) or self.sessions.processes):
            return None
        return self.lease.deadline + margin_seconds(self._lease_seconds) * self.keeper_share

    def end_trees(self) -> None:
        """The keepers' deadline has come. They need nobody's word for it."""
        for attempt in self.attempts.values():
            self._end_tree(attempt, Ending.LOST)
        self.sessions.kill_all()

    def look_at_clock(self) -> None:
        """Notices by its own clock that its lease is over, and that a renewal is due."""
        now = self.around.now()
        if self.lease.deadline is not None and now >= self.lease.deadline:
            self.lease.end()
            self._lose_all()
            self.sessions.kill_all()
            if self.control is not None and self.drop_stream_at_lease_end:
                # What may still wait on the stream is from before: its assignments are another's by now.
                self.disconnect()
        self.sessions.look_at_clock()
        if self._connected and now >= self._next_renewal:
            self.renew()

    def renew(self) -> None:
        """Renews its lease with the next message, which is this one."""
        if self._connected:
            self.say(renewal=True)

    def hear_control(self) -> None:
        """Acts on the next message of the control lane."""
        assert self.control is not None
        message = self.control.receive()
        if isinstance(message, StreamEnd):
            self.disconnect()
            if message.refusal is not None and message.refusal.reason is Reason.STALE_INCARNATION:
                self.kill()
            return
        assert isinstance(message, pb.ConnectResponse)
        if message.HasField("welcome"):
            self._accept(message)
        self._handle(message)

    def hear_data(self) -> None:
        """Acts on the next message of the data lane."""
        assert self.data is not None
        message = self.data.receive()
        if isinstance(message, StreamEnd):
            self.disconnect()
            return
        assert isinstance(message, pb.StreamOutputResponse)
        for ack in message.acks:
            attempt = self.attempts.get(key_of(ack.lease))
            if attempt is None or attempt.stale:
                continue
            if ack.stale:
                self._fence(attempt)
                continue
            attempt.committed = max(attempt.committed, ack.committed_producer_sequence)
            attempt.in_flight = 0

    def say(self, *, renewal: bool = False) -> None:
        """Says on the control lane what is to be said."""
        if not self._connected or self.control is None:
            return
        request = pb.ConnectRequest(starts=self._starts, releases=self._releases, command_acks=self._command_acks)
        self._starts.clear()
        self._releases.clear()
        self._command_acks.clear()
        for attempt in self.attempts.values():
            self._add_words(request, attempt)
        request.background_turns.extend(self.sessions.unsaid())
        if renewal:
            self._add_renewal(request)
        if request.ByteSize():
            self.control.up.append(request)

    def send_output(self, chance: Random) -> None:
        """Sends the next batch of every attempt that has none in flight."""
        if self.data is None:
            return
        request = pb.StreamOutputRequest()
        for attempt in self.attempts.values():
            waiting = attempt.outputs[attempt.committed :]
            if attempt.stale or attempt.in_flight or not waiting:
                continue
            outputs = waiting[: chance.randint(1, 4)]
            request.batches.add(lease=attempt.lease, outputs=outputs)
            attempt.in_flight = outputs[-1].producer_sequence
        if request.batches:
            self.data.up.append(request)

    def start(self, attempt: HeldAttempt) -> bool:
        """Starts what it has taken, when there is a slot; else it waits."""
        if self.around.ground.alive(self.kind.name) + attempt.slots > self.kind.slots:
            return False
        is_turn = attempt.assignment.HasField("session")
        if is_turn and not self.sessions.enter(attempt):
            return False
        attempt.phase = STARTED
        attempt.run = self.around.ground.begin(self.kind.name, self.kind.slots, attempt.key, attempt.slots)
        self._starts.append(pb.AttemptStart(lease=attempt.lease))
        if is_turn and (failure := self.sessions.begin(attempt)):
            self.conclude(attempt, Ending.FAILED, failure)
        return True

    def release(self, attempt: HeldAttempt, cause: event_pb2.ReleaseCause) -> None:
        """Hands back what it has not started."""
        del self.attempts[attempt.key]
        self._releases.append(pb.AttemptRelease(lease=attempt.lease, cause=cause))

    def forget(self, attempt: HeldAttempt) -> None:
        """It loses an attempt, with its tree, and does not know how it ended: it only names it no more."""
        del self.attempts[attempt.key]
        self._end_tree(attempt, Ending.LOST)

    def conclude(
        self, attempt: HeldAttempt, ending: Ending, failure: int = FAILURE_CLASS_WORKER_LOST, retry_after: float = 0
    ) -> None:
        """The attempt ends, with its tree."""
        if attempt.saying is not None:
            self.sessions.conclude(attempt, ending)
        self._end_tree(attempt, ending)
        attempt.conclude(ending, failure, retry_after)  # type: ignore[arg-type]  # enums of the contract are numbers

    def _add_words(self, request: pb.ConnectRequest, attempt: HeldAttempt) -> None:
        if not attempt.stale:
            for report in attempt.reports[attempt.reports_said :]:
                if report.after_producer_sequence > attempt.committed:
                    break
                request.reports.append(report)
                attempt.reports_said += 1
        if attempt.finish is None or attempt.finish_said:
            return
        if attempt.delivered() or (self.kind.impatient and attempt.reports_said == len(attempt.reports)):
            request.finishes.append(attempt.finish)
            attempt.finish_said = True

    def _add_renewal(self, request: pb.ConnectRequest) -> None:
        now = self.around.now()
        renewal = request.renewal
        renewal.counter = self.lease.send(now)
        for attempt in self.attempts.values():
            renewal.held.add(lease=attempt.lease, phase=attempt.phase, dirty=attempt.dirty)
        renewal.handled_message_number = self._handled
        renewal.draining = self.draining
        if self.draining:
            self.sessions.end_every_idle()
        self.sessions.add_to(renewal)
        self._next_renewal = now + self._interval

    def _accept(self, message: pb.ConnectResponse) -> None:
        welcome = message.welcome
        now = self.around.now()
        self._lease_seconds = welcome.lease_duration.ToTimedelta().total_seconds()
        self._interval = welcome.renewal_interval.ToTimedelta().total_seconds()
        self.lease.grant(message.renewed_counter or 1, self._lease_seconds, now)
        self.welcomed = self._connected = True
        self.sessions.say_again()
        known = {key_of(one.lease): one for one in welcome.held}
        for attempt in list(self.attempts.values()):
            entry = known.get(attempt.key)
            if entry is None:
                self._fence(attempt)
                continue
            if not attempt.stale:
                committed = entry.committed_producer_sequence
                if self.kind.resends:
                    committed = min(attempt.committed, committed)
                attempt.rewind(committed, entry.committed_report_number)
            attempt.finish_said = False
            self._want(attempt, entry.wanted)
            if attempt.phase == STARTED:
                self._starts.append(pb.AttemptStart(lease=attempt.lease))
        self.data = self.around.open_data()
        opening = pb.StreamOutputOpen(
            worker_id=self.kind.name, incarnation=self.incarnation, connection_id=welcome.connection_id
        )
        self.data.up.append(pb.StreamOutputRequest(open=opening))

    def _handle(self, message: pb.ConnectResponse) -> None:
        for finish_ack in message.finish_acks:
            self._settle(finish_ack)
        for report_ack in message.report_acks:
            attempt = self.attempts.get(key_of(report_ack.lease))
            if attempt is not None and not attempt.stale:
                attempt.reports_committed = max(attempt.reports_committed, report_ack.committed_report_number)
        for assignment in message.assignments:
            self._assign(assignment)
        for wanted in message.wanted:
            attempt = self.attempts.get(key_of(wanted.lease))
            if attempt is not None:
                self._want(attempt, wanted.wanted)
        for command in message.commands:
            self._obey(command)
        for turn_ack in message.background_turn_acks:
            self.sessions.acknowledge(turn_ack)
        self.sessions.end_named(message.ended_session_ids)
        self._handled = message.message_number
        if message.renewed_counter:
            self.lease.answer(message.renewed_counter, self.around.now())

    def _obey(self, command: pb.AttemptCommand) -> None:
        key, number = key_of(command.lease), command.command_number
        body = command.SerializeToString(deterministic=True)
        told = self._commands.setdefault((key, number), body)
        hold(told == body, "X3", f"command {number} of {key} was two different ones")
        attempt = self.attempts.get(key)
        if attempt is not None and attempt.open_input == command.answer.request_id:
            attempt.open_input = ""
        self._command_acks.append(pb.CommandAck(lease=command.lease, command_number=number))

    def _assign(self, assignment: worker_pb2.Assignment) -> None:
        attempt = HeldAttempt(assignment, endless=assignment.spec.labels.get("endless") == "yes")
        if attempt.key in self.attempts:
            return
        self.around.assigned(assignment)
        taken = sum(one.slots for one in self.attempts.values() if one.phase != FINISHED)
        self.attempts[attempt.key] = attempt
        if self.draining:
            self.release(attempt, event_pb2.RELEASE_CAUSE_DRAINING)
        elif taken + attempt.slots > self.kind.slots:
            self.release(attempt, event_pb2.RELEASE_CAUSE_DECLINED)

    def _want(self, attempt: HeldAttempt, wanted: pb.WantedState) -> None:
        if wanted == pb.WANTED_STATE_KILL:
            self._fence(attempt)
        elif attempt.phase == ACCEPTED and wanted == pb.WANTED_STATE_CANCEL:
            self.release(attempt, event_pb2.RELEASE_CAUSE_CANCELLED)
        elif attempt.phase == ACCEPTED and wanted == pb.WANTED_STATE_REVOKE:
            self.release(attempt, event_pb2.RELEASE_CAUSE_REVOKED)
        elif attempt.phase == STARTED and wanted == pb.WANTED_STATE_REVOKE:
            self._starts.append(pb.AttemptStart(lease=attempt.lease))
        elif attempt.phase == STARTED and wanted == pb.WANTED_STATE_CANCEL:
            attempt.cancelling = True
        elif attempt.phase == ACCEPTED and wanted == pb.WANTED_STATE_RETURN:
            self.release(attempt, event_pb2.RELEASE_CAUSE_DRAINING)
        elif attempt.phase == STARTED and wanted == pb.WANTED_STATE_RETURN:
            attempt.returning = True

    def _settle(self, ack: pb.FinishAck) -> None:
        attempt = self.attempts.get(key_of(ack.lease))
        if attempt is None:
            return
        if ack.disposition == pb.FINISH_DISPOSITION_OUTPUT_MISSING:
            attempt.finish_said = False
            return
        if ack.disposition == pb.FINISH_DISPOSITION_ACCEPTED and attempt.run is not None:
            self.around.ground.acknowledged.append(attempt.run)
        del self.attempts[attempt.key]

    def _fence(self, attempt: HeldAttempt) -> None:
        if attempt.stale:
            return
        if attempt.phase == ACCEPTED:
            del self.attempts[attempt.key]
            return
        attempt.stale = True
        attempt.in_flight = 0
        if attempt.phase == STARTED:
            self.conclude(attempt, Ending.LOST)

    def _lose_all(self) -> None:
        for attempt in list(self.attempts.values()):
            if attempt.phase == ACCEPTED:
                del self.attempts[attempt.key]
            elif attempt.phase == STARTED:
                self.conclude(attempt, Ending.LOST)

    def _end_tree(self, attempt: HeldAttempt, ending: Ending) -> None:
        if attempt.run is not None:
            self.around.ground.end(attempt.run)
            attempt.run.ending = attempt.run.ending or ending
        if attempt.assignment.HasField("session"):
            self.sessions.leave(attempt, ending)
