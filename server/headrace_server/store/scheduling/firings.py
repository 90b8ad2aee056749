"""What schedules do at their ticks, inside the scheduler's cycle (K1, K3, K4).

The row of a tick and its job are written together, and no tick has two rows: exactly one job for each, wherever the
server was killed.
"""

import logging
from dataclasses import replace

from headrace.v1 import schedule_pb2
from headrace_server.core.firing import FiringOutcome, Overlap, Step, Tick, decide_overlap, plan_firings
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.job import CancelCause, Job, Origin
from headrace_server.core.recurrence import BadTiming
from headrace_server.core.refusal import Refusal
from headrace_server.core.states import ENDED
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.scheduling.schedules import (
    SELECT,
    ScheduleRules,
    StoredSchedule,
    job_of,
    paused,
    rules_of,
    schedule_of,
    store_schedule,
    store_ticks,
    woken,
)

FIRINGS_IN_CYCLE_COUNT_MAX = 100
"""What is left is due in the next cycle. A firing costs about a millisecond, and all of a cycle are one commit."""
KEPT_FIRINGS_COUNT = 100
"""Of each schedule; older rows are of ticks before its last one, which can't come again."""
TRIMMED_COUNT_MAX = 1000
OTHERS_COUNT_MAX = 1000
"""Live jobs of earlier ticks that one tick looks at."""

_COLUMNS = ("schedule", "nominal", "time", "outcome", "job_id", "live", "catch_up", "message")

log = logging.getLogger(__name__)


def fire_due(ledger: Ledger) -> None:
    """Deals with the ticks whose time has come, as many as fit into one cycle."""
    left = FIRINGS_IN_CYCLE_COUNT_MAX
    due = ledger.look_up(f"{SELECT} WHERE wake > 0 AND wake <= ? ORDER BY wake, schedule LIMIT ?", (ledger.now, left))
    for row in due:
        if left <= 0:
            break
        left -= max(_fire_schedule(ledger, schedule_of(row), left), 1)


def next_time(ledger: Ledger) -> Micros | None:
    """When the next schedule has to be looked at."""
    found = ledger.look_up("SELECT min(wake) FROM schedules WHERE wake > 0")[0][0]
    return None if found is None else Micros(found)


def job_ended(ledger: Ledger, job: Job) -> None:
    """Takes note that a job of a tick has ended, and has the tick that waits for it looked at."""
    name = (job.namespace, job.origin.schedule)
    found = ledger.look_up("SELECT schedule, buffered, paused FROM schedules WHERE namespace = ? AND name = ?", name)
    if not found or not job.origin.nominal_time:
        return
    row, buffered, is_paused = found[0]
    ledger.run(
        "UPDATE firings SET live = 0 WHERE schedule = ? AND nominal = ? AND job_id = ?",
        (row, job.origin.nominal_time, job.id),
    )
    if buffered and not is_paused:
        ledger.run("UPDATE schedules SET wake = ? WHERE schedule = ?", (ledger.now, row))
        ledger.effects.next_due = min(ledger.now, ledger.effects.next_due or ledger.now)


def _fire_schedule(ledger: Ledger, schedule: StoredSchedule, count_max: int) -> int:
    """Deals with the ticks of one schedule; returns how many."""
    message = schedule_pb2.Schedule.FromString(schedule.body)
    try:
        rules = rules_of(message, schedule.namespace, schedule.created)
    except BadTiming as error:
        log.error("schedule %s of namespace %s is paused: %s", schedule.name, schedule.namespace, error)
        reason = f"its timing can't be read any more: {error}"
        store_schedule(ledger, paused(schedule, ledger.now, "", reason))
        return 1
    firing = _Firing(ledger, schedule, message, rules)
    firing.release_buffered()
    plan = plan_firings(
        rules.timing,
        schedule.cursor,
        ledger.now,
        schedule.missed_until,
        rules.catch_up,
        rules.fire_time,
        rules.jitter_micros,
        count_max,
    )
    if plan.dropped is not None:
        firing.drop(plan.dropped)
    for tick in plan.ticks:
        firing.deal_with(tick)
    store_ticks(ledger, woken(ledger, firing.schedule, rules))
    _trim(ledger, firing.schedule)
    return len(plan.ticks)


