"""C3: what the times of a job lead to, with the clock turned by hand."""

from typing import Any
from unittest.mock import patch

import pytest

from headrace.v1 import event_pb2, input_pb2, job_pb2, outcome_pb2, queue_pb2
from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.states import JobState
from headrace_server.core.wanted import StopCause, WantedEnd
from headrace_server.store.attempts.due import has_silence_limits, listen_anew
from headrace_server.store.attempts.leases import Disposition, Holder, Lease, Snooze, held, start
from headrace_server.store.attempts.wanted import wanted_of
from headrace_server.store.attempts.worker_drains import drain_worker
from headrace_server.store.attempts.workers import lose_worker
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.records import reads
from store.driving import (
    HOME,
    NAMESPACE,
    Bench,
    OpenStore,
    chunk,
    claude_spec,
    failure,
    frame,
    handler_spec,
    new_job,
    offer,
)

OTHER = Holder("w2", "i1")


def spec(base: job_pb2.JobSpec | None = None, attempts: int = 3, **seconds: float) -> job_pb2.JobSpec:
    """With timeouts, in seconds by the beginning of their names, and retries that come at once."""
    made = base or handler_spec()
    for name, value in seconds.items():
        field = name if name == "cancel_grace" else f"{name}_timeout"
        getattr(made.timeouts, field).FromMicroseconds(int(value * SECOND))
    made.retry_policy.max_attempts = attempts
    made.retry_policy.initial_backoff.FromSeconds(0)
    return made


def look(bench: Bench, *, seconds: float = 0.0) -> None:
    """Time passes, then the scheduler looks at what is due; nobody has room."""
    bench.clock.advance(seconds)
    bench.cycle()


def failed(bench: Bench, job_id: JobId) -> outcome_pb2.Failure:
    """Why a job failed."""
    job = bench.job(job_id)
    assert job.failure is not None
    return outcome_pb2.Failure.FromString(job.failure.body)


def last(bench: Bench, job_id: JobId, kind: str) -> Any:
    """The last event of a kind."""
    return next(getattr(e, kind) for e in reversed(bench.events(job_id)) if e.WhichOneof("kind") == kind)


def wanted(bench: Bench, holder: Holder = HOME) -> list[tuple[JobId, WantedEnd, StopCause]]:
    """What a worker is told with its next renewal."""
    return [(one.job.id, one.end, one.cause) for one in bench.write(wanted_of, holder)]


def test_c3_the_times_of_a_job_for_later_count_from_its_schedule_time(bench: Bench) -> None:
    later = Micros(bench.clock.now() + 60 * SECOND)
    (job,) = bench.submit(new_job(spec=spec(queue=10, total=20), schedule_time=later))
    assert (job.start_by, job.end_by) == (later + 10 * SECOND, later + 20 * SECOND)


def stop(bench: Bench, lease: Lease, seconds: float, kind: TimeoutKind) -> None:
    """Time passes, and the attempt is stopped by it; not a moment earlier."""
    look(bench, seconds=seconds - 0.001)
    assert bench.job(lease.job_id).timed_out == 0
    look(bench, seconds=0.001)
    assert bench.job(lease.job_id).timed_out == kind
    assert last(bench, lease.job_id, "attempt_timed_out").timeout == kind


def test_c3_a_job_that_is_not_started_in_time_expires(bench: Bench) -> None:
    (job,) = bench.submit(new_job(spec=spec(queue=60)))
    look(bench, seconds=59.9)
    assert bench.job(job.id).state is JobState.QUEUED
    look(bench, seconds=0.1)
    assert bench.job(job.id).state is JobState.EXPIRED
    assert failed(bench, job.id).timeout == outcome_pb2.TIMEOUT_KIND_QUEUE
    assert failed(bench, job.id).failure_class == outcome_pb2.FAILURE_CLASS_TIMEOUT
    assert bench.cycle(offer()).granted == ()


def test_c3_a_job_that_has_started_no_longer_expires(bench: Bench) -> None:
    lease = bench.running(spec(queue=60))
    bench.fail(lease, FailureClass.CRASH)
    look(bench, seconds=100)
    assert bench.job(lease.job_id).state is JobState.QUEUED


