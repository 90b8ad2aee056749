"""Limits of queues and keys: never exceeded, nobody else delayed, nothing looked at in vain (Q3, Q4, Q7, I4, I5)."""

from collections import Counter
from typing import Any

import pytest

from headrace.v1 import queue_pb2
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.states import LEASED, JobState
from headrace_server.runtime.cycle import Cycle
from headrace_server.store import rows
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.attempts.workers import Release
from headrace_server.store.engine import Connection
from headrace_server.store.queueing import queue_stops
from headrace_server.store.queueing.queue_stops import StopKind, StopOrder
from headrace_server.store.queueing.queues import create_queue, update_queue
from store.driving import NAMESPACE, Bench, capabilities, claude_spec, frame, handler_spec, new_job, offer

MANY = offer(slots=100)


def make(bench: Bench, name: str = "q", **policy: Any) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name=name, max_queued=1_000_000, **policy), "tester")


def change(bench: Bench, name: str = "q", **policy: Any) -> None:
    wanted = queue_pb2.Queue(**policy)
    bench.write(update_queue, NAMESPACE, name, "", lambda body: body.MergeFrom(wanted), policy.keys(), "tester")


def per_second(count: int, burst: int = 1) -> queue_pb2.RateLimit:
    limit = queue_pb2.RateLimit(count=count, burst=burst)
    limit.period.FromSeconds(1)
    return limit


def submit(bench: Bench, key: str = "", queue: str = "q", count: int = 1, **changes: Any) -> list[JobId]:
    """Jobs of an instant of their own."""
    bench.clock.advance(0.001)
    jobs = [new_job(queue=queue, concurrency_key=key, **changes) for _ in range(count)]
    return [job.id for job in bench.submit(*jobs)]


def ids(cycle: Cycle) -> list[JobId]:
    return [one.lease.job_id for one in cycle.granted]


def finish(bench: Bench, *leases: Lease) -> None:
    for lease in leases:
        bench.finish(lease)


def jobs_of(connection: Connection) -> list[Job]:
    return [rows.job_of(row) for row in connection.rows(rows.SELECT)]


def test_q3_a_queue_runs_no_more_than_its_limit(bench: Bench) -> None:
    make(bench, max_concurrency=3)
    first = submit(bench, count=5)
    other = submit(bench, queue="default", count=2)
    cycle = bench.cycle(MANY)
    assert ids(cycle) == [*first[:3], *other]
    assert ids(bench.cycle(MANY)) == []
    finish(bench, cycle.granted[0].lease)
    assert ids(bench.cycle(MANY)) == [first[3]]


def test_q3_a_key_runs_no_more_than_its_limit_and_delays_no_other(bench: Bench) -> None:
    make(bench, max_concurrency_per_key=2)
    first = submit(bench, "a", count=5)
    later = submit(bench, "b", count=1)
    without = submit(bench, count=3)
    cycle = bench.cycle(MANY)
    assert ids(cycle) == [*first[:2], *later, *without]
    assert ids(bench.cycle(MANY)) == []
    finish(bench, cycle.granted[1].lease)
    assert ids(bench.cycle(MANY)) == [first[2]]


def test_q3_jobs_of_a_key_count_together_whoever_they_are_for_and_whatever_they_need(bench: Bench) -> None:
    make(bench, max_concurrency_per_key=2)
    for owner in ("ann", "bob", "cem"):
        for handler in ("echo", "other"):
            submit(bench, "a", owner=owner, spec=handler_spec(handler))
    able = offer(slots=10, able=capabilities("echo", "other"))
    cycle = bench.cycle(able)
    assert len(cycle.granted) == 2
    assert ids(bench.cycle(able)) == []
    finish(bench, cycle.granted[0].lease)
    assert len(ids(bench.cycle(able))) == 1


def test_q3_a_job_that_waits_for_its_holder_obeys_the_limits(bench: Bench) -> None:
    make(bench, max_concurrency_per_key=1)
    lease = bench.running(claude_spec(), queue="q", concurrency_key="a")
    bench.append(lease, frame(1, dirty=True))
    bench.lose()
    (other,) = submit(bench, "a")
    elsewhere = Holder("w2", "i1")
    granted = bench.assign(other, elsewhere)
    assert ids(bench.cycle(MANY)) == []
    bench.finish(granted, elsewhere)
    assert ids(bench.cycle(MANY)) == [lease.job_id]


def test_q3_limits_hold_across_a_restart_and_a_lost_worker_frees_them(bench: Bench) -> None:
    make(bench, max_concurrency=1, max_concurrency_per_key=1)
    first, second = submit(bench, "a", count=2)
    bench.cycle(MANY)
    assert ids(bench.cycle(MANY)) == []
    bench.lose()
    assert ids(bench.cycle(MANY)) == [first], "handed back to the front of its rank"
    assert bench.job(second).state is JobState.QUEUED


def test_i4_a_raised_limit_lets_jobs_go_at_once(bench: Bench) -> None:
    make(bench, max_concurrency=10, max_concurrency_per_key=1)
    first = submit(bench, "a", count=6)
    assert ids(bench.cycle(MANY)) == first[:1]
    assert ids(bench.cycle(MANY)) == []
    change(bench, max_concurrency_per_key=3)
    assert bench.effects[-1].queued, "a cycle is asked for"
    assert ids(bench.cycle(MANY)) == first[1:3]