class _Firing:
    """One schedule while its ticks are dealt with."""

    def __init__(
        self, ledger: Ledger, schedule: StoredSchedule, message: schedule_pb2.Schedule, rules: ScheduleRules
    ) -> None:
        self._ledger = ledger
        self._message = message
        self._rules = rules
        self.schedule = schedule
        """As it is with what was done so far."""
        self._jobs: list[Job] | None = None

    def release_buffered(self) -> None:
        """Makes the job of the tick that waited, once none of an earlier tick lives."""
        nominal = self.schedule.buffered
        if not nominal or self._others():
            return
        self.schedule = replace(self.schedule, buffered=Micros(0))
        found = self._ledger.look_up(
            "SELECT catch_up FROM firings WHERE schedule = ? AND nominal = ?", (self.schedule.row, nominal)
        )
        self._submit(Tick(nominal, catch_up=bool(found[0][0])))

    def drop(self, nominal: Micros) -> None:
        """Takes note that ticks were missed which nobody makes up for."""
        why = "missed, as were those before it that have no entry; the catch-up policy drops them"
        self._write(Tick(nominal, catch_up=False), FiringOutcome.MISSED, why)
        self.schedule = replace(self.schedule, last=nominal)

    def deal_with(self, tick: Tick) -> None:
        """Makes the tick's job, or not."""
        others = self._others() if self._rules.overlap is not Overlap.ALLOW else []
        match decide_overlap(self._rules.overlap, alive=bool(others)):
            case Step.SUBMIT:
                self._submit(tick)
            case Step.SKIP:
                self._write(tick, FiringOutcome.SKIPPED, _has_not_ended(others))
            case Step.BUFFER:
                self._buffer(tick, others)
            case Step.CANCEL_THEN_SUBMIT:
                self._cancel(others)
                self._submit(tick)
        self.schedule = replace(self.schedule, last=tick.nominal)

    def _others(self) -> list[Job]:
        """The jobs of earlier ticks that have not ended."""
        jobs = self._live_jobs() if self._jobs is None else self._jobs
        self._jobs = [job for job in jobs if job.state not in ENDED]
        return self._jobs

    def _live_jobs(self) -> list[Job]:
        found = self._ledger.look_up(
            "SELECT job_id FROM firings WHERE schedule = ? AND live > 0 ORDER BY nominal DESC LIMIT ?",
            (self.schedule.row, OTHERS_COUNT_MAX),
        )
        return list(self._ledger.jobs(JobId(bytes(row[0])) for row in found).values())

    def _submit(self, tick: Tick) -> None:
        new = job_of(self._message, self.schedule.namespace, self.schedule.actor)
        origin = Origin(schedule=self.schedule.name, nominal_time=tick.nominal, catch_up=tick.catch_up)
        answer = submit_each(self._ledger, [replace(new, origin=origin)])[0]
        if isinstance(answer, Refusal):
            self._write(tick, FiringOutcome.REFUSED, answer.message)
        elif answer.deduplicated:
            # A unique key was taken, so the job stands for the tick, but is none of the schedule's own.
            why = "its unique key belonged to a job that was there already"
            self._write(tick, FiringOutcome.SUBMITTED, why, answer.job.id)
        else:
            self._write(tick, FiringOutcome.SUBMITTED, "", answer.job.id, live=True)
            if self._jobs is not None:
                self._jobs.append(answer.job)

    def _buffer(self, tick: Tick, others: list[Job]) -> None:
        if self.schedule.buffered:
            why = "a later tick took its place while it waited"
            self._ledger.run(
                "UPDATE firings SET outcome = ?, message = ? WHERE schedule = ? AND nominal = ?",
                (int(FiringOutcome.REPLACED), why, self.schedule.row, self.schedule.buffered),
            )
        self._write(tick, FiringOutcome.BUFFERED, _has_not_ended(others))
        self.schedule = replace(self.schedule, buffered=tick.nominal)

    def _cancel(self, others: list[Job]) -> None:
        reason = f"a newer firing of schedule {self.schedule.name}"
        for job in others:
            cancel(self._ledger, job.namespace, job.id, reason, self.schedule.actor, CancelCause.OVERLAP)

    def _write(
        self, tick: Tick, outcome: FiringOutcome, message: str, job_id: JobId = JobId(b""), *, live: bool = False
    ) -> None:
        # The row of a tick that was buffered is there already; every other is new, and a second one is a mistake.
        waited = tick.nominal <= self.schedule.last
        values = (
            self.schedule.row,
            tick.nominal,
            self._ledger.now,
            int(outcome),
            job_id,
            int(live),
            int(tick.catch_up),
            message,
        )
        changes = "time = excluded.time, outcome = excluded.outcome, job_id = excluded.job_id, live = excluded.live"
        suffix = f"ON CONFLICT (schedule, nominal) DO UPDATE SET {changes}, message = excluded.message"
        self._ledger.insert("firings", _COLUMNS, [values], suffix if waited else "")


def _has_not_ended(others: list[Job]) -> str:
    return f"job {job_id_text(others[-1].id)} of an earlier tick has not ended"


def _trim(ledger: Ledger, schedule: StoredSchedule) -> None:
    """Removes old rows, but none of a tick that waits or whose job lives."""
    kept = "SELECT nominal FROM firings WHERE schedule = ? ORDER BY nominal DESC LIMIT ?"
    ledger.run(
        "DELETE FROM firings WHERE schedule = ? AND nominal IN ("
        " SELECT nominal FROM firings WHERE schedule = ? AND live = 0 AND nominal <> ?"
        f" AND nominal < (SELECT min(nominal) FROM ({kept}) AS kept) ORDER BY nominal LIMIT ?)",
        (schedule.row, schedule.row, schedule.buffered, schedule.row, KEPT_FIRINGS_COUNT, TRIMMED_COUNT_MAX),
    )
