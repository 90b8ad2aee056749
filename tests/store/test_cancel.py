"""Cancelling, in every state and against whatever else happens (C1, C2)."""

import pytest

from headrace.v1 import event_pb2, input_pb2
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import Cancellation, Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.core.wanted import StopCause, WantedEnd
from headrace_server.store.attempts.leases import Disposition, Lease
from headrace_server.store.attempts.workers import Release
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.records import reads
from store.driving import NAMESPACE, RESULT, Bench, chunk, failure, new_job, offer


def state(bench: Bench, lease: Lease) -> JobState:
    return bench.job(lease.job_id).state


def cancelled(bench: Bench, job_id: JobId) -> Job:
    job = bench.cancel(job_id)
    assert isinstance(job, Job)
    return job


def test_c1_a_queued_job_is_cancelled_at_once_and_never_starts(bench: Bench) -> None:
    (job,) = bench.submit()
    done = cancelled(bench, job.id)
    assert done.state is JobState.CANCELLED
    assert done.cancellation == Cancellation("enough", "tester", bench.clock.now())
    assert bench.cycle(offer()).granted == ()
    assert bench.kinds(job.id) == ["submitted", "cancelled"]


def test_c1_a_scheduled_job_is_cancelled_at_once_and_never_queued(bench: Bench) -> None:
    (job,) = bench.submit(new_job(schedule_time=Micros(bench.clock.now() + SECOND)))
    cancelled(bench, job.id)
    bench.clock.advance(2)
    assert bench.cycle(offer()).granted == ()
    assert bench.job(job.id).state is JobState.CANCELLED


def test_i7_a_job_in_backoff_is_cancelled_at_once_and_never_retried(bench: Bench) -> None:
    lease = bench.running()
    bench.fail(lease, FailureClass.CRASH)
    cancelled(bench, lease.job_id)
    bench.clock.advance(600)
    assert bench.cycle(offer()).granted == ()
    assert state(bench, lease) is JobState.CANCELLED


def test_c1_an_assigned_job_is_cancelled_once_its_worker_releases_it(bench: Bench) -> None:
    (job,) = bench.submit()
    lease = bench.assign(job.id)
    assert cancelled(bench, job.id).state is JobState.CANCELLING
    bench.hear(releases=[Release(lease, ReleaseCause.CANCELLED, "")])
    assert state(bench, lease) is JobState.CANCELLED
    assert bench.kinds(job.id)[-3:] == ["cancel_requested", "attempt_released", "cancelled"]


def test_c1_a_running_job_goes_down_the_ladder_and_its_worker_ends_it(bench: Bench) -> None:
    lease = bench.running()
    assert cancelled(bench, lease.job_id).state is JobState.CANCELLING
    bench.append(lease, chunk(1))
    bench.report(lease, report_number=1, step={"step": event_pb2.CANCEL_STEP_TERMINATE})
    assert bench.finish(lease, succeeded=None, outputs=1, reports=1)[0] is Disposition.ACCEPTED
    assert state(bench, lease) is JobState.CANCELLED
    assert bench.kinds(lease.job_id)[-4:] == ["cancel_requested", "output", "cancel_stepped", "cancelled"]
    assert bench.events(lease.job_id)[-1].attempt == 1


def test_c1_a_job_that_waits_for_a_person_is_cancelled_like_a_running_one(bench: Bench) -> None:
    lease = bench.running()
    bench.report(lease, report_number=1, input_requested=input_pb2.InputRequest(request_id="q"))
    assert cancelled(bench, lease.job_id).state is JobState.CANCELLING
    bench.finish(lease, succeeded=None, reports=1)
    assert bench.job(lease.job_id).open_inputs == ()


def test_c2_a_cancel_is_told_with_every_renewal_until_it_is_done(bench: Bench) -> None:
    lease = bench.running()
    cancelled(bench, lease.job_id)
    for counter in (2, 3):
        heard = bench.hear(counter=counter)
        assert [(one.job.id, one.end, one.cause, one.grace_micros) for one in heard.wanted] == [
            (lease.job_id, WantedEnd.CANCEL, StopCause.CANCEL, 10 * SECOND)
        ]
    bench.finish(lease, succeeded=None)
    assert bench.hear(counter=4).wanted == ()


def test_c2_cancelling_again_is_a_success_and_keeps_the_first_reason(bench: Bench) -> None:
    lease = bench.running()
    cancelled(bench, lease.job_id)
    again = bench.cancel(lease.job_id, "for another reason")
    assert isinstance(again, Job)
    assert again.cancellation is not None
    assert again.cancellation.reason == "enough"
    bench.finish(lease, succeeded=None)
    assert cancelled(bench, lease.job_id).state is JobState.CANCELLED
    assert bench.kinds(lease.job_id).count("cancel_requested") == 1


def test_c2_a_completion_that_committed_first_beats_a_cancel(bench: Bench) -> None:
    lease = bench.running()
    bench.finish(lease)
    refused = bench.cancel(lease.job_id)
    assert isinstance(refused, Refusal)
    assert (refused.reason, refused.metadata) == (Reason.JOB_ENDED, {"state": "SUCCEEDED"})
    assert state(bench, lease) is JobState.SUCCEEDED


def test_c2_a_cancel_that_committed_first_beats_a_result_which_is_kept_aside(bench: Bench) -> None:
    lease = bench.running()
    cancelled(bench, lease.job_id)
    assert bench.finish(lease, succeeded=RESULT)[0] is Disposition.ACCEPTED
    assert state(bench, lease) is JobState.CANCELLED
    assert len(bench.read(reads.late_results, bench.job(lease.job_id))) == 1


@pytest.mark.parametrize("failure_class", [FailureClass.CRASH, FailureClass.QUOTA, FailureClass.CANCELLED])
def test_c2_a_cancel_beats_a_retry(bench: Bench, failure_class: FailureClass) -> None:
    lease = bench.running()
    cancelled(bench, lease.job_id)
    bench.finish(lease, failed=failure(failure_class))
    assert state(bench, lease) is JobState.CANCELLED
    assert bench.kinds(lease.job_id)[-2:] == ["attempt_failed", "cancelled"]


def test_c2_a_cancel_beats_a_loss_and_a_return(bench: Bench) -> None:
    lost, returned = bench.running(), bench.running()
    for lease in (lost, returned):
        cancelled(bench, lease.job_id)
    bench.finish(returned, returned=True)
    bench.lose()
    assert (state(bench, lost), state(bench, returned)) == (JobState.CANCELLED, JobState.CANCELLED)
    assert bench.kinds(lost.job_id)[-2:] == ["attempt_lost", "cancelled"]


def test_c2_a_cancelled_assignment_whose_worker_is_lost_is_cancelled(bench: Bench) -> None:
    (job,) = bench.submit()
    bench.assign(job.id)
    cancelled(bench, job.id)
    bench.lose()
    assert bench.job(job.id).state is JobState.CANCELLED


def test_a_failed_job_is_not_cancelled(bench: Bench) -> None:
    lease = bench.running()
    bench.fail(lease, FailureClass.INVALID)
    assert isinstance(bench.cancel(lease.job_id), Refusal)


def test_a_job_of_another_namespace_is_not_there(bench: Bench) -> None:
    (job,) = bench.submit(new_job(namespace="other"))
    for job_id in (job.id, JobId(bytes(16))):
        refused = bench.write(cancel, NAMESPACE, job_id, "", "tester")
        assert isinstance(refused, Refusal)
        assert refused.reason is Reason.NOT_FOUND
