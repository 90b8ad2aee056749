"""Schedules as a resource, overlapping jobs, jitter, and one job a tick whatever happens (K4, S5, S6, I10)."""

from collections.abc import Iterator
from random import Random

import pytest

from headrace.v1 import job_pb2, queue_pb2, schedule_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.firing import jitter_of
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.job import CancelCause
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED, JobState
from headrace_server.store.jobs.new_job import new_job as plain_job
from headrace_server.store.jobs.submit import Accepted
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.scheduling.schedules import (
    StoredSchedule,
    create_schedule,
    delete_schedule,
    get_schedule,
    list_schedules,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
    update_schedule,
)
from store.driving import NAMESPACE, Bench, OpenStore, failure, handler_spec, new_job
from store.scheduling import (
    ACTOR,
    BUFFERED,
    REFUSED,
    REPLACED,
    SKIPPED,
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
)


@pytest.fixture(autouse=True)
def _checked(reopen: OpenStore) -> Iterator[None]:
    """Every store that a test leaves behind holds I10."""
    yield
    reopen().read(check_firings)


def overlapping(bench: Bench, overlap: schedule_pb2.Overlap) -> None:
    """A schedule of every minute whose first job lives on while two more ticks pass."""
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", overlap=overlap))
    run_until(bench, at("2027-01-01T00:03:00"))


def test_k4_skip_makes_no_job_while_one_lives(bench: Bench) -> None:
    overlapping(bench, schedule_pb2.OVERLAP_UNSPECIFIED)
    assert made(bench) == ["2027-01-01T00:01:00"]
    assert outcomes(bench) == [SUBMITTED, SKIPPED, SKIPPED]
    assert "has not ended" in firings(bench)[-1].message
    end(bench, jobs(bench)[0].id)
    bench.cycle()
    assert made(bench) == ["2027-01-01T00:01:00"]
    run_until(bench, at("2027-01-01T00:04:00"))
    assert made(bench) == ["2027-01-01T00:01:00", "2027-01-01T00:04:00"]


def test_k4_allow_runs_both(bench: Bench) -> None:
    overlapping(bench, schedule_pb2.OVERLAP_ALLOW)
    assert outcomes(bench) == [SUBMITTED] * 3
    assert [job.state for job in jobs(bench)] == [JobState.QUEUED] * 3


def test_k4_buffer_one_waits_for_the_end_and_the_latest_wins(bench: Bench) -> None:
    overlapping(bench, schedule_pb2.OVERLAP_BUFFER_ONE)
    assert made(bench) == ["2027-01-01T00:01:00"]
    assert outcomes(bench) == [SUBMITTED, REPLACED, BUFFERED]
    assert firings(bench)[1].message == "a later tick took its place while it waited"
    move_to(bench, at("2027-01-01T00:03:20"))
    end(bench, jobs(bench)[0].id)
    assert bench.effects[-1].next_due == bench.clock.now()
    bench.cycle()
    assert made(bench) == ["2027-01-01T00:01:00", "2027-01-01T00:03:00"]
    assert outcomes(bench) == [SUBMITTED, REPLACED, SUBMITTED]
    assert (firings(bench)[-1].time, firings(bench)[-1].message) == (at("2027-01-01T00:03:20"), "")
    run_until(bench, at("2027-01-01T00:04:00"))
    assert outcomes(bench) == [SUBMITTED, REPLACED, SUBMITTED, BUFFERED]


def test_k4_a_buffered_tick_outlives_a_restart_and_a_pause(reopen: OpenStore) -> None:
    bench = reopen()
    overlapping(bench, schedule_pb2.OVERLAP_BUFFER_ONE)
    bench.write(pause_schedule, NAMESPACE, "s", "me", "")
    end(bench, jobs(bench)[0].id)
    bench = reopen()
    bench.cycle()
    assert made(bench) == ["2027-01-01T00:01:00"]
    bench.write(resume_schedule, NAMESPACE, "s", "me")
    bench.cycle()
    assert made(bench) == ["2027-01-01T00:01:00", "2027-01-01T00:03:00"]


def missed(bench: Bench, overlap: schedule_pb2.Overlap) -> None:
    """A schedule of every minute that makes up for the two ticks that nobody looked at, both in one cycle."""
    everything = schedule_pb2.CatchUp(policy=schedule_pb2.CATCH_UP_POLICY_ALL)
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", overlap=overlap, catch_up=everything))
    move_to(bench, at("2027-01-01T00:02:30"))
    bench.cycle()
    assert made(bench) == ["2027-01-01T00:01:00+"]


def test_k4_ticks_of_one_cycle_overlap_too(bench: Bench) -> None:
    missed(bench, schedule_pb2.OVERLAP_SKIP)
    assert outcomes(bench) == [SUBMITTED, SKIPPED]


