"""A store with schedules, driven from one look of the scheduler to the next; and what is true of every firing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from headrace.v1 import event_pb2, schedule_pb2
from headrace_server.core.firing import FiringOutcome
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.refusal import Refusal
from headrace_server.core.states import ENDED
from headrace_server.runtime.cycle import run_cycle
from headrace_server.store import rows
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger
from headrace_server.store.scheduling.schedules import (
    StoredFiring,
    StoredSchedule,
    create_schedule,
    get_schedule,
    update_schedule,
)
from headrace_server.store.settle import settle
from store.driving import NAMESPACE, Bench, handler_spec

ACTOR = "planner"
SUBMITTED, SKIPPED, BUFFERED = FiringOutcome.SUBMITTED, FiringOutcome.SKIPPED, FiringOutcome.BUFFERED
REPLACED, REFUSED, MISSED = FiringOutcome.REPLACED, FiringOutcome.REFUSED, FiringOutcome.MISSED


def at(text: str) -> Micros:
    """A time from its text; UTC unless it has an offset."""
    time = datetime.fromisoformat(text if text[-6] in "+-" else text + "+00:00")
    return Micros(int(time.timestamp()) * SECOND)


def utc(time: int) -> str:
    """The other way, to the second."""
    return (datetime(1970, 1, 1) + timedelta(microseconds=time)).isoformat(timespec="seconds")  # noqa: DTZ001  # UTC


def schedule(cron: str = "", *, every: float = 0, name: str = "s", **parts: Any) -> schedule_pb2.Schedule:
    """A schedule; ticks are kept apart from the fate of jobs, unless another overlap is named."""
    parts.setdefault("overlap", schedule_pb2.OVERLAP_ALLOW)
    parts.setdefault("spec", handler_spec())
    message = schedule_pb2.Schedule(name=name, **parts)
    if cron:
        message.cron = cron
    else:
        message.interval.CopyFrom(seconds(every))
    return message


def seconds(amount: float) -> Duration:
    return Duration(seconds=int(amount), nanos=int(amount % 1 * 1e9))


def begin(bench: Bench, time: str, message: schedule_pb2.Schedule) -> None:
    """Makes a schedule at a time."""
    move_to(bench, at(time))
    create(bench, message)


def create(bench: Bench, message: schedule_pb2.Schedule) -> StoredSchedule:
    """Makes a schedule that has to be accepted."""
    made = bench.write(create_schedule, NAMESPACE, message, ACTOR)
    assert isinstance(made, StoredSchedule), made
    return made


def change(bench: Bench, name: str = "s", **parts: Any) -> StoredSchedule:
    """Changes fields of a schedule."""

    def set_parts(message: schedule_pb2.Schedule, stored: StoredSchedule) -> None:
        message.MergeFrom(schedule_pb2.Schedule(**parts))

    changed = bench.write(update_schedule, NAMESPACE, name, "", set_parts, ACTOR)
    assert isinstance(changed, StoredSchedule), changed
    return changed


def taken(answer: StoredSchedule | Refusal) -> StoredSchedule:
    """An answer that has to be a schedule."""
    assert isinstance(answer, StoredSchedule), answer
    return answer


def move_to(bench: Bench, time: Micros) -> None:
    """Lets time pass while nothing runs."""
    assert time >= bench.clock.now()
    bench.clock.advance((time - bench.clock.now() + 0.4) / SECOND)
    assert bench.clock.now() == time


def run_until(bench: Bench, until: Micros) -> None:
    """Runs a cycle whenever one asked for it, up to a time."""
    while True:
        due = bench.cycle().next_due
        if due is None or due > until:
            break
        if due > bench.clock.now():
            move_to(bench, due)
    move_to(bench, until)


class _Killed(Exception):
    """The process ends here."""


def cycle_killed_before_commit(bench: Bench) -> int:
    """Runs a cycle whose server is killed right before the commit; returns how many firings it had written."""
    written = 0
    try:
        with bench.engine.writing() as connection:
            ledger = Ledger(connection, bench.clock.now(), Random(1))
            before = connection.rows("SELECT count(*) FROM firings")[0][0]
            run_cycle(ledger, (), ())
            settle(ledger)
            ledger.flush()
            written = connection.rows("SELECT count(*) FROM firings")[0][0] - before
            raise _Killed
    except _Killed:
        return written


def jobs(bench: Bench) -> list[Job]:
    """Every job, in the order of submits."""
    return bench.read(lambda connection: [rows.job_of(row) for row in connection.rows(f"{rows.SELECT} ORDER BY job")])


def made(bench: Bench) -> list[str]:
    """The nominal times of the jobs that ticks have made, in order of submits; `+` behind those made up for."""
    return [utc(job.origin.nominal_time) + "+" * job.origin.catch_up for job in jobs(bench) if job.origin.nominal_time]


def firings(bench: Bench, name: str = "s") -> list[StoredFiring]:
    """What became of the latest ticks, oldest first."""
    found = bench.read(get_schedule, NAMESPACE, name)
    assert found is not None
    return found[1][::-1]


def outcomes(bench: Bench, name: str = "s") -> list[FiringOutcome]:
    """The same, outcomes only."""
    return [firing.outcome for firing in firings(bench, name)]


def end(bench: Bench, job_id: JobId) -> None:
    """Has a job end that has not started."""
    bench.cancel(job_id)


@dataclass(frozen=True, slots=True)
class _Row:
    schedule: int
    nominal: int
    outcome: FiringOutcome
    job_id: bytes
    live: bool


def check_firings(connection: Connection) -> None:
    """I10, from the tables alone: one job a tick, one entry a tick, and what is marked as alive lives."""
    found = connection.rows("SELECT schedule, nominal, outcome, job_id, live FROM firings ORDER BY schedule, nominal")
    fired = [_Row(one, nominal, FiringOutcome(what), bytes(job), bool(live)) for one, nominal, what, job, live in found]
    every = {job.id: job for job in (rows.job_of(row) for row in connection.rows(rows.SELECT))}
    ticks = [(job.origin.schedule, job.origin.nominal_time) for job in every.values() if job.origin.nominal_time]
    assert len(ticks) == len(set(ticks)), "a second job of one tick"
    names: dict[int, str] = dict(connection.rows("SELECT schedule, name FROM schedules"))
    for one in fired:
        assert (one.outcome is FiringOutcome.SUBMITTED) == bool(one.job_id)
        if one.job_id:
            job = every[JobId(one.job_id)]
            if not job.origin.nominal_time:
                assert not one.live, "a job that was there already is in nobody's way"
                continue
            assert (job.origin.schedule, job.origin.nominal_time) == (names[one.schedule], one.nominal)
            assert one.live == (job.state not in ENDED)
            assert (
                event_pb2.Event.FromString(
                    connection.rows("SELECT body FROM events WHERE job = ? AND sequence = 1", (job.row,))[0][0]
                ).submitted.nominal_time.ToMicroseconds()
                == one.nominal
            )
    check_cursors(connection, fired)


def check_cursors(connection: Connection, fired: list[_Row]) -> None:
    """No entry is past its schedule's last tick, one waits at most, and none wakes while it is paused."""
    for row, last, buffered, paused, wake in connection.rows(
        "SELECT schedule, last, buffered, paused, wake FROM schedules"
    ):
        own = [one for one in fired if one.schedule == row]
        assert max((one.nominal for one in own), default=0) == last
        waiting = [one.nominal for one in own if one.outcome is FiringOutcome.BUFFERED]
        assert waiting == ([buffered] if buffered else [])
        assert not (paused and wake)


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on no plan finds a ready job; what it looked for is noted."""
    looked: list[str] = []

    def window(*_: object) -> list[object]:
        looked.append("a window")
        return []

    monkeypatch.setattr("headrace_server.store.queueing.ready.window", window)
    return looked