def test_c3_a_long_attempt_is_stopped_and_retried(bench: Bench) -> None:
    lease = bench.running(spec(run=30))
    stop(bench, lease, 30, TimeoutKind.RUN)
    assert bench.job(lease.job_id).state is JobState.RUNNING, "its worker has to end it first"
    assert bench.finish(lease, succeeded=None)[0] is Disposition.ACCEPTED
    job = bench.job(lease.job_id)
    assert (job.state, job.failures, job.run_by, job.timed_out) == (JobState.SCHEDULED, 1, 0, 0)
    told = last(bench, job.id, "attempt_failed")
    assert told.failure.failure_class == outcome_pb2.FAILURE_CLASS_TIMEOUT
    assert told.failure.timeout == outcome_pb2.TIMEOUT_KIND_RUN
    assert told.decision.action == job_pb2.RETRY_ACTION_RETRY
    look(bench)
    again = bench.assign(job.id)
    bench.hear(starts=[again])
    stop(bench, again, 30, TimeoutKind.RUN)


def test_c3_attempts_that_run_too_long_fail_the_job_in_the_end(bench: Bench) -> None:
    lease = bench.running(spec(run=30, attempts=1))
    look(bench, seconds=30)
    bench.finish(lease, succeeded=None)
    assert bench.job(lease.job_id).state is JobState.FAILED
    assert failed(bench, lease.job_id).timeout == outcome_pb2.TIMEOUT_KIND_RUN


def test_c3_silence_ends_when_anything_is_heard(bench: Bench) -> None:
    lease = bench.running(spec(silence=10))
    look(bench, seconds=9)
    bench.append(lease, chunk(1))
    look(bench, seconds=9)
    bench.append(lease, event_pb2.Output(producer_sequence=2, progress={"done": 1, "total": 2}))
    look(bench, seconds=9)
    step = event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_TERMINATE)
    bench.report(lease, report_number=1, after_producer_sequence=2, step=step)
    stop(bench, lease, 10, TimeoutKind.SILENCE)
    bench.finish(lease, succeeded=None, outputs=2, reports=1)
    assert last(bench, lease.job_id, "attempt_failed").failure.timeout == outcome_pb2.TIMEOUT_KIND_SILENCE


def test_c3_output_that_is_dropped_past_the_cap_is_a_sign_of_life(bench: Bench) -> None:
    lease = bench.running(spec(silence=10), output_bytes_max=2)
    bench.append(lease, chunk(1, b"too much"))
    for number in range(2, 6):
        look(bench, seconds=9)
        bench.append(lease, chunk(number, b"too much"))
    assert bench.kinds(lease.job_id)[-1] == "output_truncated"
    stop(bench, lease, 10, TimeoutKind.SILENCE)


def test_l5_what_could_not_be_heard_while_a_worker_was_away_is_no_silence(bench: Bench) -> None:
    lease = bench.running(spec(silence=10))
    bench.clock.advance(9)
    bench.welcome(HOME, lease, reattach=True)
    look(bench, seconds=9)
    bench.append(lease, chunk(1))
    stop(bench, lease, 10, TimeoutKind.SILENCE)


def test_l5_silence_counts_anew_after_a_restart(reopen: OpenStore) -> None:
    bench = reopen()
    assert not bench.read(has_silence_limits)
    lease = bench.running(spec(silence=10))
    bench.clock.advance(60)
    bench = reopen()
    assert bench.read(has_silence_limits)
    bench.write(listen_anew)
    stop(bench, lease, 10, TimeoutKind.SILENCE)


def test_c3_while_a_person_is_asked_run_and_silence_stand_still_and_the_total_runs_on(bench: Bench) -> None:
    lease = bench.running(spec(run=30, silence=20, total=200))
    look(bench, seconds=10)
    bench.report(lease, report_number=1, input_requested=input_pb2.InputRequest(request_id="q"))
    look(bench, seconds=100)
    assert bench.job(lease.job_id).timed_out == 0
    bench.report(lease, report_number=2, input_withdrawn={"request_id": "q"})
    stop(bench, lease, 20, TimeoutKind.RUN)
    later = bench.running(spec(total=50), holder=OTHER)
    bench.report(later, OTHER, report_number=1, input_requested=input_pb2.InputRequest(request_id="q"))
    stop(bench, later, 50, TimeoutKind.TOTAL)


def test_c3_a_job_past_its_total_time_is_never_retried(bench: Bench) -> None:
    lease = bench.running(spec(total=30))
    stop(bench, lease, 30, TimeoutKind.TOTAL)
    bench.finish(lease, succeeded=None)
    assert bench.job(lease.job_id).state is JobState.FAILED
    assert failed(bench, lease.job_id).timeout == outcome_pb2.TIMEOUT_KIND_TOTAL
    assert bench.kinds(lease.job_id)[-2:] == ["attempt_failed", "failed"]
    assert last(bench, lease.job_id, "attempt_failed").decision.rule == "its total_timeout has passed"


