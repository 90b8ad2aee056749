"""What a job is said to wait for, read from a store and told with names and numbers; and when it may start (Q8)."""

from typing import Any

import pytest

from headrace.v1 import job_pb2, queue_pb2
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.placement import Capabilities, Needs
from headrace_server.core.resources import Resources
from headrace_server.core.states import JobState
from headrace_server.runtime.explain import estimated_start, wait_reasons
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.submission import UniqueKeyConflict
from headrace_server.store.queueing import queue_stops
from headrace_server.store.queueing.queue_stops import StopKind, StopOrder
from headrace_server.store.queueing.waiting import read_waiting
from headrace_server.store.records import reads
from runtime.test_limits import make, per_second, submit
from store.driving import NAMESPACE, Bench, capabilities, offer

MANY = offer(slots=100)


def registry(*slots: int, able: Capabilities | None = None) -> Registry:
    """Workers w0, w1 … with so many slots, all of them free."""
    made = Registry(30.0)
    for number, count in enumerate(slots):
        made.connect(ControlLane(Holder(f"w{number}", "i"), "c", count, able or capabilities()))
    return made


def told(bench: Bench, job_id: JobId, workers: Registry | None = None) -> list[tuple[int, str, int]]:
    """Cause, message, and seconds from now until it ends."""
    now = bench.clock.now()

    def read(connection: Connection) -> list[job_pb2.WaitReason]:
        job = reads.get_job(connection, NAMESPACE, job_id)
        assert job is not None
        position = reads.queue_position(connection, job)
        needs = reads.job_needs(connection, job)
        return wait_reasons(job, needs, position, workers or registry(8), read_waiting(connection, job, now))

    found = bench.read(read)
    return [
        (one.cause, one.message, one.until_time.seconds - now // SECOND if one.HasField("until_time") else 0)
        for one in found
    ]


def stop(bench: Bench, kind: StopKind, reason: str, seconds: int) -> None:
    until = Micros(bench.clock.now() + seconds * SECOND) if seconds else Micros(0)
    bench.write(queue_stops.set_stop, NAMESPACE, "q", kind, StopOrder("ann", reason, bench.clock.now(), until))


def test_q8_a_job_that_can_start_waits_for_nothing(bench: Bench) -> None:
    make(bench, max_concurrency=1, rate_limit=per_second(1), max_concurrency_per_key=1)
    (job_id,) = submit(bench, "a")
    assert told(bench, job_id) == []


def test_q8_a_paused_and_drained_queue_says_who_why_and_how_long(bench: Bench) -> None:
    make(bench)
    (job_id,) = submit(bench)
    stop(bench, StopKind.PAUSE, "repairs", 60)
    stop(bench, StopKind.DRAIN, "", 0)
    assert told(bench, job_id) == [
        (job_pb2.WAIT_CAUSE_QUEUE_PAUSED, "queue 'q' is paused by ann: repairs", 60),
        (job_pb2.WAIT_CAUSE_QUEUE_DRAINING, "queue 'q' is drained by ann", 0),
    ]
    bench.clock.advance(60)
    assert [cause for cause, _, _ in told(bench, job_id)] == [job_pb2.WAIT_CAUSE_QUEUE_DRAINING]


def test_q8_limits_are_told_with_their_numbers_and_holders(bench: Bench) -> None:
    make(bench, max_concurrency=2, max_concurrency_per_key=2)
    first, second, third = submit(bench, "a", count=3)
    bench.cycle(MANY)
    assert told(bench, third) == [
        (job_pb2.WAIT_CAUSE_CONCURRENCY, "queue 'q' runs 2/2 jobs, its max_concurrency", 0),
        (
            job_pb2.WAIT_CAUSE_CONCURRENCY,
            f"concurrency key 'a' runs 2/2 jobs: {job_id_text(first)}, {job_id_text(second)}",
            0,
        ),
    ]


def test_q8_rates_say_when_the_next_job_may_start(bench: Bench) -> None:
    slow = queue_pb2.RateLimit(count=1)
    slow.period.FromSeconds(30)
    make(bench, rate_limit=slow, rate_limit_per_key=per_second(1))
    _, second = submit(bench, "a", count=2)
    bench.cycle(MANY)
    assert told(bench, second) == [
        (job_pb2.WAIT_CAUSE_RATE, "queue 'q' may start 1 jobs in 30 s, and has", 30),
        (job_pb2.WAIT_CAUSE_RATE, "concurrency key 'a' may start 1 jobs in 1 s, and has", 1),
    ]


def test_q8_a_share_that_used_more_says_whose_turn_it_is(bench: Bench) -> None:
    make(bench, fairness={"scope": queue_pb2.FAIRNESS_SCOPE_OWNER})
    submit(bench, owner="ann", count=3)
    submit(bench, owner="bob", count=3)
    granted = bench.cycle(offer(slots=1)).granted
    bench.clock.advance(90)
    bench.finish(granted[0].lease)
    waiting = submit(bench, owner="ann")[0]
    full = registry(1)
    full.lanes()[0].hold(Lease(JobId(b"1" * 16), 1, 1), Resources())
    found = told(bench, waiting, full)
    assert [(cause, message) for cause, message, _ in found] == [
        (job_pb2.WAIT_CAUSE_NO_FREE_SLOT, "the one slot of the worker that can run it is taken"),
        (
            job_pb2.WAIT_CAUSE_RANK,
            "'ann' has used 90.0 slot-seconds of late by its weight; 'bob' goes first with 0.0",
        ),
        (job_pb2.WAIT_CAUSE_RANK, "ahead of it in rank: 5 jobs of queue 'q'"),
    ]


def blocked(**changes: Any) -> Job:
    made = Job(1, JobId(b"9" * 16), NAMESPACE, "q", "me", 1, 0, 0, Micros(0), 0, state=JobState.BLOCKED)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def large(slots: int, memory: int = 0) -> Needs:
    return Needs("handler", "echo", resources=Resources(slots, memory))


def for_worker(needs: Needs, workers: Registry) -> tuple[int, str]:
    job = blocked(state=JobState.QUEUED)
    ((cause, message),) = [(one.cause, one.message) for one in wait_reasons(job, needs, 1, workers)]
    return cause, message


def test_q8_a_job_that_waits_for_jobs_says_for_which(bench: Bench) -> None:
    make(bench)
    parents = submit(bench, count=7)
    (child,) = submit(bench, dependencies=tuple(parents))
    ((cause, message, _),) = told(bench, child)
    named = ", ".join(f"{job_id_text(parent)} (QUEUED)" for parent in parents[:5])
    assert cause == job_pb2.WAIT_CAUSE_DEPENDENCY
    assert message == f"depends on jobs that have not ended: {named} and 2 more"


def test_q8_a_job_that_waits_for_its_unique_key_says_who_has_it(bench: Bench) -> None:
    make(bench)
    (active,) = submit(bench, unique_key="folder")
    bench.cycle(MANY)
    (waiting,) = submit(bench, unique_key="folder", on_conflict=UniqueKeyConflict.REPLACE_WAITING)
    assert told(bench, waiting) == [
        (job_pb2.WAIT_CAUSE_UNIQUE_KEY, f"job {job_id_text(active)} has its unique key and has not ended", 0)
    ]


def test_q8_what_is_larger_than_every_worker_says_how_large_they_are() -> None:
    cause, message = for_worker(large(5), registry(2, 4))
    assert cause == job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER
    assert message == "it takes 5 slots, and no worker that can run it is as large: the most are 4 slots"


def test_q8_what_waits_for_room_says_what_is_free() -> None:
    workers = registry(4)
    lane = workers.lanes()[0]
    lane.host.memory_bytes = lane.host.memory_available_bytes = 4 << 30
    lane.hold(Lease(JobId(b"1" * 16), 1, 1), Resources(2, 3 << 30))
    cause, message = for_worker(large(3, 2 << 30), workers)
    assert cause == job_pb2.WAIT_CAUSE_NO_FREE_SLOT
    assert message == "it takes 3 slots, 2.0 GiB of memory; free are at most 2 slots, 1.0 GiB of memory"


def test_q8_room_that_is_kept_for_a_larger_job_is_told() -> None:
    workers, other = registry(4), JobId(b"7" * 16)
    workers.reserved = {"w0": other}
    cause, message = for_worker(large(1), workers)
    assert cause == job_pb2.WAIT_CAUSE_NO_FREE_SLOT
    assert message == f"what is free on w0 is kept for job {job_id_text(other)}, which needs more of it"
    workers.reserved = {"w0": JobId(b"9" * 16)}
    assert wait_reasons(blocked(state=JobState.QUEUED), large(1), 1, workers) == [], "it is kept for this one"


def reason(cause: job_pb2.WaitCause, until: int = 0) -> job_pb2.WaitReason:
    made = job_pb2.WaitReason(cause=cause)
    if until:
        made.until_time.FromSeconds(until)
    return made


NOW = Micros(1000 * SECOND)
PAUSED, FULL = job_pb2.WAIT_CAUSE_QUEUE_PAUSED, job_pb2.WAIT_CAUSE_NO_FREE_SLOT


@pytest.mark.parametrize(
    ("reasons", "position", "rate", "seconds"),
    [
        ([], 3, 0.0, 1000),
        ([reason(FULL)], 6, 2.0, 1003),
        ([reason(FULL)], 6, 0.0, None),
        ([reason(FULL)], 0, 2.0, 1000),
        ([reason(PAUSED, 1060), reason(FULL)], 10, 1.0, 1070),
        ([reason(PAUSED)], 1, 1.0, None),
        ([reason(job_pb2.WAIT_CAUSE_NO_WORKER)], 1, 1.0, None),
        ([reason(job_pb2.WAIT_CAUSE_RATE, 1005)], 1, 1.0, 1006),
    ],
)
def test_q8_the_estimate_follows_from_reasons_position_and_rate(
    reasons: list[job_pb2.WaitReason], position: int, rate: float, seconds: int | None
) -> None:
    found = estimated_start(blocked(state=JobState.QUEUED), reasons, position, rate, NOW)
    assert found == (None if seconds is None else seconds * SECOND)


def test_q8_what_waits_for_other_jobs_or_runs_has_no_estimate() -> None:
    assert estimated_start(blocked(), [], 0, 1.0, NOW) is None
    assert estimated_start(blocked(state=JobState.RUNNING), [], 0, 1.0, NOW) is None
    scheduled = blocked(state=JobState.SCHEDULED)
    assert estimated_start(scheduled, [reason(job_pb2.WAIT_CAUSE_TIME, 2000)], 0, 1.0, NOW) == 2000 * SECOND
