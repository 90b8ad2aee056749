"""The life of an attempt: every word of a worker is checked against its lease, and what follows is decided once."""

from typing import Any

import pytest

from headrace.v1 import event_pb2, input_pb2, job_pb2, task_pb2
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.job import Usage
from headrace_server.core.limits import HOLDER_GRACE_SECONDS, LOSSES_COUNT_MAX, RESULT_BYTES_MAX
from headrace_server.core.refusal import Refusal
from headrace_server.core.states import JobState
from headrace_server.store.attempts.leases import Disposition, Holder, Lease
from headrace_server.store.attempts.workers import Release
from headrace_server.store.records import reads
from store.driving import (
    HOME,
    RESULT,
    Bench,
    chunk,
    claude_spec,
    failure,
    frame,
    handler_spec,
    new_job,
    offer,
)

OTHER = Holder("w2", "i1")
REBORN = Holder(HOME.worker, "i2")
USED = Usage(turns=1, cost_usd_micros=7, api_micros=1500)


def release(bench: Bench, lease: Lease, holder: Holder = HOME) -> None:
    bench.hear(holder, releases=[Release(lease, ReleaseCause.DECLINED, "no room")])


def late_results(bench: Bench, lease: Lease) -> list[tuple[int, int, bytes]]:
    return bench.read(reads.late_results, bench.job(lease.job_id))


def test_a_job_runs_from_submit_to_result(bench: Bench) -> None:
    (job,) = bench.submit()
    lease = bench.assign(job.id)
    bench.hear(starts=[lease])
    bench.append(lease, chunk(1), chunk(2))
    assert bench.finish(lease, usage=USED, outputs=2) == (Disposition.ACCEPTED, 2)
    kinds = ["submitted", "attempt_assigned", "attempt_started", "output", "output", "succeeded"]
    assert bench.kinds(job.id) == kinds
    done = bench.job(job.id)
    assert (done.state, done.usage, done.attempt, done.output_bytes) == (JobState.SUCCEEDED, USED, 1, 2)
    last = bench.read(reads.last_event, done)
    assert last is not None
    assert last.succeeded.result.SerializeToString() == RESULT


def test_l1_a_grant_grows_the_epoch_and_says_why_to_whom(bench: Bench) -> None:
    (job,) = bench.submit()
    lease = bench.assign(job.id)
    assert (lease.epoch, lease.attempt) == (1, 1)
    assigned = bench.events(job.id)[1].attempt_assigned
    assert (assigned.worker_id, assigned.incarnation, assigned.rule) == ("w1", "i1", "most free slots (1)")


def strangers(lease: Lease) -> list[tuple[Lease, Holder]]:
    return [
        (Lease(lease.job_id, lease.epoch - 1, lease.generation), HOME),
        (Lease(lease.job_id, lease.epoch + 1, lease.generation), HOME),
        (Lease(lease.job_id, lease.epoch, lease.generation + 1), HOME),
        (lease, OTHER),
        (lease, REBORN),
    ]


@pytest.mark.parametrize("which", range(5))
def test_l1_i3_a_stale_or_foreign_lease_changes_nothing(bench: Bench, which: int) -> None:
    (job,) = bench.submit()
    lease, holder = strangers(bench.assign(job.id))[which]
    before = bench.job(job.id)
    step = event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_TERMINATE)
    bench.hear(holder, starts=[lease], absent=[lease])
    release(bench, lease, holder)
    assert bench.append(lease, chunk(1), holder=holder).stale
    assert bench.report(lease, holder, report_number=1, step=step) == 1, "acknowledged, so that it is forgotten"
    assert bench.finish(lease, holder)[0] is Disposition.STALE
    assert bench.job(job.id) == before
    assert bench.kinds(job.id) == ["submitted", "attempt_assigned"]


def test_a_start_may_be_said_again(bench: Bench) -> None:
    lease = bench.running()
    bench.hear(starts=[lease])
    assert bench.kinds(lease.job_id).count("attempt_started") == 1


def test_a_finish_implies_the_start(bench: Bench) -> None:
    (job,) = bench.submit()
    bench.finish(bench.assign(job.id))
    assert bench.kinds(job.id)[2:] == ["attempt_started", "succeeded"]


def test_l3_a_release_burns_no_attempt_and_queues_again(bench: Bench) -> None:
    (job,) = bench.submit()
    release(bench, bench.assign(job.id))
    back = bench.job(job.id)
    assert (back.state, back.attempt, back.epoch, back.worker) == (JobState.QUEUED, 0, 1, "")
    assert bench.events(job.id)[-1].attempt == 1, "of the attempt that went back"
    assert bench.assign(job.id).epoch == 2