def test_k3_a_missed_tick_that_had_to_wait_is_made_up_for_all_the_same(bench: Bench) -> None:
    missed(bench, schedule_pb2.OVERLAP_BUFFER_ONE)
    end(bench, jobs(bench)[0].id)
    bench.cycle()
    assert made(bench) == ["2027-01-01T00:01:00+", "2027-01-01T00:02:00+"]


def test_k4_an_edit_before_the_next_cycle_does_not_keep_a_buffered_tick_waiting(bench: Bench) -> None:
    overlapping(bench, schedule_pb2.OVERLAP_BUFFER_ONE)
    end(bench, jobs(bench)[0].id)
    change(bench, cron="0 0 * * *")
    bench.cycle()
    assert made(bench) == ["2027-01-01T00:01:00", "2027-01-01T00:03:00"]


def test_k4_an_edit_of_a_paused_schedule_releases_no_buffered_tick(bench: Bench) -> None:
    overlapping(bench, schedule_pb2.OVERLAP_BUFFER_ONE)
    bench.write(pause_schedule, NAMESPACE, "s", "me", "")
    end(bench, jobs(bench)[0].id)
    change(bench, overlap=schedule_pb2.OVERLAP_ALLOW)
    bench.cycle()
    assert made(bench) == ["2027-01-01T00:01:00"]


def test_k4_cancel_other_cancels_whatever_lives(bench: Bench) -> None:
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", overlap=schedule_pb2.OVERLAP_CANCEL_OTHER))
    run_until(bench, at("2027-01-01T00:01:00"))
    lease = bench.assign(jobs(bench)[0].id)
    bench.hear(starts=[lease])
    run_until(bench, at("2027-01-01T00:03:00"))
    states = [job.state for job in jobs(bench)]
    assert states == [JobState.CANCELLING, JobState.CANCELLED, JobState.QUEUED]
    causes = [job.cancellation.cause for job in jobs(bench) if job.cancellation]
    assert causes == [CancelCause.OVERLAP, CancelCause.OVERLAP]
    bench.finish(lease, succeeded=None)
    assert outcomes(bench) == [SUBMITTED] * 3


def test_k4_jobs_that_an_earlier_policy_let_live_count(bench: Bench) -> None:
    overlapping(bench, schedule_pb2.OVERLAP_ALLOW)
    change(bench, overlap=schedule_pb2.OVERLAP_SKIP)
    first, _, last = jobs(bench)
    end(bench, last.id)
    run_until(bench, at("2027-01-01T00:04:00"))
    assert outcomes(bench)[-1] is SKIPPED
    change(bench, overlap=schedule_pb2.OVERLAP_CANCEL_OTHER)
    run_until(bench, at("2027-01-01T00:05:00"))
    assert bench.job(first.id).state is JobState.CANCELLED
    assert [job.state in ENDED for job in jobs(bench)] == [True, True, True, False]


def test_k4_jitter_puts_the_job_off_and_not_the_tick(bench: Bench) -> None:
    begin(bench, "2027-01-01T00:00:00", schedule("0 * * * *", jitter=seconds(1800)))
    run_until(bench, at("2027-01-01T04:00:00"))
    delays = [job.created - job.origin.nominal_time for job in jobs(bench)]
    assert made(bench) == [f"2027-01-01T0{hour}:00:00" for hour in (1, 2, 3)]
    ticks = [job.origin.nominal_time for job in jobs(bench)]
    assert delays == [jitter_of(f"{NAMESPACE}/s", tick, 1800 * SECOND) for tick in ticks]
    assert len(set(delays)) == 3


def test_s5_a_refused_job_is_noted_and_the_schedule_goes_on(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="small", max_queued=1), "me")
    spec = handler_spec()
    spec.queue = "small"
    (other,) = bench.submit(new_job(spec=spec, queue="small"))
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", spec=spec))
    run_until(bench, at("2027-01-01T00:01:00"))
    assert outcomes(bench) == [REFUSED]
    assert "max_queued" in firings(bench)[0].message
    end(bench, other.id)
    run_until(bench, at("2027-01-01T00:02:00"))
    assert outcomes(bench) == [REFUSED, SUBMITTED]


def test_s6_a_schedule_for_a_queue_that_is_not_there_is_refused(bench: Bench) -> None:
    spec = handler_spec()
    spec.queue = "nowhere"
    refusal = bench.write(create_schedule, NAMESPACE, schedule("* * * * *", spec=spec), ACTOR)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.resource_name) == (Reason.NOT_FOUND, "nowhere")
    create(bench, schedule("* * * * *"))

    def move(message: schedule_pb2.Schedule, stored: StoredSchedule) -> None:
        message.spec.queue = "nowhere"

    refusal = bench.write(update_schedule, NAMESPACE, "s", "", move, "me")
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.NOT_FOUND


