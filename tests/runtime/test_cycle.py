"""What one cycle grants, to whom, and in which order."""

import pytest
from google.protobuf.duration_pb2 import Duration

from headrace.v1 import queue_pb2
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.limits import GRANTS_COUNT_MAX
from headrace_server.core.placement import Needs, Offer
from headrace_server.core.states import JobState
from headrace_server.runtime.cycle import Cycle, run_cycle, take_back
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.attempts.workers import Release, Word, hear_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queues import create_queue
from store.driving import HOME, NAMESPACE, Bench, capabilities, claude_spec, frame, handler_spec, new_job, offer

BIG = Holder("big", "i1")
SMALL = Holder("small", "i1")


def granted_ids(bench: Bench, *offers: Offer) -> list[JobId]:
    return [one.lease.job_id for one in bench.cycle(*offers).granted]


def submit(bench: Bench, priority: int = 0, queue: str = "default", handler: str = "echo") -> JobId:
    """Each job arrives a second after the one before."""
    bench.clock.advance(1)
    return bench.submit(new_job(spec=handler_spec(handler), priority=priority, queue=queue))[0].id


def test_q1_equal_jobs_start_in_the_order_of_their_arrival(bench: Bench) -> None:
    ids = [submit(bench) for _ in range(5)]
    assert granted_ids(bench, offer(slots=2)) == ids[:2]
    assert granted_ids(bench, offer(slots=9)) == ids[2:]


def test_q1_jobs_of_one_instant_start_in_the_order_of_their_submit(bench: Bench) -> None:
    jobs = bench.submit(*(new_job() for _ in range(20)))
    assert granted_ids(bench, offer(slots=20)) == [job.id for job in jobs]


def test_q1_a_point_of_priority_is_a_head_start_of_a_minute(bench: Bench) -> None:
    early, urgent = submit(bench), submit(bench, priority=1)
    assert granted_ids(bench, offer()) == [urgent]
    bench.clock.advance(60)
    late = submit(bench, priority=1)
    assert granted_ids(bench, offer(slots=2)) == [early, late], "nothing starves"


def test_q1_the_head_start_is_the_queues(bench: Bench) -> None:
    queue = queue_pb2.Queue(name="slow")
    queue.priority_head_start.FromSeconds(2)
    bench.write(create_queue, NAMESPACE, queue, "tester")
    first, second, third = (submit(bench, queue="slow") for _ in range(3))
    urgent = submit(bench, priority=1, queue="slow")
    assert granted_ids(bench, offer(slots=4)) == [first, second, urgent, third]


def test_q1_a_scheduled_job_ranks_by_its_time_and_not_by_its_submit(bench: Bench) -> None:
    (later,) = bench.submit(new_job(schedule_time=Micros(bench.clock.now() + 10 * SECOND)))
    bench.clock.advance(5)
    now = submit(bench)
    bench.clock.advance(10)
    assert granted_ids(bench, offer(slots=2)) == [now, later.id]


def test_q5_jobs_that_nobody_can_run_hold_nobody_up(bench: Bench) -> None:
    for _ in range(300):
        bench.submit(new_job(spec=handler_spec("unknown"), priority=100))
    able = [submit(bench) for _ in range(3)]
    assert granted_ids(bench, offer(slots=5)) == able


def test_q5_jobs_that_wait_for_a_holder_hold_nobody_up(bench: Bench) -> None:
    for _ in range(3):
        lease = bench.running(claude_spec())
        bench.append(lease, frame(1, dirty=True))
    bench.lose()
    fresh = submit(bench)
    assert granted_ids(bench, offer(SMALL, 4)) == [fresh]
    assert len(granted_ids(bench, offer(slots=4))) == 3, "they wait for this one"


def test_q5_every_free_slot_gets_a_job_that_fits_while_there_is_one(bench: Bench) -> None:
    jobs = {"echo": [submit(bench) for _ in range(4)], "other": [submit(bench, handler="other") for _ in range(4)]}
    cycle = bench.cycle(offer(BIG, 3, capabilities("echo", "other")), offer(SMALL, 2, capabilities("other")))
    by_worker = {name: [one.lease.job_id for one in cycle.granted if one.worker == name] for name in ("big", "small")}
    assert len(by_worker["big"]) == 3
    assert len(by_worker["small"]) == 2
    assert set(by_worker["small"]) <= set(jobs["other"])


def test_q5_one_cycle_fills_every_slot_from_queues_that_compete(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="other"), "tester")
    ids = {submit(bench, queue=queue) for _ in range(15) for queue in ("default", "other")}
    assert set(granted_ids(bench, offer(slots=40))) == ids


def test_q5_one_cycle_fills_every_slot_from_very_many_keys(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="keyed", max_concurrency_per_key=1), "tester")
    jobs = bench.submit(*(new_job(queue="keyed", concurrency_key=f"k{number}") for number in range(50)))
    assert granted_ids(bench, offer(slots=60)) == [job.id for job in jobs]


