"""R5: work that puts itself off. It burns no attempt and has its own cap."""

import pytest

from headrace.v1 import job_pb2, outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.ids import SECOND
from headrace_server.core.job import Usage
from headrace_server.core.limits import REASON_CHARACTERS_MAX
from headrace_server.core.states import JobState
from headrace_server.rpc.messages.worker_message import word_of
from headrace_server.store.attempts.leases import Disposition, Finish, Lease, Snooze
from headrace_server.store.records import reads
from store.driving import HOME, Bench, claude_spec, frame, handler_spec, offer

LATER = Snooze(30 * SECOND, "the source is not ready")


def capped(snoozes: int) -> job_pb2.JobSpec:
    spec = handler_spec()
    spec.retry_policy.max_snoozes = snoozes
    return spec


def next_attempt(bench: Bench, lease: Lease) -> Lease:
    """The attempt after a snooze."""
    bench.clock.advance(30)
    (granted,) = bench.cycle(offer()).granted
    assert granted.lease.job_id == lease.job_id
    bench.hear(starts=[granted.lease])
    return granted.lease


def test_r5_a_snoozed_job_runs_again_when_it_said_and_burns_no_attempt(bench: Bench) -> None:
    lease = bench.running()
    assert bench.finish(lease, snoozed=LATER, usage=Usage(turns=2))[0] is Disposition.ACCEPTED
    job = bench.job(lease.job_id)
    assert (job.state, job.due) == (JobState.SCHEDULED, bench.clock.now() + 30 * SECOND)
    assert (job.failures, job.losses, job.snoozes, job.attempt) == (0, 0, 1, 1)
    assert job.usage.turns == 2
    (told,) = [event.attempt_snoozed for event in bench.events(job.id) if event.HasField("attempt_snoozed")]
    assert (told.reason, told.next_time.seconds, told.usage.turns) == (LATER.reason, job.due // SECOND, 2)
    bench.clock.advance(29)
    assert bench.cycle(offer()).granted == ()
    bench.clock.advance(-29)
    again = next_attempt(bench, lease)
    assert (again.epoch, bench.job(job.id).attempt) == (2, 2)
    bench.finish(again)
    assert bench.job(job.id).state is JobState.SUCCEEDED


def test_r5_saying_it_again_puts_nothing_off_again(bench: Bench) -> None:
    lease = bench.running()
    bench.finish(lease, snoozed=LATER)
    before = bench.job(lease.job_id)
    assert bench.finish(lease, snoozed=LATER)[0] is Disposition.ACCEPTED
    assert bench.job(lease.job_id) == before


def test_r5_past_their_cap_snoozes_fail_the_job(bench: Bench) -> None:
    lease = bench.running(capped(2))
    for _ in range(2):
        bench.finish(lease, snoozed=LATER)
        lease = next_attempt(bench, lease)
    bench.finish(lease, snoozed=LATER)
    job = bench.job(lease.job_id)
    assert (job.state, job.snoozes) == (JobState.FAILED, 2)
    assert job.failure is not None
    failure = outcome_pb2.Failure.FromString(job.failure.body)
    assert failure.failure_class == outcome_pb2.FAILURE_CLASS_ERROR
    assert failure.message == "snoozed 3 times, 2 are allowed"
    (told,) = [event.attempt_failed for event in bench.events(job.id) if event.HasField("attempt_failed")]
    assert (told.decision.action, told.decision.rule) == (job_pb2.RETRY_ACTION_FAIL, "max_snoozes 2 reached")


def test_r5_a_job_that_allows_no_snooze_fails_at_the_first(bench: Bench) -> None:
    lease = bench.running(capped(0))
    bench.finish(lease, snoozed=LATER)
    assert bench.job(lease.job_id).state is JobState.FAILED


def test_c2_a_cancel_beats_a_snooze(bench: Bench) -> None:
    lease = bench.running()
    bench.cancel(lease.job_id)
    bench.finish(lease, snoozed=LATER)
    assert bench.job(lease.job_id).state is JobState.CANCELLED


def test_c1_a_snoozed_job_is_cancelled_at_once(bench: Bench) -> None:
    lease = bench.running()
    bench.finish(lease, snoozed=LATER)
    bench.cancel(lease.job_id)
    assert bench.job(lease.job_id).state is JobState.CANCELLED


def test_l2_a_late_snooze_is_kept_aside_and_puts_nothing_off(bench: Bench) -> None:
    lease = bench.running()
    bench.lose()
    before = bench.job(lease.job_id)
    assert bench.finish(lease, snoozed=LATER)[0] is Disposition.STALE
    assert bench.job(lease.job_id) == before
    assert len(bench.read(reads.late_results, before)) == 1


def test_r6_an_attempt_that_changed_the_world_cannot_be_put_off_and_replayed(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    bench.append(lease, frame(1, "s1", dirty=True))
    bench.finish(lease, snoozed=LATER, outputs=1)
    job = bench.job(lease.job_id)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert outcome_pb2.Failure.FromString(job.failure.body).failure_class == outcome_pb2.FAILURE_CLASS_INVALID


@pytest.mark.parametrize(("seconds", "kept"), [(-5, 0.001), (0, 0.001), (7, 7), (10**9, 31 * 86400)])
def test_r5_what_a_worker_asks_for_is_bounded(seconds: int, kept: float) -> None:
    request = pb.ConnectRequest()
    finish = request.finishes.add()
    finish.lease.job_id = "018bcfe5-6800-7c21-a29f-6fbed82c07cd"
    finish.snoozed.delay.seconds = seconds
    finish.snoozed.reason = "x" * 5000
    (said,) = word_of(HOME, request, ()).finishes
    assert isinstance(said, Finish)
    assert said.snoozed == Snooze(round(kept * SECOND), "x" * REASON_CHARACTERS_MAX)
    assert (said.succeeded, said.failed, said.cancelled) == (None, None, False)