def test_a_name_is_taken_once_and_etags_are_compared(bench: Bench) -> None:
    made_first = create(bench, schedule("* * * * *"))
    taken_name = bench.write(create_schedule, NAMESPACE, schedule("0 * * * *"), ACTOR)
    assert isinstance(taken_name, Refusal)
    assert taken_name.reason is Reason.NAME_TAKEN
    change(bench, overlap=schedule_pb2.OVERLAP_SKIP)
    stale = [
        bench.write(update_schedule, NAMESPACE, "s", str(made_first.version), lambda message, stored: None, "me"),
        bench.write(delete_schedule, NAMESPACE, "s", str(made_first.version), "me"),
    ]
    assert [one.reason for one in stale if isinstance(one, Refusal)] == [Reason.STALE_ETAG] * 2
    gone = [
        bench.write(update_schedule, NAMESPACE, "other", "", lambda message, stored: None, "me"),
        bench.write(delete_schedule, NAMESPACE, "other", "", "me"),
        bench.write(pause_schedule, NAMESPACE, "other", "me", ""),
        bench.write(resume_schedule, NAMESPACE, "other", "me"),
        bench.write(trigger_schedule, NAMESPACE, "other", "", "me", ""),
    ]
    assert [one.reason for one in gone if isinstance(one, Refusal)] == [Reason.NOT_FOUND] * 5


def test_a_deleted_schedule_fires_no_more_and_its_jobs_stay(bench: Bench) -> None:
    overlapping(bench, schedule_pb2.OVERLAP_BUFFER_ONE)
    taken(bench.write(delete_schedule, NAMESPACE, "s", "", "me"))
    end(bench, jobs(bench)[0].id)
    run_until(bench, at("2027-01-01T00:05:00"))
    assert made(bench) == ["2027-01-01T00:01:00"]
    assert bench.read(get_schedule, NAMESPACE, "s") is None
    assert bench.read(lambda connection: connection.rows("SELECT * FROM firings")) == []
    create(bench, schedule("0 * * * *"))
    assert firings(bench) == []


def test_a_trigger_makes_a_job_besides_the_ticks(bench: Bench) -> None:
    begin(bench, "2027-01-01T00:00:30", schedule("* * * * *", overlap=schedule_pb2.OVERLAP_SKIP))
    bench.write(pause_schedule, NAMESPACE, "s", "me", "")
    first = bench.write(trigger_schedule, NAMESPACE, "s", "r1", "me", "")
    bench.write(resume_schedule, NAMESPACE, "s", "me")
    change(bench, spec=handler_spec("other"))
    again = bench.write(trigger_schedule, NAMESPACE, "s", "r1", "me", "")
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.job.id, again.deduplicated) == (first.job.id, True)
    assert (first.job.owner, first.job.origin.schedule, first.job.origin.nominal_time) == (ACTOR, "s", 0)
    run_until(bench, at("2027-01-01T00:01:00"))
    assert outcomes(bench) == [SUBMITTED], "a triggered job is in no tick's way"


def test_a_request_id_of_another_trigger_is_refused(bench: Bench) -> None:
    create(bench, schedule("* * * * *"))
    create(bench, schedule("* * * * *", name="t"))
    bench.write(trigger_schedule, NAMESPACE, "s", "r1", "me", "")
    refusal = bench.write(trigger_schedule, NAMESPACE, "t", "r1", "me", "")
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.REQUEST_ID_REUSED


def test_a_timing_that_can_not_be_read_any_more_pauses_its_schedule_only(bench: Bench) -> None:
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", name="a"))
    create(bench, schedule("* * * * *", name="b"))
    broken = schedule("* * * * *", name="a", time_zone="Europe/Atlantis").SerializeToString()
    bench.write(lambda ledger: ledger.run("UPDATE schedules SET body = ? WHERE name = 'a'", (broken,)))
    run_until(bench, at("2027-01-01T00:01:00"))
    found = bench.read(get_schedule, NAMESPACE, "a")
    assert found is not None
    assert found[0].paused
    assert "Europe/Atlantis" in found[0].pause_reason
    assert [job.origin.schedule for job in jobs(bench)] == ["b"]


def test_schedules_are_listed_by_name(bench: Bench) -> None:
    for name in ("c", "a", "b"):
        create(bench, schedule("* * * * *", name=name))
    assert [one.name for one in bench.read(list_schedules, NAMESPACE, "", 2)] == ["a", "b"]
    assert [one.name for one in bench.read(list_schedules, NAMESPACE, "b", 2)] == ["c"]
    assert bench.read(list_schedules, "other", "", 2) == []