def test_q4_a_queue_starts_no_more_than_its_rate_and_says_when_the_next_may(bench: Bench) -> None:
    make(bench, rate_limit=per_second(2, burst=3))
    first = submit(bench, count=6)
    cycle = bench.cycle(MANY)
    assert ids(cycle) == first[:3]
    assert cycle.next_due == bench.clock.now() + SECOND // 2
    assert ids(bench.cycle(MANY)) == []
    bench.clock.advance(0.5)
    assert ids(bench.cycle(MANY)) == first[3:4]
    bench.clock.advance(60)
    assert ids(bench.cycle(MANY)) == first[4:]


def test_q4_each_key_has_a_rate_of_its_own(bench: Bench) -> None:
    make(bench, rate_limit_per_key=per_second(1))
    first, second = submit(bench, "a", count=3), submit(bench, "b", count=1)
    cycle = bench.cycle(MANY)
    assert ids(cycle) == [first[0], second[0]]
    assert cycle.next_due == bench.clock.now() + SECOND
    bench.clock.advance(1)
    assert ids(bench.cycle(MANY)) == [first[1]]


def test_q4_a_key_that_waits_for_its_token_is_not_forgotten_by_later_cycles(bench: Bench) -> None:
    make(bench, rate_limit_per_key=per_second(1))
    first, second = submit(bench, "a", count=2)
    begun = bench.clock.now()
    assert [ids(bench.cycle(MANY)), ids(bench.cycle(MANY))] == [[first], []]
    assert bench.cycle().next_due == begun + SECOND
    bench.clock.advance(1)
    assert ids(bench.cycle(MANY)) == [second]


@pytest.mark.parametrize("policy", [{"rate_limit": per_second(1)}, {"rate_limit_per_key": per_second(1)}])
def test_q4_a_start_that_never_happened_gives_its_token_back(bench: Bench, policy: dict[str, Any]) -> None:
    make(bench, **policy)
    first, second = submit(bench, "a", count=2)
    (granted,) = bench.cycle(MANY).granted
    assert ids(bench.cycle(MANY)) == []
    bench.hear(releases=[Release(granted.lease, ReleaseCause.DECLINED, "")])
    (again,) = bench.cycle(MANY).granted
    assert again.lease.job_id == first
    bench.hear(starts=[again.lease])
    finish(bench, again.lease)
    assert ids(bench.cycle(MANY)) == [], "this one did start"
    bench.clock.advance(1)
    assert ids(bench.cycle(MANY)) == [second]


def test_q4_a_start_that_may_have_happened_costs_its_token(bench: Bench) -> None:
    make(bench, rate_limit=per_second(1))
    (first,) = submit(bench)
    bench.cycle(MANY)
    bench.lose()
    assert ids(bench.cycle(MANY)) == []
    bench.clock.advance(1)
    assert ids(bench.cycle(MANY)) == [first]


def stop(bench: Bench, kind: StopKind, until: int = 0) -> None:
    order = StopOrder("ann", "repairs", bench.clock.now(), Micros(until))
    bench.write(queue_stops.set_stop, NAMESPACE, "q", kind, order)


@pytest.mark.parametrize("kind", list(StopKind))
def test_q7_nothing_of_a_stopped_queue_starts(bench: Bench, kind: StopKind) -> None:
    make(bench)
    stop(bench, kind)
    waiting, other = submit(bench, count=2), submit(bench, queue="default")
    assert ids(bench.cycle(MANY)) == other
    bench.write(queue_stops.remove_stop, NAMESPACE, "q", kind)
    assert ids(bench.cycle(MANY)) == waiting


def test_q7_a_pause_ends_by_itself_and_a_cycle_is_due_then(bench: Bench) -> None:
    make(bench)
    end = bench.clock.now() + 5 * SECOND
    stop(bench, StopKind.PAUSE, end)
    waiting = submit(bench, count=2)
    assert bench.cycle(MANY).next_due == end
    bench.clock.advance(5)
    assert ids(bench.cycle(MANY)) == waiting


def test_i5_no_limit_is_exceeded_whatever_ends_and_comes_in_any_order(bench: Bench) -> None:
    make(bench, max_concurrency=7, max_concurrency_per_key=2, rate_limit=per_second(40, burst=5))
    leases: list[Lease] = []
    for step in range(120):
        submit(bench, "abcde"[step % 5], count=2, priority=step % 3)
        granted = [one.lease for one in bench.cycle(offer(slots=20)).granted]
        leases += granted
        running = [job for job in bench.read(jobs_of) if job.state in LEASED]
        assert len(running) <= 7
        assert max(Counter(job.concurrency_key for job in running).values(), default=0) <= 2
        if step % 3 == 0 and leases:
            bench.hear(releases=[Release(leases.pop(0), ReleaseCause.DECLINED, "")])
        for lease in leases[: step % 4]:
            bench.finish(lease)
        del leases[: step % 4]
        bench.clock.advance(0.05)
    for _ in range(400):
        finish(bench, *leases)
        bench.clock.advance(1)
        leases = [one.lease for one in bench.cycle(MANY).granted]
    states = {job.state for job in bench.read(jobs_of)}
    assert states == {JobState.SUCCEEDED}, "I4: all of them ran in the end"
