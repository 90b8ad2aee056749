"""Schedules in the store: exactly the jobs that their rules name, whatever happens in between (K1–K3)."""

from collections.abc import Iterator
from typing import Any

import pytest

from headrace.v1 import schedule_pb2
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.states import JobState
from headrace_server.store.scheduling.firings import FIRINGS_IN_CYCLE_COUNT_MAX, KEPT_FIRINGS_COUNT
from headrace_server.store.scheduling.schedules import (
    pause_schedule,
    resume_schedule,
)
from store.driving import NAMESPACE, Bench, OpenStore, handler_spec, offer
from store.scheduling import (
    ACTOR,
    MISSED,
    SUBMITTED,
    at,
    begin,
    change,
    check_firings,
    create,
    cycle_killed_before_commit,
    end,
    firings,
    jobs,
    made,
    move_to,
    outcomes,
    run_until,
    schedule,
    seconds,
    taken,
    utc,
)


@pytest.fixture(autouse=True)
def _checked(reopen: OpenStore) -> Iterator[None]:
    """Every store that a test leaves behind holds I10."""
    yield
    reopen().read(check_firings)


def test_k1_each_tick_makes_one_job_at_its_time(bench: Bench) -> None:
    begin(bench, "2027-01-01T09:30:00", schedule("0 * * * *"))
    run_until(bench, at("2027-01-01T12:00:00"))
    assert made(bench) == ["2027-01-01T10:00:00", "2027-01-01T11:00:00", "2027-01-01T12:00:00"]
    assert [utc(job.created) for job in jobs(bench)] == made(bench)
    (first, *_) = jobs(bench)
    assert (first.owner, first.state, first.origin.schedule) == (ACTOR, JobState.QUEUED, "s")
    assert bench.events(first.id)[0].submitted.actor == ACTOR


def test_k1_six_fields_and_an_interval_with_a_fraction(bench: Bench) -> None:
    begin(bench, "2027-01-01T00:00:00", schedule("*/20 * * * * *", name="cron"))
    create(bench, schedule(every=25.5, name="interval"))
    run_until(bench, at("2027-01-01T00:01:00"))
    assert made(bench) == [
        "2027-01-01T00:00:20",
        "2027-01-01T00:00:25",
        "2027-01-01T00:00:40",
        "2027-01-01T00:00:51",
        "2027-01-01T00:01:00",
    ]


def test_k1_a_cycle_asks_for_the_next_tick(bench: Bench) -> None:
    begin(bench, "2027-01-01T09:30:00", schedule("0 * * * *"))
    assert bench.effects[-1].next_due == at("2027-01-01T10:00:00")
    assert bench.cycle().next_due == at("2027-01-01T10:00:00")
    assert made(bench) == []


def test_k1_the_job_of_a_tick_is_granted_in_the_same_cycle(bench: Bench) -> None:
    begin(bench, "2027-01-01T09:30:00", schedule("0 * * * *"))
    move_to(bench, at("2027-01-01T10:00:00"))
    (granted,) = bench.cycle(offer()).granted
    assert [job.id for job in jobs(bench)] == [granted.lease.job_id]


@pytest.mark.parametrize("kill", ["before", "after"])
def test_k1_a_server_killed_around_the_commit_makes_one_job(reopen: OpenStore, kill: str) -> None:
    bench = reopen()
    begin(bench, "2027-01-01T09:30:00", schedule("0 * * * *"))
    move_to(bench, at("2027-01-01T10:00:00"))
    if kill == "after":
        bench.cycle()
    else:
        assert cycle_killed_before_commit(bench) == 1
    bench = reopen()
    bench.cycle()
    bench.cycle()
    assert made(bench) == ["2027-01-01T10:00:00"]


