"""The attempts that this worker holds, and what the server's words do to them. Every method runs to its end at once.

Time, streams and leases stay outside: who calls it decides when. What an attempt delivers stands in `attempts.py`.
"""

import asyncio
import logging
import traceback
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from headrace.v1 import event_pb2, outcome_pb2, worker_pb2, worker_service_pb2
from headrace_worker.attempts import ACCEPTED, FINISHED, STARTED, AttemptLinks, RunningAttempt
from headrace_worker.control_lane import ControlLane
from headrace_worker.executors.contract import Failed, Outcome, StopRequest
from headrace_worker.executors.limits import FAILURE_DETAIL_BYTES_MAX
from headrace_worker.inbox import not_held
from headrace_worker.lease import LeaseKey, key_of
from headrace_worker.limits import CANCEL_GRACE_SECONDS_DEFAULT

Run = Callable[[RunningAttempt], Coroutine[Any, Any, Outcome]]
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

logger = logging.getLogger(__name__)


class Slots:
    """Runs attempts, at most `count` at once."""

    def __init__(
        self, count: int, runs: Mapping[str, Run], links: AttemptLinks, control: ControlLane, spawn: Spawn
    ) -> None:
        """`runs`: how to run each kind of task, by its name in `JobSpec`. `spawn` starts a task and owns it."""
        self.draining = False
        self._count = count
        self._runs = runs
        self._links = links
        self._control = control
        self._spawn = spawn
        self._attempts: dict[LeaseKey, RunningAttempt] = {}
        self._waiting: deque[RunningAttempt] = deque()
        self._running = 0
        self._ending = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Attempts whose executor has not returned."""
        return self._running

    @property
    def attempts(self) -> Iterable[RunningAttempt]:
        """Every attempt that is held."""
        return self._attempts.values()

    async def wait_empty(self) -> None:
        """Waits until nothing is held: every finish is acknowledged."""
        await self._empty.wait()

    async def wait_idle(self) -> None:
        """Waits until no executor runs."""
        await self._idle.wait()

    def held(self) -> list[worker_service_pb2.HeldLease]:
        """Every attempt that is held, for a renewal."""
        return [
            worker_service_pb2.HeldLease(lease=attempt.lease, phase=attempt.phase, dirty=attempt.dirty)
            for attempt in self._attempts.values()
        ]

    def assign(self, assignment: worker_pb2.Assignment) -> None:
        """New work. A lease that is held already is no news."""
        attempt = RunningAttempt(assignment, self._links)
        if attempt.key in self._attempts:
            return
        if self.draining:
            self._control.release(attempt.lease, event_pb2.RELEASE_CAUSE_DRAINING, "the worker is draining")
        elif attempt.kind not in self._runs:
            message = f"this worker does not run {attempt.kind or 'unknown'} tasks"
            self._control.release(attempt.lease, event_pb2.RELEASE_CAUSE_DECLINED, message)
        elif self._running < self._count:
            self._hold(attempt)
            self._start(attempt)
        elif self._running - self._ending + len(self._waiting) < self._count:
            # The server has given this slot away already: whoever holds it was fenced and is about to be gone.
            self._hold(attempt)
            self._waiting.append(attempt)
        else:
            message = f"all {self._count} slots are taken"
            self._control.release(attempt.lease, event_pb2.RELEASE_CAUSE_DECLINED, message)

    def want(self, wanted: worker_service_pb2.WantedAttempt) -> None:
        """What the server wants of an attempt. Saying it again changes nothing."""
        attempt = self._attempts.get(key_of(wanted.lease))
        if attempt is None or wanted.wanted == worker_service_pb2.WANTED_STATE_RUN:
            return
        if wanted.wanted == worker_service_pb2.WANTED_STATE_KILL:
            self.fence(attempt, "the server says that its lease is stale")
        elif attempt.phase == ACCEPTED:
            self._give_back(attempt, wanted.wanted)
        elif wanted.wanted == worker_service_pb2.WANTED_STATE_REVOKE:
            if attempt.phase == STARTED:
                self._control.start(attempt)
        elif attempt.phase == STARTED:
            self._stop(attempt, wanted)

    def acknowledge_reports(self, ack: worker_service_pb2.ReportAck) -> None:
        """The server has committed reports."""
        attempt = self._attempts.get(key_of(ack.lease))
        if attempt is not None:
            attempt.reports_committed(ack.committed_report_number)
            self._deliver(attempt)

    def acknowledge_finish(self, ack: worker_service_pb2.FinishAck) -> None:
        """The server has settled a finish."""
        attempt = self._attempts.get(key_of(ack.lease))
        if attempt is None:
            return
        if ack.disposition == worker_service_pb2.FINISH_DISPOSITION_OUTPUT_MISSING:
            self._resend(attempt, ack.committed_producer_sequence)
            return
        if ack.disposition == worker_service_pb2.FINISH_DISPOSITION_INVALID:
            logger.error("the server refused the finish of job %s as invalid", attempt.lease.job_id)
        self._forget(attempt)

    def output_settled(self, attempt: RunningAttempt, stale: bool) -> None:
        """The server has committed output of the attempt, or no longer takes any."""
        if attempt.key in self._attempts:
            if stale:
                self.fence(attempt, "the server no longer takes its output")
            else:
                self._control.report(attempt)
                self._deliver(attempt)

    def command(self, command: worker_service_pb2.AttemptCommand) -> None:
        """A command for a running attempt. One that was carried out before is acknowledged again."""
        attempt = self._attempts.get(key_of(command.lease))
        if attempt is None or attempt.phase == FINISHED:
            self._control.acknowledge(command.lease, command.command_number, not_held())
        else:
            attempt.inbox.take(command)

    def reattach(self, held: Iterable[worker_service_pb2.HeldAttempt]) -> None:
        """A new stream's welcome: the server's word on each attempt; then says again what it has not acknowledged."""
        known = {key_of(entry.lease): entry for entry in held}
        for attempt in list(self._attempts.values()):
            entry = known.get(attempt.key)
            if entry is None:
                self.fence(attempt, "the server does not know its lease")
                continue
            self._rewind(attempt, entry)
            wanted = worker_service_pb2.WantedAttempt(lease=attempt.lease, wanted=entry.wanted)
            self.want(wanted)
            if attempt.key in self._attempts:
                self._say_again(attempt)

    def fence(self, attempt: RunningAttempt, reason: str) -> None:
        """The lease is no longer this worker's: the attempt ends at once, whatever it does."""
        if attempt.stale:
            return
        logger.warning("attempt %d of job %s is fenced: %s", attempt.lease.attempt, attempt.lease.job_id, reason)
        if attempt.phase == ACCEPTED:
            self._waiting.remove(attempt)
            self._forget(attempt)
            return
        self._note_ending(attempt)
        attempt.make_stale(reason)
        self._deliver(attempt)

    def lose_all(self, reason: str) -> None:
        """Ends every attempt at once on the worker's own account; the server is told when it listens."""
        for attempt in list(self._attempts.values()):
            if attempt.phase == ACCEPTED:
                self._waiting.remove(attempt)
                self._forget(attempt)
            elif attempt.phase == STARTED:
                attempt.lost_reason = attempt.lost_reason or reason
                self._note_ending(attempt)
                attempt.stop(StopRequest(kill=True, grace_seconds=0.0, reason=reason))

    def drain(self) -> None:
        """Takes no more work, and hands back what has not started."""
        self.draining = True
        for attempt in list(self._waiting):
            self._give_back(attempt, worker_service_pb2.WANTED_STATE_RETURN)
        self._control.renew()

    def resume(self) -> None:
        """Takes work again."""
        self.draining = False
        self._control.renew()

    def return_all(self, reason: str) -> None:
        """Ends every attempt at once, so that its job runs again elsewhere."""
        for attempt in self._attempts.values():
            if attempt.phase == STARTED:
                attempt.returning = True
                self._note_ending(attempt)
                attempt.stop(StopRequest(kill=True, grace_seconds=0.0, reason=reason))

    def cancel_all(self) -> None:
        """Gives up on executors that did not obey a kill; what they still run goes with the process."""
        for attempt in self._attempts.values():
            if attempt.phase == STARTED and attempt.task is not None:
                attempt.task.cancel()

    def _hold(self, attempt: RunningAttempt) -> None:
        self._attempts[attempt.key] = attempt
        self._empty.clear()

    def _start(self, attempt: RunningAttempt) -> None:
        attempt.phase = STARTED
        attempt.start_nanos = self._links.wall_nanos()
        self._running += 1
        self._control.start(attempt)
        self._idle.clear()
        attempt.task = self._spawn(self._run(attempt))

    async def _run(self, attempt: RunningAttempt) -> None:
        try:
            outcome = await self._runs[attempt.kind](attempt)
        except Exception as error:
            logger.exception("the %s executor failed", attempt.kind)
            outcome = crashed(error)
        self._running -= 1
        if attempt.killed:
            self._ending -= 1
        attempt.conclude(outcome)
        self._deliver(attempt)
        while self._waiting and self._running < self._count:
            self._start(self._waiting.popleft())
        if not self._running:
            self._idle.set()

    def _note_ending(self, attempt: RunningAttempt) -> None:
        if attempt.phase == STARTED and not attempt.killed:
            self._ending += 1

    def _stop(self, attempt: RunningAttempt, wanted: worker_service_pb2.WantedAttempt) -> None:
        if wanted.wanted == worker_service_pb2.WANTED_STATE_RETURN:
            attempt.returning = True
        else:
            attempt.cancelling = True
        grace = CANCEL_GRACE_SECONDS_DEFAULT
        if wanted.HasField("cancel_grace"):
            grace = wanted.cancel_grace.seconds + wanted.cancel_grace.nanos / 1e9
        cause = worker_service_pb2.StopCause.Name(wanted.cause).removeprefix("STOP_CAUSE_").lower()
        attempt.stop(StopRequest(kill=False, grace_seconds=grace, reason=cause))

    def _give_back(self, attempt: RunningAttempt, wanted: worker_service_pb2.WantedState) -> None:
        cause = {
            worker_service_pb2.WANTED_STATE_CANCEL: event_pb2.RELEASE_CAUSE_CANCELLED,
            worker_service_pb2.WANTED_STATE_REVOKE: event_pb2.RELEASE_CAUSE_REVOKED,
        }.get(wanted, event_pb2.RELEASE_CAUSE_DRAINING)
        self._control.release(attempt.lease, cause, "it had not started")
        self._waiting.remove(attempt)
        self._forget(attempt)

    def _deliver(self, attempt: RunningAttempt) -> None:
        if attempt.outbox is not None and attempt.outbox.fault and not (attempt.output_lost or attempt.stale):
            logger.error("job %s: %s", attempt.lease.job_id, attempt.outbox.fault)
            self._note_ending(attempt)
            attempt.note_lost_output(attempt.outbox.fault)
        if attempt.finish is not None and not attempt.finish_said and attempt.delivered():
            attempt.finish_said = True
            self._control.finish(attempt.finish)

    def _rewind(self, attempt: RunningAttempt, entry: worker_service_pb2.HeldAttempt) -> None:
        attempt.committed_report_number = min(entry.committed_report_number, len(attempt.reports))
        if attempt.outbox is None or attempt.stale or entry.wanted == worker_service_pb2.WANTED_STATE_KILL:
            # Of a lease that is over, the server does not say what is committed.
            return
        attempt.outbox.rewind()
        if not attempt.outbox.acknowledge(entry.committed_producer_sequence):
            self.fence(attempt, "the server has lost output that it had committed")

    def _say_again(self, attempt: RunningAttempt) -> None:
        attempt.finish_said = False
        if attempt.phase == STARTED:
            self._control.start(attempt)
        attempt.said_report_number = attempt.committed_report_number
        if not attempt.stale:
            self._control.report(attempt)
        self._deliver(attempt)

    def _resend(self, attempt: RunningAttempt, committed: int) -> None:
        if attempt.stale or attempt.phase != FINISHED:
            return
        if attempt.outbox is not None and not attempt.outbox.acknowledge(committed):
            logger.error("the server has lost output of job %s that it had committed", attempt.lease.job_id)
            self._forget(attempt)
            return
        attempt.committed_report_number = 0
        self._links.output_waits(attempt)
        self._say_again(attempt)

    def _forget(self, attempt: RunningAttempt) -> None:
        del self._attempts[attempt.key]
        if attempt.outbox is not None:
            attempt.outbox.abandon()
        if not self._attempts:
            self._empty.set()


def crashed(error: Exception) -> Failed:
    """An executor let an exception escape."""
    text = "".join(traceback.format_exception(error))
    return Failed(
        outcome_pb2.Failure(
            failure_class=outcome_pb2.FAILURE_CLASS_CRASH,
            message=f"the executor failed: {type(error).__name__}: {error}"[:500],
            sign=type(error).__name__,
            detail=text.encode("utf-8", "replace")[-FAILURE_DETAIL_BYTES_MAX:].decode("utf-8", "ignore"),
        )
    )
