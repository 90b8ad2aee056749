"""I10, K1, K3, K4: each schedule and nominal time has at most one job and one entry, on the grid of its ticks; what is
made up for and what runs beside each other is what its policies say."""

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass

from headrace.v1 import schedule_pb2
from headrace_server.core.firing import CATCH_UP_COUNT_DEFAULT, FiringOutcome
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.states import ENDED, JobState
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh, Known
from simulation.violation import hold

_ENTRIES_COUNT = 90
"""Of the latest ticks: older entries may have been removed."""
LATE_MICROS = 5_000_000
"""How late a schedule that everybody has time for may be looked at."""


@dataclass(frozen=True, slots=True)
class _Schedule:
    """A row of the table."""

    row: int
    name: str
    created: int
    updated: int
    rules: schedule_pb2.Schedule
    started: int
    last: int
    buffered: int
    paused: int
    wake: int

    @property
    def interval(self) -> int:
        return self.rules.interval.ToMicroseconds()

    @property
    def cursor(self) -> int:
        return max(self.started, self.last)


class ScheduleChecker:
    """Reads the schedules, the entries of their ticks, and every job that one made."""

    def __init__(self, deletable: Set[str]) -> None:
        """`deletable` are the jobs that somebody asked to have deleted."""
        self.names: list[str] = []
        """Schedules that somebody asked to have made; each name is used once."""
        self._deletable = deletable
        self._made: Counter[tuple[str, Micros]] = Counter()
        self._known: dict[str, _Schedule] = {}
        self._edited: dict[str, int] = {}
        """When a schedule came to have the interval that it has."""

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        if not self.names:
            return
        before, now = self._known, {one.name: one for one in _read(connection)}
        self._known = {**before, **now}
        for schedule in now.values():
            earlier = before.get(schedule.name)
            cursor = schedule.started if earlier is None else earlier.cursor
            if earlier is not None and earlier.interval != schedule.interval:
                self._edited[schedule.name] = schedule.updated
            elif schedule.last > cursor:
                self._check_ticks(chronicle, connection, schedule, cursor)
        for known, logged in fresh.events:
            if logged.kind == "submitted" and known.row.origin.nominal_time:
                self._check_made(chronicle, known, before)

    def check_rest(self, chronicle: Chronicle, connection: Connection, now: Micros) -> None:
        """When everybody has had the time to do what is due."""
        for schedule in _read(connection):
            if schedule.paused:
                continue
            late = now - schedule.wake
            hold(schedule.wake and late < LATE_MICROS, "I4", f"{schedule.name} is looked at {late} us too late")
            waits = schedule.buffered and not _live(chronicle, schedule.name)
            hold(not waits, "I4", f"a tick of {schedule.name} waits for nobody")

    def _check_ticks(self, chronicle: Chronicle, connection: Connection, schedule: _Schedule, cursor: int) -> None:
        """Every tick that is done with has its entry, or was dropped by one that says so."""
        entries = {
            nominal: (FiringOutcome(outcome), bytes(job_id), catch_up)
            for nominal, outcome, job_id, catch_up in connection.rows(
                "SELECT nominal, outcome, job_id, catch_up FROM firings WHERE schedule = ? AND nominal > ?",
                (schedule.row, cursor),
            )
        }
        missed = max((one for one, entry in entries.items() if entry[0] is FiringOutcome.MISSED), default=0)
        first = cursor + schedule.interval - (cursor - schedule.created) % schedule.interval
        ticks = range(first, schedule.last + 1, schedule.interval)[-_ENTRIES_COUNT:]
        for tick in ticks:
            hold(tick in entries or tick < missed, "K1", f"tick {tick} of {schedule.name} is done with, without entry")
        made_up = sum(catch_up for _, _, catch_up in entries.values())
        policy = schedule.rules.catch_up.policy
        most = schedule.rules.catch_up.max_count or CATCH_UP_COUNT_DEFAULT
        if policy != schedule_pb2.CATCH_UP_POLICY_ALL:
            most = int(policy != schedule_pb2.CATCH_UP_POLICY_NONE)
        hold(made_up <= most, "K3", f"{schedule.name} makes up for {made_up} ticks, {most} are allowed")
        for nominal, (outcome, job_id, _) in entries.items():
            text = job_id_text(JobId(job_id)) if job_id else ""
            there = text in chronicle.jobs or text in self._deletable
            hold(there or outcome is not FiringOutcome.SUBMITTED, "K1", f"tick {nominal} has no job {text!r}")

    def _check_made(self, chronicle: Chronicle, known: Known, before: dict[str, _Schedule]) -> None:
        origin = known.row.origin
        name = (origin.schedule, origin.nominal_time)
        self._made[name] += 1
        hold(self._made[name] == 1, "I10", f"{self._made[name]} jobs for tick {name}")
        schedule = self._known[origin.schedule]
        since = origin.nominal_time - schedule.created
        hold(since > 0, "K3", f"{known.id} stands for a tick before its schedule was there")
        if origin.schedule not in before or before[origin.schedule].rules != schedule.rules:
            return
        waited = origin.nominal_time == before[origin.schedule].buffered
        on_grid = waited or since % schedule.interval == 0
        hold(on_grid, "K1", f"{known.id} stands for {since} us after the creation")
        invented = not waited and origin.nominal_time <= self._edited.get(origin.schedule, 0)
        hold(not invented, "K3", f"{known.id} stands for a tick from before an edit")
        overlap = schedule.rules.overlap
        others = [one for one in _live(chronicle, origin.schedule) if one.row.origin.nominal_time < origin.nominal_time]
        if overlap == schedule_pb2.OVERLAP_CANCEL_OTHER:
            others = [one for one in others if one.row.state is not JobState.CANCELLING]
        alone = overlap == schedule_pb2.OVERLAP_ALLOW or not others
        hold(alone, "K4", f"{known.id} runs beside {[one.id for one in others]}, overlap is {overlap}")


def _live(chronicle: Chronicle, name: str) -> list[Known]:
    """Jobs of ticks of a schedule that have not ended."""
    return [
        one
        for one in chronicle.jobs.values()
        if one.row.origin.schedule == name and one.row.origin.nominal_time and one.row.state not in ENDED
    ]


def _read(connection: Connection) -> list[_Schedule]:
    return [
        _Schedule(row, name, created, updated, schedule_pb2.Schedule.FromString(body), *times)
        for row, name, created, updated, body, *times in connection.rows(
            "SELECT schedule, name, created, updated, body, started, last, buffered, paused, wake FROM schedules"
        )
    ]