@pytest.mark.parametrize("heard", [True, False])
def test_c3_total_time_counts_also_when_the_worker_is_lost(bench: Bench, heard: bool) -> None:
    lease = bench.running(spec(total=30))
    bench.clock.advance(30)
    if heard:
        bench.cycle()
    bench.write(lose_worker, HOME, "gone")
    assert bench.job(lease.job_id).state is JobState.FAILED
    assert failed(bench, lease.job_id).timeout == outcome_pb2.TIMEOUT_KIND_TOTAL


def test_c3_another_failure_after_the_total_time_is_told_and_the_job_fails_by_its_time(bench: Bench) -> None:
    lease = bench.running(spec(total=30))
    bench.clock.advance(31)
    bench.fail(lease, FailureClass.CRASH)
    told = last(bench, lease.job_id, "attempt_failed")
    assert told.failure.failure_class == outcome_pb2.FAILURE_CLASS_CRASH
    assert failed(bench, lease.job_id).timeout == outcome_pb2.TIMEOUT_KIND_TOTAL


def test_c3_a_retry_that_waits_past_the_total_time_ends_then(bench: Bench) -> None:
    retried = spec(total=30)
    lease = bench.running(retried)
    bench.finish(lease, failed=failure(FailureClass.CRASH, retry_after=100))
    assert bench.job(lease.job_id).state is JobState.SCHEDULED
    look(bench, seconds=30)
    assert bench.job(lease.job_id).state is JobState.FAILED
    assert failed(bench, lease.job_id).timeout == outcome_pb2.TIMEOUT_KIND_TOTAL


@pytest.mark.parametrize("begun", [True, False])
def test_c3_a_granted_job_whose_total_time_is_over_goes_back_and_ends(bench: Bench, begun: bool) -> None:
    (job,) = bench.submit(new_job(spec=spec(total=30)))
    lease = bench.assign(job.id)
    look(bench, seconds=30)
    assert wanted(bench) == [(job.id, WantedEnd.CANCEL, StopCause.TIMEOUT)]
    if begun:
        bench.finish(lease, succeeded=None)
    else:
        bench.write(lose_worker, HOME, "gone")
        look(bench)
    assert bench.job(job.id).state is (JobState.FAILED if begun else JobState.EXPIRED)
    assert failed(bench, job.id).timeout == outcome_pb2.TIMEOUT_KIND_TOTAL


def test_c3_a_success_from_before_the_worker_heard_of_it_counts(bench: Bench) -> None:
    lease = bench.running(spec(total=30))
    look(bench, seconds=30)
    bench.finish(lease)
    assert bench.job(lease.job_id).state is JobState.SUCCEEDED


def test_c2_a_cancel_beats_a_timeout(bench: Bench) -> None:
    lease = bench.running(spec(run=30))
    look(bench, seconds=30)
    bench.cancel(lease.job_id)
    assert wanted(bench) == [(lease.job_id, WantedEnd.CANCEL, StopCause.CANCEL)]
    bench.finish(lease, succeeded=None)
    assert bench.job(lease.job_id).state is JobState.CANCELLED


def test_c3_what_was_returned_after_its_time_was_over_has_timed_out(bench: Bench) -> None:
    lease = bench.running(spec(run=30))
    look(bench, seconds=30)
    bench.finish(lease, returned=True)
    assert bench.job(lease.job_id).failures == 1


def test_r6_an_attempt_that_changed_the_world_is_resumed_where_it_ran(bench: Bench) -> None:
    lease = bench.running(spec(claude_spec(), run=30))
    bench.append(lease, frame(1, "s1", dirty=True))
    look(bench, seconds=30)
    bench.finish(lease, succeeded=None, outputs=1)
    job = bench.job(lease.job_id)
    assert (job.state, job.holder) == (JobState.SCHEDULED, HOME.worker)
    assert last(bench, job.id, "attempt_failed").decision.action == job_pb2.RETRY_ACTION_RESUME
    look(bench)
    (granted,) = bench.cycle(offer()).granted
    assert granted.assignment.resume_claude_session_id == "s1"


def test_c3_a_timeout_is_told_at_once_and_with_every_renewal_until_it_is_done(bench: Bench) -> None:
    lease = bench.running(spec(run=30, cancel_grace=2))
    bench.effects.clear()
    look(bench, seconds=30)
    (told,) = [one for effects in bench.effects for one in effects.stopped]
    expected = (lease.job_id, WantedEnd.CANCEL, StopCause.TIMEOUT, 2 * SECOND)
    assert (told.job.id, told.end, told.cause, told.grace_micros) == expected
    for counter in (2, 3):
        assert wanted(bench) == [expected[:3]]
        (again,) = bench.hear(counter=counter).wanted
        assert again.grace_micros == 2 * SECOND
    assert [one.job.id for one in bench.welcome(HOME, lease, reattach=True).wanted] == [lease.job_id]
    bench.finish(lease, succeeded=None)
    assert bench.hear(counter=4).wanted == ()