POLICIES = [
    schedule_pb2.CatchUp(policy=policy, max_count=3)
    for policy in (
        schedule_pb2.CATCH_UP_POLICY_NONE,
        schedule_pb2.CATCH_UP_POLICY_LAST,
        schedule_pb2.CATCH_UP_POLICY_ALL,
    )
]
CRONS = ["*/5 * * * *", "30 2 * * *", "0 * * * *", "*/7 * * * * *"]


@pytest.mark.parametrize("seed", range(25))
def test_i10_whatever_happens_a_tick_makes_one_job(reopen: OpenStore, seed: int) -> None:
    """Random changes, ends, stops and kills around the commit; each job is of a tick of the timing that held."""
    chance = Random(seed)
    bench = reopen()
    policy, overlap = chance.choice(POLICIES), chance.choice(schedule_pb2.Overlap.values())
    jitter = seconds(chance.choice([0, 5]))
    zone = chance.choice(["Europe/Berlin", "America/New_York"])
    first = schedule(chance.choice(CRONS), time_zone=zone, catch_up=policy, overlap=overlap, jitter=jitter)
    begin(bench, chance.choice(["2027-03-27T22:00:00", "2027-10-30T22:00:00", "2027-11-06T22:00:00"]), first)
    for _ in range(60):
        match chance.randrange(8):
            case 0:
                bench = reopen()
            case 1:
                cycle_killed_before_commit(bench)
                bench = reopen()
            case 2:
                change(bench, overlap=chance.choice(schedule_pb2.Overlap.values()))
            case 3:
                change(bench, cron=chance.choice(CRONS))
            case 4:
                if chance.random() < 0.4:
                    bench.write(pause_schedule, NAMESPACE, "s", "me", "")
                else:
                    bench.write(resume_schedule, NAMESPACE, "s", "me")
            case 5:
                for job in jobs(bench):
                    if job.state not in ENDED and chance.random() < 0.7:
                        end(bench, job.id)
            case _:
                bench.clock.advance(chance.choice([1, 7, 60, 299, 3600, 30_000]))
        bench.cycle()
        bench.read(check_firings)
    bench.write(resume_schedule, NAMESPACE, "s", "me")
    change(bench, cron="0 * * * *")
    now = bench.clock.now()
    run_until(bench, Micros(now + 2 * 3600 * SECOND))
    assert [firing.nominal > now for firing in firings(bench)[-2:]] == [True, True], "it goes on"


def keyed(on_conflict: job_pb2.UniqueKeyConflict) -> job_pb2.JobSpec:
    """Of a job with a unique key."""
    spec = handler_spec()
    spec.unique_key.key = "k"
    spec.unique_key.on_conflict = on_conflict
    return spec


def test_s3_a_tick_whose_unique_key_is_taken_is_refused(bench: Bench) -> None:
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", spec=keyed(job_pb2.UNIQUE_KEY_CONFLICT_REFUSE)))
    run_until(bench, at("2027-01-01T00:02:00"))
    assert outcomes(bench) == [SUBMITTED, REFUSED]
    end(bench, jobs(bench)[0].id)
    run_until(bench, at("2027-01-01T00:03:00"))
    assert outcomes(bench) == [SUBMITTED, REFUSED, SUBMITTED]


def test_s3_a_job_that_was_there_stands_for_a_tick_and_is_in_no_later_ones_way(bench: Bench) -> None:
    spec = keyed(job_pb2.UNIQUE_KEY_CONFLICT_RETURN_EXISTING)
    (other,) = bench.submit(plain_job(NAMESPACE, "", spec, "me", ""))
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", spec=spec, overlap=schedule_pb2.OVERLAP_SKIP))
    run_until(bench, at("2027-01-01T00:02:00"))
    assert [(firing.outcome, firing.job_id) for firing in firings(bench)] == [(SUBMITTED, other.id)] * 2
    assert [job.id for job in jobs(bench)] == [other.id]
    end(bench, other.id)
    run_until(bench, at("2027-01-01T00:04:00"))
    assert outcomes(bench) == [SUBMITTED, SUBMITTED, SUBMITTED, SKIPPED]


def test_k4_a_job_that_waits_for_its_retry_has_not_ended(bench: Bench) -> None:
    begin(bench, "2027-01-01T00:00:00", schedule("* * * * *", overlap=schedule_pb2.OVERLAP_SKIP))
    run_until(bench, at("2027-01-01T00:01:00"))
    lease = bench.assign(jobs(bench)[0].id)
    bench.hear(starts=[lease])
    bench.finish(lease, failed=failure(FailureClass.QUOTA, 600))
    assert bench.job(lease.job_id).state is JobState.SCHEDULED
    run_until(bench, at("2027-01-01T00:02:00"))
    assert outcomes(bench) == [SUBMITTED, SKIPPED]