DST = [
    pytest.param(
        "30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00",
        ["2027-03-27T01:30:00", "2027-03-28T01:00:00", "2027-03-29T00:30:00"], id="berlin-forward-fixed",
    ),
    pytest.param(
        "30 2 * * *", "Europe/Berlin", "2027-10-30T00:00:00",
        ["2027-10-30T00:30:00", "2027-10-31T00:30:00", "2027-11-01T01:30:00"], id="berlin-back-fixed",
    ),
    pytest.param(
        "30 2 * * *", "America/New_York", "2027-03-13T00:00:00",
        ["2027-03-13T07:30:00", "2027-03-14T07:00:00", "2027-03-15T06:30:00"], id="new-york-forward-fixed",
    ),
    pytest.param(
        "30 1 * * *", "America/New_York", "2027-11-06T00:00:00",
        ["2027-11-06T05:30:00", "2027-11-07T05:30:00", "2027-11-08T06:30:00"], id="new-york-back-fixed",
    ),
    pytest.param(
        "*/30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00",
        ["2027-03-27T01:00:00", "2027-03-27T01:30:00", "2027-03-29T00:00:00", "2027-03-29T00:30:00"],
        id="berlin-forward-real",
    ),
    pytest.param(
        "0 30 2 * * *", "Europe/Berlin", "2027-10-30T00:00:00",
        ["2027-10-30T00:30:00", "2027-10-31T00:30:00", "2027-10-31T01:30:00", "2027-11-01T01:30:00"],
        id="berlin-back-six-fields",
    ),
    pytest.param(
        "0 30 2 * * *", "America/New_York", "2027-03-13T00:00:00",
        ["2027-03-13T07:30:00", "2027-03-15T06:30:00"], id="new-york-forward-six-fields",
    ),
    pytest.param(
        "*/30 1 * * *", "America/New_York", "2027-11-07T00:00:00",
        ["2027-11-07T05:00:00", "2027-11-07T05:30:00", "2027-11-07T06:00:00", "2027-11-07T06:30:00",
         "2027-11-08T06:00:00", "2027-11-08T06:30:00", "2027-11-09T06:00:00", "2027-11-09T06:30:00"],
        id="new-york-back-real",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("cron", "zone", "start", "expected"), DST)
def test_k2_jobs_across_a_change(bench: Bench, cron: str, zone: str, start: str, expected: list[str]) -> None:
    begin(bench, start, schedule(cron, time_zone=zone))
    run_until(bench, Micros(at(start) + (3 * 86_400 - 1) * SECOND))
    assert made(bench) == expected


STOPS = [
    pytest.param(
        "Europe/Berlin", "30 2 * * *", "2027-03-25T00:00:00",
        ["2027-03-25T01:30:00", "2027-03-28T01:00:00+", "2027-03-29T00:30:00", "2027-03-29T15:00:00"],
        id="berlin-forward",
    ),
    pytest.param(
        "Europe/Berlin", "30 2 * * *", "2027-10-28T00:00:00",
        ["2027-10-28T00:30:00", "2027-10-31T00:30:00+", "2027-11-01T01:30:00", "2027-11-01T16:00:00"],
        id="berlin-back",
    ),
    pytest.param(
        "America/New_York", "30 2 * * *", "2027-03-11T00:00:00",
        ["2027-03-11T07:30:00", "2027-03-14T07:00:00+", "2027-03-15T06:30:00", "2027-03-15T21:00:00"],
        id="new-york-forward",
    ),
    pytest.param(
        "America/New_York", "30 1 * * *", "2027-11-04T00:00:00",
        ["2027-11-04T05:30:00", "2027-11-07T05:30:00+", "2027-11-08T06:30:00", "2027-11-08T22:00:00"],
        id="new-york-back",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "cron", "start", "expected"), STOPS)
def test_k2_k3_a_stop_of_three_days_over_a_change_and_an_edit(
    reopen: OpenStore, zone: str, cron: str, start: str, expected: list[str]
) -> None:
    """One tick before the stop, the last missed one made up for, one after it, and one of the new timing."""
    bench = reopen()
    begin(bench, start, schedule(cron, time_zone=zone))
    run_until(bench, at(expected[0]))
    move_to(bench, Micros(at(start) + (3 * 24 + 12) * 3600 * SECOND))
    bench = reopen()
    run_until(bench, at(expected[2]))
    change(bench, cron="0 17 * * *")
    run_until(bench, Micros(at(expected[3]) + 3600 * SECOND))
    assert made(bench) == expected


def stopped(reopen: OpenStore, policy: schedule_pb2.CatchUp, **parts: Any) -> Bench:
    """An hourly schedule whose server stood still for three days and 90 s."""
    bench = reopen()
    begin(bench, "2027-01-01T00:00:00", schedule("0 * * * *", catch_up=policy, **parts))
    run_until(bench, at("2027-01-01T01:00:00"))
    move_to(bench, at("2027-01-04T01:01:30"))
    bench = reopen()
    bench.cycle()
    return bench


def test_k3_none_drops_what_was_missed(reopen: OpenStore) -> None:
    bench = stopped(reopen, schedule_pb2.CatchUp(policy=schedule_pb2.CATCH_UP_POLICY_NONE))
    assert made(bench) == ["2027-01-01T01:00:00"]
    assert [(utc(firing.nominal), firing.outcome) for firing in firings(bench)] == [
        ("2027-01-01T01:00:00", SUBMITTED),
        ("2027-01-04T01:00:00", MISSED),
    ]
    run_until(bench, at("2027-01-04T02:00:00"))
    assert made(bench) == ["2027-01-01T01:00:00", "2027-01-04T02:00:00"]


def test_k3_last_makes_up_for_the_last_one(reopen: OpenStore) -> None:
    bench = stopped(reopen, schedule_pb2.CatchUp())
    assert made(bench) == ["2027-01-01T01:00:00", "2027-01-04T01:00:00+"]
    assert outcomes(bench) == [SUBMITTED, MISSED, SUBMITTED]
    bench.cycle()
    assert made(bench) == ["2027-01-01T01:00:00", "2027-01-04T01:00:00+"]
    event = bench.events(jobs(bench)[1].id)[0].submitted
    assert (event.schedule_name, event.catch_up) == ("s", True)


def test_k3_all_makes_up_within_window_and_cap(reopen: OpenStore) -> None:
    policy = schedule_pb2.CatchUp(policy=schedule_pb2.CATCH_UP_POLICY_ALL, window=seconds(5 * 3600), max_count=10)
    bench = stopped(reopen, policy)
    within = [f"2027-01-{day:02}T{hour:02}:00:00+" for day, hour in [(3, 21), (3, 22), (3, 23), (4, 0), (4, 1)]]
    assert made(bench) == ["2027-01-01T01:00:00", *within]


def test_k3_all_is_capped_to_the_latest(reopen: OpenStore) -> None:
    policy = schedule_pb2.CatchUp(policy=schedule_pb2.CATCH_UP_POLICY_ALL, max_count=2)
    bench = stopped(reopen, policy)
    assert made(bench) == ["2027-01-01T01:00:00", "2027-01-04T00:00:00+", "2027-01-04T01:00:00+"]


def test_k3_many_missed_ticks_are_made_up_for_in_bounded_cycles(reopen: OpenStore) -> None:
    bench = reopen()
    policy = schedule_pb2.CatchUp(policy=schedule_pb2.CATCH_UP_POLICY_ALL, max_count=1000)
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", catch_up=policy))
    move_to(bench, at("2027-01-01T10:00:30"))
    counts = []
    while bench.cycle().next_due == bench.clock.now():
        counts.append(len(jobs(bench)))
    assert counts == list(range(FIRINGS_IN_CYCLE_COUNT_MAX, 600, FIRINGS_IN_CYCLE_COUNT_MAX))
    assert made(bench) == [utc(at("2027-01-01T00:00:00") + minute * 60 * SECOND) + "+" for minute in range(1, 601)]
    assert len(bench.read(lambda connection: connection.rows("SELECT 1 FROM firings"))) == 600
    for job in jobs(bench):
        end(bench, job.id)
    run_until(bench, at("2027-01-01T10:01:00"))
    assert len(bench.read(lambda connection: connection.rows("SELECT 1 FROM firings"))) == KEPT_FIRINGS_COUNT


def test_k3_the_end_of_a_pause_is_a_miss(bench: Bench) -> None:
    begin(bench, "2027-01-01T00:00:00", schedule("0 * * * *"))
    run_until(bench, at("2027-01-01T01:30:00"))
    paused = taken(bench.write(pause_schedule, NAMESPACE, "s", "me", "repairs"))
    assert (paused.pause_actor, paused.pause_reason, paused.paused) == ("me", "repairs", bench.clock.now())
    assert bench.cycle().next_due is None
    move_to(bench, at("2027-01-01T04:00:01"))
    bench.cycle()
    assert made(bench) == ["2027-01-01T01:00:00"]
    again = taken(bench.write(pause_schedule, NAMESPACE, "s", "you", "more repairs"))
    assert (again.pause_actor, again.pause_reason) == ("you", "more repairs")
    resumed = taken(bench.write(resume_schedule, NAMESPACE, "s", "me"))
    assert resumed.paused == 0
    assert taken(bench.write(resume_schedule, NAMESPACE, "s", "me")) == resumed
    run_until(bench, at("2027-01-01T05:00:00"))
    assert made(bench) == ["2027-01-01T01:00:00", "2027-01-01T04:00:00+", "2027-01-01T05:00:00"]


def test_k3_no_ticks_before_creation(bench: Bench) -> None:
    policy = schedule_pb2.CatchUp(policy=schedule_pb2.CATCH_UP_POLICY_ALL)
    begin(bench, "2027-01-01T10:00:00", schedule("0 * * * *", catch_up=policy))
    run_until(bench, at("2027-01-01T10:59:59"))
    assert made(bench) == []


def test_k3_an_edit_invents_no_ticks(bench: Bench) -> None:
    policy = schedule_pb2.CatchUp(policy=schedule_pb2.CATCH_UP_POLICY_ALL)
    begin(bench, "2027-01-01T00:00:00", schedule(every=3600, catch_up=policy))
    run_until(bench, at("2027-01-01T02:30:00"))
    change(bench, interval=seconds(60))
    run_until(bench, at("2027-01-01T02:32:00"))
    change(bench, cron="0 */2 * * *")
    run_until(bench, at("2027-01-01T04:00:00"))
    change(bench, cron="0 * * * *")
    run_until(bench, at("2027-01-01T05:00:00"))
    assert made(bench) == [f"2027-01-01T{time}:00" for time in ("01:00", "02:00", "02:31", "02:32", "04:00", "05:00")]


def test_k3_an_edit_of_something_else_keeps_what_is_due(reopen: OpenStore) -> None:
    bench = reopen()
    begin(bench, "2027-01-01T00:30:00", schedule("0 * * * *"))
    move_to(bench, at("2027-01-01T01:00:05"))
    bench = reopen()
    change(bench, spec=handler_spec("other"), time_zone="UTC")
    bench.cycle()
    assert made(bench) == ["2027-01-01T01:00:00"]
    assert bench.effects[-1].queued
