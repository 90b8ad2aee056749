"""One attempt on its worker: what its executor sees of it (`executors/contract.py`), and what the lanes deliver for it.

It says what has to be delivered; when and on which stream is not decided here. No task is started here.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from headrace.v1 import error_pb2, event_pb2, input_pb2, outcome_pb2, worker_pb2, worker_service_pb2
from headrace_worker.deltas import DeltaBuffer
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, Snoozed, StopRequest, Succeeded
from headrace_worker.inbox import Change, Inbox
from headrace_worker.lease import key_of
from headrace_worker.outbox import Outbox

ACCEPTED = worker_service_pb2.HELD_PHASE_ACCEPTED
STARTED = worker_service_pb2.HELD_PHASE_STARTED
FINISHED = worker_service_pb2.HELD_PHASE_FINISHED


@dataclass(frozen=True, slots=True)
class AttemptLinks:
    """What every attempt of a worker is connected to."""

    output_waits: "Callable[[RunningAttempt], None]"
    """Output or deltas of the attempt wait to be sent."""
    report_waits: "Callable[[RunningAttempt], None]"
    """A report of the attempt waits to be sent."""
    make_outbox: Callable[[str, Callable[[], None]], Outbox]
    """A new outbox for a kind of task, which calls back whenever it has taken something."""
    wall_nanos: Callable[[], int]
    """Nanoseconds since 1970."""
    acknowledge: Callable[[worker_pb2.Lease, int, error_pb2.ItemError | None], None]
    """A command was carried out, or can't be."""


