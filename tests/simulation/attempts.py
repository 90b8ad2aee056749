"""One attempt as a simulated worker holds it: what it made, what of that the server has, what is still to be said."""

from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import event_pb2, input_pb2, outcome_pb2, worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_worker.lease import LeaseKey, key_of
from simulation import snapshots
from simulation.ground import Ending, Run
from simulation.held_process import Process
from simulation.turns import Saying

ACCEPTED, STARTED, FINISHED = pb.HELD_PHASE_ACCEPTED, pb.HELD_PHASE_STARTED, pb.HELD_PHASE_FINISHED


def stamp(key: LeaseKey, sequence: int) -> bytes:
    """What a piece of output says, so that everybody can tell whose it is."""
    return f"{key.generation}:{key.epoch}:{sequence}".encode()


@dataclass(eq=False, slots=True)
class HeldAttempt:
    """See the worker's side of `worker_service.proto`."""

    assignment: worker_pb2.Assignment
    endless: bool
    """Runs until it is told to end."""
    phase: pb.HeldPhase = ACCEPTED
    run: Run | None = None
    outputs: list[event_pb2.Output] = field(default_factory=list)
    committed: int = 0
    in_flight: int = 0
    """Last output of the batch that is on its way; zero when there is none."""
    reports: list[pb.AttemptReport] = field(default_factory=list)
    reports_committed: int = 0
    reports_said: int = 0
    open_input: str = ""
    finish: pb.AttemptFinish | None = None
    finish_said: bool = False
    cancelling: bool = False
    returning: bool = False
    stale: bool = False
    dirty: bool = False
    used_usd_micros: int = 0
    used_tokens: int = 0
    saying: Saying | None = None
    """Of a turn of a session: what was said, and in which conversation."""
    own_process: Process | None = None
    """Of a turn that a CLI began by itself."""
    sign: str = ""
    """By which its failure is to be told, when it could not begin."""
    tells_conversation: bool = True
    """The next frame of a turn says in which conversation it is."""

    @property
    def lease(self) -> worker_pb2.Lease:
        """As it was assigned."""
        return self.assignment.lease

    @property
    def slots(self) -> int:
        """That it takes."""
        return max(1, self.assignment.spec.placement.resources.slots)

    @property
    def key(self) -> LeaseKey:
        """Of the lease."""
        return key_of(self.assignment.lease)

    def produce(self, *, dirty: bool, checkpoint: bool = False) -> None:
        """Makes a piece of output, or says a checkpoint."""
        assert self.run is not None
        output = event_pb2.Output(producer_sequence=len(self.outputs) + 1, dirty=dirty)
        text = stamp(self.key, output.producer_sequence)
        if checkpoint:
            output.checkpoint.value.string_value = text.decode()
        elif self.assignment.spec.HasField("claude"):
            output.claude.raw_json = text.decode()
            if self.saying is not None:
                self._say_conversation(output, self.saying)
            elif output.producer_sequence == 1:
                output.claude.init.claude_session_id = self.assignment.resume_claude_session_id or "session"
        else:
            output.chunk.data = text
        self.dirty = self.dirty or dirty
        self.outputs.append(output)
        self.run.outputs = len(self.outputs)

    def say_usage(self) -> None:
        """Says what it has used so far."""
        assert self.run is not None
        usage = outcome_pb2.Usage(cost_usd_micros=self.used_usd_micros, output_tokens=self.used_tokens)
        self.outputs.append(event_pb2.Output(producer_sequence=len(self.outputs) + 1, usage=usage))
        self.run.outputs = len(self.outputs)

    def take_snapshot(self) -> None:
        """Sends what the session can go on from elsewhere."""
        assert self.run is not None
        assert self.saying is not None
        policy = self.assignment.session.snapshots
        self.outputs += snapshots.outputs_of(self.saying.transcript, policy, len(self.outputs) + 1)
        self.run.outputs = len(self.outputs)

    def report(self, *, step: bool) -> None:
        """Reports a rung of the cancel ladder, or asks a person, or takes the question back."""
        assert self.run is not None
        report = pb.AttemptReport(
            lease=self.lease, report_number=len(self.reports) + 1, after_producer_sequence=len(self.outputs)
        )
        if step:
            report.step.step = event_pb2.CANCEL_STEP_INTERRUPT
        elif self.open_input:
            report.input_withdrawn.request_id, self.open_input = self.open_input, ""
        else:
            self.open_input = f"q{report.report_number}"
            report.input_requested.CopyFrom(input_pb2.InputRequest(request_id=self.open_input))
        self.reports.append(report)
        self.run.reports = len(self.reports)

    def conclude(self, ending: Ending, failure: outcome_pb2.FailureClass, retry_after: float) -> None:
        """The tree is gone, and this is how it ended."""
        assert self.run is not None
        self.phase = FINISHED
        self.run.ending = ending
        self.run.sign = self.sign or stamp(self.key, 0).decode()
        self.finish = pb.AttemptFinish(
            lease=self.lease, last_producer_sequence=len(self.outputs), last_report_number=len(self.reports)
        )
        self.finish.usage.turns = 1
        self.finish.usage.cost_usd_micros = self.used_usd_micros
        self.finish.usage.output_tokens = self.used_tokens
        if ending is Ending.SUCCEEDED:
            self.finish.succeeded.handler.value.string_value = self.run.sign
        elif ending is Ending.CANCELLED:
            self.finish.cancelled.SetInParent()
        elif ending is Ending.RETURNED:
            self.finish.returned.SetInParent()
        elif ending is Ending.SNOOZED:
            self.finish.snoozed.reason = "not yet"
            self.finish.snoozed.delay.CopyFrom(Duration(seconds=int(retry_after)))
        else:
            self.finish.failed.failure_class = failure
            self.finish.failed.sign = self.run.sign
            if retry_after:
                self.finish.failed.retry_after.CopyFrom(Duration(seconds=int(retry_after)))

    def delivered(self) -> bool:
        """Whether the server has all that has to come before the finish."""
        return self.stale or (self.committed == len(self.outputs) and self.reports_committed == len(self.reports))

    def _say_conversation(self, output: event_pb2.Output, saying: Saying) -> None:
        saying.begin()
        if self.tells_conversation:
            output.claude.init.claude_session_id = saying.transcript.id
            self.tells_conversation = False

    def rewind(self, committed: int, reports_committed: int) -> None:
        """On a new stream: what the server has is the truth, what was on its way is not."""
        self.in_flight = 0
        self.committed = committed
        self.reports_committed = self.reports_said = reports_committed
        self.finish_said = False
