"""C3, R5: nothing is granted too late, a job ends or is stopped for a timeout only when its time is over, and work puts
itself off only so often."""

from headrace.v1 import job_pb2, outcome_pb2
from headrace_server.core.limits import MAX_SNOOZES_DEFAULT
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh, Known, Logged
from simulation.clients import Told
from simulation.violation import hold

_OF_NOT_STARTED = frozenset({outcome_pb2.TIMEOUT_KIND_QUEUE, outcome_pb2.TIMEOUT_KIND_TOTAL})


class TimeChecker:
    """Judges every timeout by what the job was submitted with and by what its log says."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        for known, logged in fresh.events:
            if logged.kind == "attempt_assigned":
                _check_granted(known, logged)
            elif logged.kind == "attempt_failed":
                again = logged.event.attempt_failed.decision.action != job_pb2.RETRY_ACTION_FAIL
                late = again and 0 < known.row.end_by <= logged.event.time.ToMicroseconds()
                hold(not late, "C3", f"{known.id} is to be tried again after its total_timeout")
            elif logged.kind == "expired":
                self._check_expired(known, logged)
            elif logged.kind == "attempt_timed_out":
                self._check_timed_out(known, logged)
            elif logged.kind == "attempt_snoozed":
                snoozes = sum(one.kind == "attempt_snoozed" for one in known.log)
                policy = self._told.submits[known.number - 1].spec.retry_policy
                most = policy.max_snoozes if policy.HasField("max_snoozes") else MAX_SNOOZES_DEFAULT
                hold(snoozes <= most, "R5", f"{known.id} was put off {snoozes} times, {most} are allowed")

    def _check_expired(self, known: Known, logged: Logged) -> None:
        kind = logged.event.expired.failure.timeout
        hold(kind in _OF_NOT_STARTED, "C3", f"{known.id} expired by timeout {kind}")
        started = any(one.kind == "attempt_started" for one in known.log)
        hold(not started, "C3", f"{known.id} expired after it had started")
        row = known.row
        deadline = row.start_by if kind == outcome_pb2.TIMEOUT_KIND_QUEUE else row.end_by
        hold(0 < deadline <= logged.event.time.ToMicroseconds(), "C3", f"{known.id} expired before its time")

    def _check_timed_out(self, known: Known, logged: Logged) -> None:
        event = logged.event
        kind = event.attempt_timed_out.timeout
        now = event.time.ToMicroseconds()
        before = [one for one in known.log if one.event.sequence < event.sequence]
        stated = self._told.submits[known.number - 1].spec.timeouts
        if kind == outcome_pb2.TIMEOUT_KIND_TOTAL:
            hold(0 < known.row.end_by <= now, "C3", f"{known.id} was stopped before its total_timeout")
            return
        started = [one for one in before if one.kind == "attempt_started" and one.event.epoch == event.epoch]
        hold(len(started) == 1, "C3", f"{known.id} timed out in an attempt that has not started")
        if kind == outcome_pb2.TIMEOUT_KIND_RUN:
            since = started[0].event.time.ToMicroseconds()
            limit = stated.run_timeout.ToMicroseconds()
        else:
            hold(kind == outcome_pb2.TIMEOUT_KIND_SILENCE, "C3", f"{known.id} was stopped by timeout {kind}")
            since = before[-1].event.time.ToMicroseconds()
            limit = stated.silence_timeout.ToMicroseconds()
        hold(0 < limit <= now - since, "C3", f"{known.id} was stopped after {now - since} us, {limit} are allowed")


def _check_granted(known: Known, logged: Logged) -> None:
    row, event = known.row, logged.event
    now = event.time.ToMicroseconds()
    hold(not 0 < row.end_by <= now, "C3", f"{known.id} is granted after its total_timeout")
    if not any(one.kind == "attempt_started" and one.event.sequence < event.sequence for one in known.log):
        hold(not 0 < row.start_by <= now, "C3", f"{known.id} is granted after its queue_timeout")
