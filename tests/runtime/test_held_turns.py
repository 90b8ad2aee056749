"""Turns that wait for the worker that holds their session: they start in order, and what can't start hides nobody."""

import pytest

from headrace.v1 import job_pb2, queue_pb2, session_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.limits import GRANTS_COUNT_MAX
from headrace_server.core.resources import Resources
from headrace_server.runtime.explain import wait_reasons
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.queueing.queue_control import stop_queue
from headrace_server.store.queueing.queue_stops import StopKind
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.queueing.waiting import read_waiting
from headrace_server.store.records import reads
from store.conversing import Conversing, converse, turn_job
from store.driving import HOME, NAMESPACE, Bench, capabilities, offer
from store.snapshotting import snapshot


def idle_session(bench: Bench, queue: str = "default") -> Conversing:
    """A session whose conversation is on the worker."""
    session = converse(bench, session_pb2.SessionSpec(queue=queue))
    session.turn()
    return session


def say_in_many(bench: Bench, queue: str) -> list[JobId]:
    """More turns that wait for the worker than a cycle looks at."""
    sessions = [idle_session(bench, queue) for _ in range(GRANTS_COUNT_MAX + 2)]
    return [session.say().id for session in sessions]


def granted(bench: Bench, slots: int = 4) -> list[JobId]:
    """What the next cycle starts on the worker."""
    return [one.lease.job_id for one in bench.cycle(offer(HOME, slots)).granted]


@pytest.mark.parametrize("how", ["paused", "saturated"])
def test_i4_a_queue_of_which_nothing_can_start_hides_no_other(bench: Bench, how: str) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="many", max_concurrency=1), "tester")
    waiting = say_in_many(bench, "many")
    if how == "paused":
        bench.write(stop_queue, NAMESPACE, "many", StopKind.PAUSE, "", None, "tester")
    else:
        assert granted(bench, 1) == waiting[:1]
    job = idle_session(bench).say()
    assert granted(bench) == [job.id]


def test_q1_held_turns_start_by_rank_among_others(bench: Bench) -> None:
    one, two = idle_session(bench), idle_session(bench)
    first = one.say()
    bench.clock.advance(1.0)
    (anywhere,) = bench.submit(new_job(NAMESPACE, "", turn_job(converse(bench).id), "tester", ""))
    bench.clock.advance(1.0)
    second = two.say()
    assert granted(bench) == [first.id, anywhere.id, second.id]


def test_q8_a_turn_says_that_its_worker_is_busy_drained_or_away(bench: Bench) -> None:
    job = idle_session(bench).say()
    registry = Registry(30.0)

    def told() -> tuple[job_pb2.WaitCause, str]:
        waiting = bench.read(read_waiting, job, bench.clock.now())
        (reason,) = wait_reasons(job, bench.read(reads.job_needs, job), 1, registry, waiting)
        assert reason.HasField("until_time")
        return reason.cause, reason.message

    cause = job_pb2.WAIT_CAUSE_HOLDER
    assert told() == (cause, "worker 'w1' holds the session to resume and is not connected")
    lane = ControlLane(HOME, "c", 1, capabilities())
    registry.connect(lane)
    lane.hold(Lease(JobId(bytes(16)), 1, 1), Resources(lane.free_slots, 0, 0))
    assert told() == (cause, "worker 'w1' holds the session to resume and has no room for it")
    lane.draining = True
    assert told() == (cause, "worker 'w1' holds the session to resume and is drained")


def test_q8_a_turn_whose_session_can_move_says_so(bench: Bench) -> None:
    session = converse(bench)
    job = session.say()
    lease = session.start(job.id)
    bench.append(lease, *snapshot(2))
    bench.finish(lease, outputs=4)
    job = session.say()
    waiting = bench.read(read_waiting, job, bench.clock.now())
    (reason,) = wait_reasons(job, bench.read(reads.job_needs, job), 1, Registry(30.0), waiting)
    assert reason.message.endswith("; once it is lost, the session goes on elsewhere from the snapshot of turn 1")