def test_l3_an_attempt_that_has_started_is_not_released(bench: Bench) -> None:
    lease = bench.running()
    release(bench, lease)
    assert bench.job(lease.job_id).state is JobState.RUNNING


def test_e3_a_finish_before_its_output_or_reports_is_asked_to_wait(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, chunk(1))
    assert bench.finish(lease, outputs=2) == (Disposition.OUTPUT_MISSING, 1)
    assert bench.finish(lease, outputs=1, reports=1) == (Disposition.OUTPUT_MISSING, 1)
    assert bench.job(lease.job_id).state is JobState.RUNNING
    bench.append(lease, chunk(2))
    assert bench.finish(lease, outputs=2) == (Disposition.ACCEPTED, 2)


@pytest.mark.parametrize("end", ["succeeded", "retried", "failed", "returned", "cancelled"])
def test_i13_a_repeated_finish_is_accepted_and_changes_nothing(bench: Bench, end: str) -> None:
    lease = bench.running()
    parts: dict[str, Any] = {"returned": True} if end in ("returned", "cancelled") else {}
    if end in ("retried", "failed"):
        parts = {"failed": failure(FailureClass.CRASH if end == "retried" else FailureClass.INVALID)}
    if end == "cancelled":
        bench.cancel(lease.job_id)
    assert bench.finish(lease, **parts)[0] is Disposition.ACCEPTED
    before = bench.job(lease.job_id)
    assert bench.finish(lease, **parts)[0] is Disposition.ACCEPTED
    assert bench.job(lease.job_id) == before
    assert late_results(bench, lease) == []


def test_l2_a_late_finish_is_kept_aside_and_changes_nothing(bench: Bench) -> None:
    lease = bench.running()
    bench.lose()
    before = bench.job(lease.job_id)
    assert bench.finish(lease)[0] is Disposition.STALE
    assert bench.job(lease.job_id) == before
    assert late_results(bench, lease) == [(1, bench.clock.now(), b"the finish")]
    assert bench.finish(lease)[0] is Disposition.STALE
    assert len(late_results(bench, lease)) == 1


def test_l2_the_late_finish_of_a_lost_attempt_of_a_cancelled_job_is_kept_aside(bench: Bench) -> None:
    lease = bench.running()
    bench.cancel(lease.job_id)
    bench.lose()
    assert bench.job(lease.job_id).state is JobState.CANCELLED
    assert bench.finish(lease)[0] is Disposition.STALE
    assert len(late_results(bench, lease)) == 1


def test_a_result_past_its_limit_fails_the_attempt(bench: Bench) -> None:
    lease = bench.running()
    assert bench.finish(lease, succeeded=bytes(RESULT_BYTES_MAX + 1))[0] is Disposition.INVALID
    job = bench.job(lease.job_id)
    assert (job.state, job.failure and job.failure.failure_class) == (JobState.FAILED, FailureClass.INVALID)


def test_r3_a_failure_that_is_retried_waits_and_is_promoted_when_due(bench: Bench) -> None:
    lease = bench.running()
    assert bench.fail(lease, FailureClass.RATE_LIMITED) is Disposition.ACCEPTED
    job = bench.job(lease.job_id)
    assert (job.state, job.failures, job.worker) == (JobState.SCHEDULED, 1, "")
    failed = bench.events(job.id)[-1].attempt_failed
    assert failed.decision.action == job_pb2.RETRY_ACTION_RETRY
    assert failed.decision.rule == "class RATE_LIMITED is retried, attempt 1 of 3 failed"
    assert bench.cycle().next_due == job.due
    bench.clock.advance((job.due - bench.clock.now()) / SECOND)
    assert bench.assign(job.id).epoch == 2
    assert bench.kinds(job.id)[-2:] == ["queued", "attempt_assigned"]


def test_r1_a_retry_after_is_honoured(bench: Bench) -> None:
    lease = bench.running()
    bench.finish(lease, failed=failure(FailureClass.RATE_LIMITED, retry_after=90.5))
    assert bench.job(lease.job_id).due == bench.clock.now() + 90_500_000


def test_i6_attempts_end_with_max_attempts_and_the_last_failure_is_the_jobs(bench: Bench) -> None:
    lease = bench.running()
    for _ in range(2):
        bench.fail(lease, FailureClass.CRASH)
        bench.clock.advance(600)
        bench.cycle()
        lease = bench.assign(lease.job_id)
    bench.fail(lease, FailureClass.NETWORK)
    job = bench.job(lease.job_id)
    assert (job.state, job.failures, job.attempt) == (JobState.FAILED, 3, 3)
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.NETWORK
    assert bench.kinds(job.id)[-2:] == ["attempt_failed", "failed"]