def test_l2_the_late_result_of_a_stopped_attempt_is_kept_aside(bench: Bench) -> None:
    lease = bench.running(spec(run=30))
    look(bench, seconds=30)
    bench.lose()
    before = bench.job(lease.job_id)
    assert bench.finish(lease)[0] is Disposition.STALE
    assert bench.job(lease.job_id) == before
    assert [epoch for epoch, _, _ in bench.read(reads.late_results, before)] == [lease.epoch]


def test_c3_a_queue_gives_what_the_job_leaves_open_and_zero_means_none(bench: Bench) -> None:
    queue = queue_pb2.Queue(name="slow")
    queue.timeouts.run_timeout.FromSeconds(30)
    queue.timeouts.silence_timeout.FromSeconds(10)
    queue.timeouts.cancel_grace.FromSeconds(3)
    make_queue(bench, queue)
    plain = bench.running(queue="slow")
    own = bench.running(spec(run=50, silence=0), queue="slow", holder=OTHER)
    now = bench.clock.now()
    times = [(bench.job(one.job_id).run_by - now, bench.job(one.job_id).silence) for one in (plain, own)]
    assert times == [(30 * SECOND, 10 * SECOND), (50 * SECOND, 0)]
    bench.cancel(plain.job_id)
    (told,) = bench.hear(counter=2).wanted
    assert told.grace_micros == 3 * SECOND


def make_queue(bench: Bench, queue: queue_pb2.Queue) -> None:
    """Creates a queue."""
    bench.write(create_queue, NAMESPACE, queue, "tester")


def drain(bench: Bench, queue: str, seconds: float) -> None:
    """Drains a queue; what still runs is handed back after a while."""
    until = bench.clock.now() + int(seconds * SECOND)
    bench.write(
        lambda ledger: ledger.insert(
            "queue_stops",
            ("namespace", "queue", "kind", "actor", "reason", "time", "until"),
            [(NAMESPACE, queue, 2, "tester", "", ledger.now, until)],
        )
    )


def test_q7_a_drained_queue_hands_back_what_still_runs_after_its_time(bench: Bench) -> None:
    make_queue(bench, queue_pb2.Queue(name="other"))
    lease = bench.running()
    elsewhere = bench.running(queue="other")
    drain(bench, "default", 60)
    assert wanted(bench) == []
    bench.clock.advance(60)
    assert wanted(bench) == [(lease.job_id, WantedEnd.RETURN, StopCause.DRAIN)]
    before = bench.job(lease.job_id)
    bench.finish(lease, returned=True)
    job = bench.job(lease.job_id)
    assert (job.state, job.failures, job.losses, job.rank) == (JobState.QUEUED, 0, 0, before.rank)
    assert wanted(bench) == []
    assert bench.job(elsewhere.job_id).state is JobState.RUNNING


def test_q7_a_worker_whose_grace_is_over_hands_back_everything(bench: Bench) -> None:
    bench.welcome()
    leases = [bench.running(), bench.running()]
    bench.write(drain_worker, HOME.worker, "tester", 60 * SECOND, exits=False)
    assert wanted(bench) == []
    bench.clock.advance(60)
    assert wanted(bench) == [(lease.job_id, WantedEnd.RETURN, StopCause.DRAIN) for lease in leases]
    assert {one.end for one in bench.welcome(HOME, *leases, reattach=True).wanted} == {WantedEnd.RETURN}


def test_c3_a_start_reads_nothing_whether_there_are_timeouts_or_not(bench: Bench) -> None:
    for described in (None, spec(run=30, silence=5)):
        (job,) = bench.submit(new_job(spec=described))
        lease = bench.assign(job.id)

        def begin(ledger: Ledger, lease: Lease = lease) -> None:
            held_job = held(ledger, HOME, lease)
            assert held_job is not None
            with patch.object(ledger, "query", None), patch.object(ledger, "look_up", None):
                start(ledger, held_job)

        bench.write(begin)


def test_r5_a_snooze_that_would_pass_the_total_time_ends_with_it(bench: Bench) -> None:
    lease = bench.running(spec(total=30))
    bench.finish(lease, snoozed=Snooze(100 * SECOND, "later"))
    assert bench.job(lease.job_id).state is JobState.SCHEDULED
    look(bench, seconds=30)
    assert failed(bench, lease.job_id).timeout == outcome_pb2.TIMEOUT_KIND_TOTAL