class RunningAttempt:
    """An attempt that this worker holds; implements `contract.HandlerAttempt`."""

    __slots__ = (
        "_kill",
        "_links",
        "_listeners",
        "_stop",
        "_stopped",
        "assignment",
        "cancelling",
        "committed_report_number",
        "deltas",
        "dirty",
        "finish",
        "finish_said",
        "inbox",
        "key",
        "kind",
        "lease",
        "lost_reason",
        "outbox",
        "output_lost",
        "phase",
        "reports",
        "returning",
        "said_report_number",
        "stale",
        "start_nanos",
        "task",
    )

    def __init__(self, assignment: worker_pb2.Assignment, links: AttemptLinks) -> None:
        self.assignment = assignment
        self.lease = assignment.lease
        self.key = key_of(assignment.lease)
        self.kind: str = assignment.spec.WhichOneof("task") or ""
        self.phase = ACCEPTED
        self.start_nanos = 0
        self.task: asyncio.Task[None] | None = None
        self.outbox: Outbox | None = None
        self.deltas: DeltaBuffer | None = None
        self.reports: list[worker_service_pb2.AttemptReport] = []
        self.committed_report_number = 0
        self.said_report_number = 0
        """On this stream."""
        self.finish: worker_service_pb2.AttemptFinish | None = None
        self.finish_said = False
        """On this stream."""
        self.dirty = False
        self.cancelling = False
        """The server wants it cancelled."""
        self.returning = False
        """It is ended so that its job can run elsewhere."""
        self.lost_reason = ""
        """Why the worker ended it on its own account."""
        self.output_lost = False
        """Output that was taken can't be delivered any more."""
        self.stale = False
        """The server no longer takes output or reports of it; its finish is for the record."""
        self.inbox = Inbox(lambda number, error: links.acknowledge(self.lease, number, error))
        self._links = links
        self._stop: StopRequest | None = None
        self._stopped: asyncio.Event | None = None
        self._kill: asyncio.Event | None = None
        self._listeners: list[Callable[[StopRequest], None]] = []

    async def emit(self, output: event_pb2.Output) -> int:
        """See `contract.Attempt`. After a request to kill, output is dropped: nobody waits for it."""
        if self.outbox is None:
            self.outbox = self._links.make_outbox(self.kind, lambda: self._links.output_waits(self))
            if self.killed:
                self.outbox.seal()
        nanos = self._links.wall_nanos()
        output.time.seconds, output.time.nanos = divmod(nanos, 1_000_000_000)
        self.dirty = self.dirty or output.dirty
        return await self.outbox.put(output)

    async def wait_committed(self) -> bool:
        """See `contract.HandlerAttempt`."""
        return self.outbox is None or await self.outbox.wait_committed(self.outbox.last_sequence)

    def emit_delta(self, delta: event_pb2.Delta) -> None:
        """See `contract.Attempt`."""
        if self.killed:
            return
        if self.deltas is None:
            self.deltas = DeltaBuffer()
        self.deltas.offer(self.outbox.last_sequence if self.outbox else 0, delta)
        self._links.output_waits(self)

    def report_step(self, step: event_pb2.CancelStepped) -> None:
        """See `contract.Attempt`."""
        self._report(worker_service_pb2.AttemptReport(step=step))

    async def ask(self, request: input_pb2.InputRequest) -> input_pb2.InputAnswer:
        """See `contract.Attempt`."""
        answer = self.inbox.open(request.request_id)
        self._report(worker_service_pb2.AttemptReport(input_requested=request))
        try:
            return await answer
        except asyncio.CancelledError:
            if not self.killed:
                withdrawn = worker_service_pb2.InputWithdrawn(request_id=request.request_id)
                self._report(worker_service_pb2.AttemptReport(input_withdrawn=withdrawn))
            raise
        finally:
            self.inbox.close(request.request_id)

    async def next_settings(self) -> Change:
        """See `contract.Attempt`."""
        return await self.inbox.next_change()

    def _report(self, report: worker_service_pb2.AttemptReport) -> None:
        if self.stale or self.phase == FINISHED:
            return
        report.lease.CopyFrom(self.lease)
        report.report_number = len(self.reports) + 1
        report.after_producer_sequence = self.outbox.last_sequence if self.outbox else 0
        self.reports.append(report)
        self._links.report_waits(self)

    def reports_committed(self, number: int) -> None:
        """The server has committed reports up to this one; it never takes them again, so what they said is dropped."""
        for report in self.reports[self.committed_report_number : number]:
            report.ClearField("input_requested")
        self.committed_report_number = max(self.committed_report_number, min(number, len(self.reports)))

    def stop_requested(self) -> StopRequest | None:
        """See `contract.Attempt`."""
        return self._stop

    async def wait_stop(self) -> StopRequest:
        """See `contract.Attempt`."""
        if self._stop is None:
            if self._stopped is None:
                self._stopped = asyncio.Event()
            await self._stopped.wait()
        assert self._stop is not None
        return self._stop

    async def wait_kill(self) -> StopRequest:
        """See `contract.Attempt`."""
        if self._stop is None or not self._stop.kill:
            if self._kill is None:
                self._kill = asyncio.Event()
            await self._kill.wait()
        assert self._stop is not None
        return self._stop

    def on_stop(self, listener: Callable[[StopRequest], None]) -> None:
        """Calls the listener when the attempt has to end, and again for a kill; at once if it already has to."""
        self._listeners.append(listener)
        if self._stop is not None:
            listener(self._stop)

    @property
    def killed(self) -> bool:
        """Whether it has to end by a kill."""
        return self._stop is not None and self._stop.kill

    def stop(self, request: StopRequest) -> None:
        """Asks for the attempt's end. Asking again changes nothing, but that a kill follows a gentler request."""
        if self._stop is not None and (self._stop.kill or not request.kill):
            return
        self._stop = request
        if self._stopped is not None:
            self._stopped.set()
        if request.kill:
            if self._kill is not None:
                self._kill.set()
            if self.outbox is not None:
                self.outbox.seal()
        for listener in self._listeners:
            listener(request)

    def make_stale(self, reason: str) -> None:
        """The lease is no longer this worker's: the attempt is killed, and what it has not delivered is dropped."""
        self.stale = True
        self.stop(StopRequest(kill=True, grace_seconds=0.0, reason=reason))
        if self.outbox is not None:
            self.outbox.abandon()
        self.deltas = None

    def conclude(self, outcome: Outcome) -> None:
        """The executor has returned: nothing of the attempt is left but what has to be delivered."""
        self.phase = FINISHED
        self.inbox.end()
        self._listeners.clear()
        if self.outbox is not None:
            self.outbox.seal()
        finish = worker_service_pb2.AttemptFinish(
            lease=self.lease,
            last_producer_sequence=self.outbox.last_sequence if self.outbox else 0,
            last_report_number=len(self.reports),
        )
        if outcome.usage.ByteSize():
            finish.usage.CopyFrom(outcome.usage)
        self._set_outcome(finish, outcome)
        self.finish = finish

    def note_lost_output(self, fault: str) -> None:
        """Output that was taken is lost on the worker's disk: the attempt can't end as anything but a failure."""
        assert self.outbox is not None
        self.output_lost = True
        last = self.outbox.last_sequence
        for report in self.reports:
            report.after_producer_sequence = min(report.after_producer_sequence, last)
        if self.finish is None:
            self.stop(StopRequest(kill=True, grace_seconds=0.0, reason=fault))
        else:
            self.finish.last_producer_sequence = last
            self._set_lost_output(self.finish, fault)

    def take_reports(self) -> list[worker_service_pb2.AttemptReport]:
        """The reports that were not said on this stream and whose output is committed: the server takes no others."""
        committed = self.outbox.committed if self.outbox else 0
        waiting = self.reports[self.said_report_number :]
        ready = list(takewhile(lambda report: report.after_producer_sequence <= committed, waiting))
        self.said_report_number += len(ready)
        return ready

    def delivered(self) -> bool:
        """Whether the server has everything that has to come before the finish."""
        if self.stale:
            return True
        return self.committed_report_number == len(self.reports) and (self.outbox is None or self.outbox.empty)

    def _set_outcome(self, finish: worker_service_pb2.AttemptFinish, outcome: Outcome) -> None:
        if self.outbox is not None and self.outbox.fault and not self.stale:
            self._set_lost_output(finish, self.outbox.fault)
        elif isinstance(outcome, Succeeded):
            finish.succeeded.CopyFrom(outcome.result)
        elif self.lost_reason and not self.stale:
            finish.failed.failure_class = outcome_pb2.FAILURE_CLASS_WORKER_LOST
            finish.failed.message = self.lost_reason
            finish.failed.sign = "worker"
        elif self.cancelling and isinstance(outcome, Cancelled | Snoozed):
            finish.cancelled.SetInParent()
        elif self.returning:
            finish.returned.SetInParent()
        elif isinstance(outcome, Failed):
            finish.failed.CopyFrom(outcome.failure)
        elif isinstance(outcome, Snoozed):
            finish.snoozed.delay.FromMicroseconds(outcome.delay_micros)
            finish.snoozed.reason = outcome.reason
        elif self._stop is not None:
            finish.cancelled.SetInParent()
        else:
            finish.failed.failure_class = outcome_pb2.FAILURE_CLASS_CRASH
            finish.failed.message = "the executor reported a cancel that nobody asked for"
            finish.failed.sign = "executor"

    def _set_lost_output(self, finish: worker_service_pb2.AttemptFinish, fault: str) -> None:
        failure = outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_RESOURCE, message=fault, sign="spool")
        finish.failed.CopyFrom(failure)