def test_r1_a_policy_that_the_job_states_is_the_one_in_force(bench: Bench) -> None:
    spec = handler_spec()
    spec.retry_policy.max_attempts = 1
    lease = bench.running(spec)
    bench.fail(lease, FailureClass.CRASH)
    assert bench.job(lease.job_id).state is JobState.FAILED


def test_r2_quota_burns_no_attempt(bench: Bench) -> None:
    lease = bench.running()
    for _ in range(5):
        bench.finish(lease, failed=failure(FailureClass.QUOTA, retry_after=60))
        assert bench.job(lease.job_id).state is JobState.SCHEDULED
        bench.clock.advance(60)
        bench.cycle()
        lease = bench.assign(lease.job_id)
    assert bench.job(lease.job_id).failures == 0


def test_q7_what_a_draining_worker_returns_is_queued_at_once(bench: Bench) -> None:
    lease = bench.running()
    assert bench.finish(lease, returned=True, usage=USED)[0] is Disposition.ACCEPTED
    job = bench.job(lease.job_id)
    assert (job.state, job.failures, job.losses, job.usage) == (JobState.QUEUED, 0, 0, USED)
    assert bench.kinds(job.id)[-1] == "attempt_handed_back"


def test_l6_losses_end_as_poison_past_their_cap(bench: Bench) -> None:
    lease = bench.running()
    for losses in range(1, LOSSES_COUNT_MAX + 2):
        bench.lose()
        assert bench.job(lease.job_id).losses == losses
        if losses <= LOSSES_COUNT_MAX:
            lease = bench.assign(lease.job_id)
            bench.hear(starts=[lease])
    job = bench.job(lease.job_id)
    assert (job.state, job.failures) == (JobState.FAILED, 0)
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.POISON
    assert bench.kinds(job.id)[-2:] == ["attempt_lost", "failed"]


def test_l6_a_lost_job_goes_back_to_its_place(bench: Bench) -> None:
    lease = bench.running()
    bench.clock.advance(1)
    bench.submit(new_job())
    bench.lose()
    bench.assign(lease.job_id)


def test_l3_an_assignment_whose_worker_is_lost_before_the_start_burns_nothing(bench: Bench) -> None:
    (job,) = bench.submit()
    bench.assign(job.id)
    bench.lose()
    back = bench.job(job.id)
    assert (back.state, back.losses, back.attempt) == (JobState.QUEUED, 0, 0)


def dirty(bench: Bench, policy: task_pb2.ResumePolicy = task_pb2.RESUME_POLICY_UNSPECIFIED) -> Lease:
    lease = bench.running(claude_spec(policy))
    bench.append(lease, frame(1, "session-1"), frame(2, "session-1", dirty=True))
    return lease


def test_r6_a_dirty_attempt_that_is_lost_waits_for_its_holder_and_is_resumed_there(bench: Bench) -> None:
    lease = dirty(bench)
    bench.lose()
    job = bench.job(lease.job_id)
    assert (job.state, job.holder) == (JobState.QUEUED, "w1")
    assert job.due == bench.clock.now() + int(HOLDER_GRACE_SECONDS * SECOND)
    assert bench.cycle(offer(OTHER)).granted == ()
    (granted,) = bench.cycle(offer(REBORN)).granted
    assert granted.assignment.resume_claude_session_id == "session-1"
    bench.hear(REBORN, starts=[granted.lease])
    assert bench.job(job.id).dirty, "what it resumes has changed the world"


def test_r6_a_resumed_attempt_that_is_lost_is_resumed_again(bench: Bench) -> None:
    lease = dirty(bench)
    bench.lose()
    again = bench.assign(lease.job_id)
    bench.hear(starts=[again])
    bench.lose()
    assert bench.job(lease.job_id).holder == "w1"
    assert bench.events(lease.job_id)[-1].attempt_lost.decision.action == job_pb2.RETRY_ACTION_RESUME


def test_r6_a_resume_that_its_holder_declines_waits_on(bench: Bench) -> None:
    lease = dirty(bench)
    bench.lose()
    due = bench.job(lease.job_id).due
    release(bench, bench.assign(lease.job_id))
    bench.cycle()
    job = bench.job(lease.job_id)
    assert (job.state, job.holder, job.due) == (JobState.QUEUED, "w1", due)