def test_i5_slots_are_never_exceeded(bench: Bench) -> None:
    for handler in ("echo", "other", "third"):
        bench.submit(*(new_job(spec=handler_spec(handler)) for _ in range(9)))
    able = capabilities("echo", "other", "third")
    cycle = bench.cycle(offer(BIG, 5, able), offer(SMALL, 2, able))
    assert sorted(one.worker for one in cycle.granted) == ["big"] * 5 + ["small"] * 2


def test_q5_required_labels_have_to_match(bench: Bench) -> None:
    needs = Needs("handler", "echo", (("zone", "a"),))
    (job,) = bench.submit(new_job(needs=needs))
    assert granted_ids(bench, offer(able=capabilities(zone="b"))) == []
    assert granted_ids(bench, offer(able=capabilities(zone="a"))) == [job.id]


def test_one_cycle_grants_a_bounded_number_and_the_next_one_goes_on(bench: Bench) -> None:
    jobs = bench.submit(*(new_job() for _ in range(GRANTS_COUNT_MAX + 5)))
    first = granted_ids(bench, offer(slots=1000))
    assert (len(first), first) == (GRANTS_COUNT_MAX, [job.id for job in jobs[:GRANTS_COUNT_MAX]])
    assert len(granted_ids(bench, offer(slots=1000))) == 5


def test_an_assignment_says_all_that_a_worker_needs(bench: Bench) -> None:
    spec = handler_spec()
    spec.timeouts.run_timeout.FromSeconds(5)
    bench.submit(new_job(spec=spec, traceparent="00-trace"))
    (assignment,) = [one.assignment for one in bench.cycle(offer()).granted]
    assert assignment.spec == spec
    in_force = {field.name: value.ToSeconds() for field, value in assignment.timeouts.ListFields()}
    assert in_force == {"run_timeout": 5, "input_timeout": 600, "cancel_grace": 10}
    assert (assignment.namespace, assignment.traceparent) == (NAMESPACE, "00-trace")
    assert (assignment.lease.attempt, assignment.lease.epoch, assignment.lease.generation) == (1, 1, 1)
    assert not assignment.HasField("previous_failure")


def test_a_retry_knows_why_the_attempt_before_failed(bench: Bench) -> None:
    lease = bench.running()
    bench.fail(lease, FailureClass.CRASH)
    bench.clock.advance(600)
    (granted,) = bench.cycle(offer()).granted
    assert granted.assignment.previous_failure.message == "it broke"
    bench.finish(granted.lease)
    assert bench.job(lease.job_id).failure is None, "it has succeeded"


def test_due_jobs_are_promoted_without_any_worker(bench: Bench) -> None:
    due = Micros(bench.clock.now() + SECOND)
    bench.submit(new_job(schedule_time=due), new_job(schedule_time=Micros(due + 1)))
    assert bench.cycle().next_due == due
    bench.clock.advance(1)
    assert bench.cycle().next_due == due + 1


def test_a_job_that_waits_for_its_holder_is_looked_at_when_that_ends(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    bench.append(lease, frame(1, dirty=True))
    bench.lose()
    assert bench.cycle().next_due == bench.job(lease.job_id).due


@pytest.mark.parametrize("began", [False, True])
def test_l3_what_was_not_sent_is_taken_back_unless_it_began(bench: Bench, began: bool) -> None:
    (job,) = bench.submit()
    granted = bench.cycle(offer()).granted
    if began:
        bench.hear(starts=[granted[0].lease])
    bench.write(take_back, granted)
    assert bench.kinds(job.id)[-1] == ("attempt_started" if began else "attempt_released")


def test_c3_a_cycle_for_no_time_sees_that_one_has_come_since(bench: Bench) -> None:
    spec = handler_spec()
    spec.timeouts.queue_timeout.FromSeconds(5)
    (late,) = bench.submit(new_job(spec=spec))
    bench.clock.advance(5)
    assert bench.write(run_cycle, [offer()], [], timed=False).granted == ()
    assert bench.job(late.id).state is JobState.EXPIRED


def test_q4_a_token_that_comes_back_in_the_transaction_of_a_cycle_is_there_for_it(bench: Bench) -> None:
    """A worker's word and the cycle that it asks for are committed together."""
    policy = queue_pb2.Queue(name="slow", rate_limit=queue_pb2.RateLimit(count=1, period=Duration(seconds=60)))
    bench.write(create_queue, NAMESPACE, policy, "tester")
    bench.submit(new_job(queue="slow"))
    (granted,) = bench.cycle(offer()).granted
    declined = Word(HOME, releases=[Release(granted.lease, ReleaseCause.DECLINED, "no room")])

    def hear_and_grant(ledger: Ledger) -> Cycle:
        hear_each(ledger, [declined])
        return run_cycle(ledger, [offer()], [], timed=False)

    assert [again.lease.job_id for again in bench.write(hear_and_grant).granted] == [granted.lease.job_id]