def test_r6_a_holder_that_stays_away_ends_the_job_as_unknown(bench: Bench) -> None:
    lease = dirty(bench)
    bench.lose()
    bench.clock.advance(HOLDER_GRACE_SECONDS - 1)
    bench.cycle()
    assert bench.job(lease.job_id).state is JobState.QUEUED
    bench.clock.advance(1)
    bench.cycle()
    job = bench.job(lease.job_id)
    assert (job.state, job.failure and job.failure.failure_class) == (JobState.FAILED, FailureClass.UNKNOWN_OUTCOME)


def test_r6_a_dirty_attempt_that_fails_is_resumed_after_its_backoff(bench: Bench) -> None:
    lease = dirty(bench)
    bench.fail(lease, FailureClass.CRASH, outputs=2)
    job = bench.job(lease.job_id)
    assert (job.state, job.holder) == (JobState.SCHEDULED, "w1")
    bench.clock.advance((job.due - bench.clock.now()) / SECOND)
    bench.cycle()
    waiting = bench.job(job.id)
    assert (waiting.state, waiting.due) == (JobState.QUEUED, bench.clock.now() + int(HOLDER_GRACE_SECONDS * SECOND))
    bench.assign(job.id)


def test_r6_a_dirty_attempt_that_is_handed_back_is_resumed_by_its_holder(bench: Bench) -> None:
    lease = dirty(bench)
    bench.finish(lease, returned=True, outputs=2)
    assert bench.job(lease.job_id).holder == "w1"
    bench.assign(lease.job_id, REBORN)


def test_r6_policy_never_ends_a_lost_dirty_job_as_unknown_and_fresh_replays_it(bench: Bench) -> None:
    never = dirty(bench, task_pb2.RESUME_POLICY_NEVER)
    bench.lose()
    fresh = dirty(bench, task_pb2.RESUME_POLICY_FRESH)
    bench.lose()
    ended = bench.job(never.job_id)
    assert ended.failure is not None
    assert ended.failure.failure_class is FailureClass.UNKNOWN_OUTCOME
    assert (bench.job(fresh.job_id).state, bench.job(fresh.job_id).holder) == (JobState.QUEUED, "")


def test_r6_a_clean_attempt_that_is_lost_starts_afresh_anywhere(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    bench.append(lease, frame(1))
    bench.lose()
    again = bench.assign(lease.job_id, OTHER)
    assert again.epoch == 2


def test_x3_a_request_for_input_holds_the_job_and_its_withdrawal_lets_it_go(bench: Bench) -> None:
    lease = bench.running()
    ask = input_pb2.InputRequest(request_id="q1")
    assert bench.report(lease, report_number=1, input_requested=ask) == 1
    assert bench.report(lease, report_number=1, input_requested=ask) == 1
    assert bench.job(lease.job_id).state is JobState.WAITING_INPUT
    assert bench.report(lease, report_number=3, input_withdrawn={"request_id": "q1"}) == 1, "after a hole"
    assert bench.report(lease, report_number=2, input_withdrawn={"request_id": "q1"}) == 2
    assert bench.job(lease.job_id).state is JobState.RUNNING
    assert [event.report_number for event in bench.events(lease.job_id)[-2:]] == [1, 2]


def test_e3_a_report_waits_for_the_output_that_it_follows(bench: Bench) -> None:
    lease = bench.running()
    ask = input_pb2.InputRequest(request_id="q1")
    assert bench.report(lease, report_number=1, after_producer_sequence=1, input_requested=ask) == 0
    bench.append(lease, chunk(1))
    assert bench.report(lease, report_number=1, after_producer_sequence=1, input_requested=ask) == 1


def test_a_finish_for_a_job_that_never_was_is_stale(bench: Bench) -> None:
    lease = Lease(bench.submit()[0].id, 0, 1)
    assert bench.finish(lease)[0] is Disposition.STALE
    assert not isinstance(bench.cancel(lease.job_id), Refusal)


def test_an_event_outside_of_any_attempt_names_none(bench: Bench) -> None:
    lease = bench.running()
    bench.fail(lease, FailureClass.CRASH)
    bench.cancel(lease.job_id)
    failed, cancelled = bench.events(lease.job_id)[-2:]
    assert (failed.attempt, failed.epoch) == (1, 1)
    assert (cancelled.attempt, cancelled.epoch) == (0, 0)


def test_usage_adds_up_over_attempts(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, event_pb2.Output(producer_sequence=1, usage={"turns": 3}))
    assert bench.job(lease.job_id).attempt_usage == Usage(turns=3)
    bench.lose()
    again = bench.assign(lease.job_id)
    bench.finish(again, usage=USED)
    assert bench.job(lease.job_id).usage == Usage(turns=4, cost_usd_micros=7, api_micros=1500)
    assert bench.job(lease.job_id).started == Micros(bench.clock.now())
