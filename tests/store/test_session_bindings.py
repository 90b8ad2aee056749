"""Where a session is: its binding, the worker that its turns wait for, and what becomes of it without that (X1, R6)."""

import pytest

from headrace.v1 import outcome_pb2, session_pb2, task_pb2, worker_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, job_id_text
from headrace_server.core.job import CancelCause, Job
from headrace_server.core.limits import HOLDER_GRACE_SECONDS
from headrace_server.core.states import JobState
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.sessions.bindings import TRANSCRIPT_SIGN
from store.conversing import CONVERSATION, converse, session_spec
from store.driving import HOME, NAMESPACE, Bench, frame, offer

AGAIN = Holder("w1", "i2")
OTHER = Holder("w2", "i1")


def granted_session(bench: Bench, holder: Holder = HOME) -> tuple[Lease, worker_pb2.SessionTurn]:
    """What the next grant says of its session."""
    (granted,) = bench.cycle(offer(holder)).granted
    return granted.lease, granted.assignment.session


def wait(bench: Bench, seconds: float) -> None:
    """Lets time pass, and a cycle look."""
    bench.clock.advance(seconds)
    bench.cycle()


def test_x1_a_binding_lasts_as_long_as_the_start_of_its_worker(bench: Bench) -> None:
    session = converse(bench)
    assert session.row.binding_epoch == 0
    session.turn()
    session.turn()
    assert (session.row.worker, session.row.incarnation, session.row.binding_epoch) == ("w1", "i1", 1)
    bench.welcome(AGAIN)
    session.turn(holder=AGAIN)
    assert (session.row.incarnation, session.row.binding_epoch) == ("i2", 2)


def test_x1_the_worker_is_told_of_the_session(bench: Bench) -> None:
    session = converse(bench)
    first = session.say()
    lease, told = granted_session(bench)
    assert (told.session_id, told.binding_epoch, told.turn) == (job_id_text(session.id), 1, 1)
    assert (told.claude_session_id, told.fork_session_id, told.idle_timeout.seconds) == ("", "", 300)
    bench.hear(starts=[lease])
    bench.append(lease, frame(1, CONVERSATION))
    bench.finish(lease, outputs=1)
    session.say()
    _, told = granted_session(bench)
    assert (told.turn, told.claude_session_id, told.binding_epoch) == (2, CONVERSATION, 1)
    assert bench.job(first.id).claude_session == CONVERSATION


def test_x1_an_idle_timeout_of_zero_is_told(bench: Bench) -> None:
    spec = session_pb2.SessionSpec()
    spec.idle_timeout.FromSeconds(0)
    session = converse(bench, spec)
    session.say()
    _, told = granted_session(bench)
    assert told.HasField("idle_timeout")
    assert told.idle_timeout.seconds == 0


def test_x1_a_first_turn_may_run_anywhere_and_the_next_ones_where_it_was(bench: Bench) -> None:
    session = converse(bench)
    session.turn(holder=OTHER)
    following = session.say()
    assert following.holder == "w2"
    assert bench.cycle(offer(HOME, 4)).granted == ()
    assert [one.lease.job_id for one in bench.cycle(offer(OTHER)).granted] == [following.id]


def test_x1_without_a_conversation_nobody_is_waited_for(bench: Bench) -> None:
    session = converse(bench)
    first = session.say()
    bench.finish(session.start(first.id, talks=False))
    assert session.row.claude_session == ""
    following = session.say()
    assert following.holder == ""
    bench.finish(session.start(following.id, OTHER), OTHER, outputs=1)
    assert (session.row.worker, session.row.binding_epoch) == ("w2", 2)


def test_r6_a_clean_retry_says_the_message_again_in_the_same_conversation(bench: Bench) -> None:
    session = converse(bench)
    first = session.say()
    bench.fail(session.start(first.id), FailureClass.CRASH, outputs=1)
    wait(bench, 2.0)
    (granted,) = bench.cycle(offer()).granted
    assert granted.assignment.resume_claude_session_id == ""
    assert granted.assignment.session.claude_session_id == CONVERSATION


def test_r6_a_dirty_retry_is_resumed(bench: Bench) -> None:
    session = converse(bench)
    first = session.say()
    bench.fail(session.start(first.id, dirty=True), FailureClass.CRASH, outputs=1)
    wait(bench, 2.0)
    (granted,) = bench.cycle(offer()).granted
    assert granted.assignment.resume_claude_session_id == CONVERSATION


def test_r6_a_dirty_attempt_of_a_policy_that_runs_afresh_says_the_message_again(bench: Bench) -> None:
    session = converse(bench, session_spec(resume_policy=task_pb2.RESUME_POLICY_FRESH))
    first = session.say()
    bench.fail(session.start(first.id, dirty=True), FailureClass.CRASH, outputs=1)
    wait(bench, 2.0)
    (granted,) = bench.cycle(offer()).granted
    assert granted.assignment.resume_claude_session_id == ""
    assert granted.worker == "w1"


@pytest.mark.parametrize("dirty", [False, True])
def test_r6_a_lost_turn_waits_for_the_worker_that_has_the_conversation(bench: Bench, dirty: bool) -> None:
    session = converse(bench)
    session.turn()
    job = session.say()
    session.start(job.id, dirty=dirty)
    bench.lose()
    lost = bench.job(job.id)
    assert (lost.state, lost.holder) == (JobState.QUEUED, "w1")
    assert bench.cycle(offer(OTHER, 4)).granted == ()
    bench.welcome(AGAIN)
    (granted,) = bench.cycle(offer(AGAIN)).granted
    assert granted.assignment.resume_claude_session_id == (CONVERSATION if dirty else "")
    assert granted.assignment.session.binding_epoch == 2


def test_r6_a_clean_first_turn_that_is_lost_starts_fresh_anywhere(bench: Bench) -> None:
    session = converse(bench)
    job = session.say()
    session.start(job.id)
    bench.lose()
    assert (bench.job(job.id).holder, session.row.claude_session) == ("", "")
    lease, told = granted_session(bench, OTHER)
    assert (told.claude_session_id, told.binding_epoch) == ("", 2)
    bench.hear(OTHER, starts=[lease])
    bench.append(lease, frame(1, CONVERSATION), holder=OTHER)
    assert (session.row.claude_session, session.row.worker) == (CONVERSATION, "w2")


def test_r6_a_dirty_first_turn_that_is_lost_waits(bench: Bench) -> None:
    session = converse(bench)
    job = session.say()
    session.start(job.id, dirty=True)
    bench.lose()
    assert (bench.job(job.id).holder, session.row.claude_session) == ("w1", CONVERSATION)


def test_r6_a_turn_waits_for_a_busy_worker_for_as_long_as_that_is_there(bench: Bench) -> None:
    bench.welcome(HOME)
    session = converse(bench)
    session.turn()
    job = session.say()
    for _ in range(3):
        wait(bench, HOLDER_GRACE_SECONDS + 1)
        assert bench.job(job.id).state is JobState.QUEUED
    causes = [event.queued.cause for event in bench.events(job.id) if event.HasField("queued")]
    assert len(causes) == 3
    assert bench.job(job.id).queued == job.queued
    bench.finish(session.start(job.id), outputs=1)


def test_r6_a_session_is_lost_when_its_worker_stays_away(bench: Bench) -> None:
    bench.welcome(HOME)
    session = converse(bench)
    session.turn()
    job, behind = session.say(), session.say()
    wait(bench, HOLDER_GRACE_SECONDS - 10)
    bench.lose()
    wait(bench, HOLDER_GRACE_SECONDS - 10)
    assert bench.job(job.id).state is JobState.QUEUED, "the grace counts from the loss of the worker"
    wait(bench, 11)
    failed, cancelled = bench.job(job.id), bench.job(behind.id)
    assert failed.state is JobState.FAILED
    assert failed.failure is not None
    assert failed.failure.failure_class is FailureClass.UNKNOWN_OUTCOME
    row = session.row
    assert row.lost
    assert "did not come back" in row.end_reason
    assert cancelled.state is JobState.CANCELLED
    assert cancelled.cancellation is not None
    assert cancelled.cancellation.cause is CancelCause.SESSION_CLOSED
    assert "lost" in cancelled.cancellation.reason


def test_r6_a_worker_that_comes_back_within_the_grace_goes_on(bench: Bench) -> None:
    bench.welcome(HOME)
    session = converse(bench)
    session.turn()
    job = session.say()
    bench.lose()
    wait(bench, HOLDER_GRACE_SECONDS - 10)
    bench.welcome(AGAIN)
    wait(bench, 60)
    bench.finish(session.start(job.id, AGAIN), AGAIN, outputs=1)
    assert bench.job(job.id).state is JobState.SUCCEEDED


def test_r6_a_turn_that_waits_for_its_worker_can_be_cancelled(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    job, behind = session.say(), session.say()
    cancelled = bench.write(cancel, NAMESPACE, job.id, "", "tester")
    assert isinstance(cancelled, Job)
    assert bench.job(job.id).state is JobState.CANCELLED
    assert bench.job(behind.id).holder == "w1"


def test_a_released_turn_goes_back_to_its_worker(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    job = session.say()
    bench.assign(job.id)
    bench.lose()
    assert (bench.job(job.id).state, bench.job(job.id).holder) == (JobState.QUEUED, "w1")
    bench.welcome(AGAIN)
    bench.finish(session.start(job.id, AGAIN), AGAIN, outputs=1)
    assert session.row.ended_turns == 2


def test_x1_a_session_that_was_bound_anew_has_its_older_process_ended(bench: Bench) -> None:
    session = converse(bench)
    first = session.say()
    session.start(first.id, talks=False)
    assert named(bench, HOME, (session.id, 1)) == ()
    bench.lose()
    session.start(first.id, OTHER)
    assert named(bench, HOME, (session.id, 1)) == (session.id,)
    assert named(bench, OTHER, (session.id, 2)) == ()
    assert named(bench, OTHER, (session.id, 1)) == (session.id,)


def test_x4_a_closed_session_has_its_process_ended_once_its_turn_has(bench: Bench) -> None:
    session = converse(bench)
    job = session.say()
    lease = session.start(job.id)
    session.close(finish_turn=True)
    assert named(bench, HOME, (session.id, 1)) == ()
    bench.finish(lease, outputs=1)
    assert named(bench, HOME, (session.id, 1)) == (session.id,)


def test_x4_what_a_fork_goes_on_from_is_kept_until_it_has_its_own(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    fork = session.fork()
    session.close()
    assert named(bench, HOME, (session.id, 1)) == ()
    job = fork.say()
    bench.append(_started(bench, job.id), frame(1, "conversation-2"))
    assert named(bench, HOME, (session.id, 1), (fork.id, 1)) == (session.id,)


def test_a_session_that_nobody_knows_has_its_process_ended(bench: Bench) -> None:
    assert named(bench, HOME, (JobId(bytes(16)), 1)) == (JobId(bytes(16)),)


def test_x4_a_fork_begins_on_the_worker_that_has_what_it_goes_on_from(bench: Bench) -> None:
    session = converse(bench)
    session.turn(holder=OTHER)
    fork = session.fork()
    assert (fork.row.forked_from, fork.row.binding_epoch, fork.row.claude_session) == (session.id, 0, "")
    job = fork.say()
    assert (job.holder, bench.cycle(offer(HOME, 4)).granted) == ("w2", ())
    lease, told = granted_session(bench, OTHER)
    assert (told.claude_session_id, told.fork_session_id) == ("", job_id_text(session.id))
    assert told.fork_claude_session_id == CONVERSATION
    bench.hear(OTHER, starts=[lease])
    bench.append(lease, frame(1, "conversation-2"), holder=OTHER)
    bench.finish(lease, OTHER, outputs=1)
    fork.say()
    _, told = granted_session(bench, OTHER)
    assert (told.claude_session_id, told.fork_session_id) == ("conversation-2", "")
    assert session.row.claude_session == CONVERSATION


def test_r6_a_clean_first_turn_of_a_fork_that_is_lost_forks_again(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    fork = session.fork()
    job = fork.say()
    bench.append(_started(bench, job.id), frame(1, "conversation-2"))
    bench.lose()
    assert (bench.job(job.id).holder, fork.row.claude_session) == ("w1", "")
    bench.welcome(AGAIN)
    _, told = granted_session(bench, AGAIN)
    assert (told.claude_session_id, told.fork_claude_session_id) == ("", CONVERSATION)


def test_x4_the_first_turn_of_a_fork_that_is_tried_again_is_told_what_it_goes_on_from(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    fork = session.fork()
    job = fork.say()
    lease = _started(bench, job.id)
    bench.append(lease, frame(1, "conversation-2"))
    bench.finish(lease, failed=outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_NETWORK), outputs=1)
    bench.clock.advance(60.0)
    _, told = granted_session(bench, HOME)
    assert (told.claude_session_id, told.fork_session_id) == ("conversation-2", job_id_text(session.id))


def test_a_turn_that_failed_for_good_leaves_the_session_where_it_was(bench: Bench) -> None:
    session = converse(bench)
    job = session.turn(failed=outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_INVALID))
    assert job.state is JobState.FAILED
    assert session.say().holder == "w1"


def test_a_session_is_lost_when_its_worker_says_that_the_conversation_is_gone(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    job, behind = session.say(), session.say()
    gone = outcome_pb2.Failure(
        failure_class=outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME, message="it is not there", sign=TRANSCRIPT_SIGN
    )
    bench.finish(session.start(job.id, talks=False), failed=gone)
    assert [bench.job(one.id).state for one in (job, behind)] == [JobState.FAILED, JobState.CANCELLED]
    assert (session.row.lost, session.row.end_reason) == (True, "it is not there")


def test_the_time_of_a_session_is_that_of_its_latest_turn(bench: Bench) -> None:
    session = converse(bench)
    created = session.row.activity
    bench.clock.advance(5.0)
    job = session.say()
    assert session.row.activity == created + 5 * SECOND
    bench.clock.advance(5.0)
    lease = session.start(job.id)
    assert session.row.activity == created + 10 * SECOND
    bench.clock.advance(5.0)
    bench.finish(lease, outputs=1)
    assert session.row.activity == created + 15 * SECOND
    assert session.row.updated == created


def test_a_worker_that_keeps_a_conversation_is_told_when_the_session_is_over(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    unknown = JobId(bytes(16))
    assert bench.hear(counter=1, kept_sessions=(session.id, unknown)).ended_sessions == ()
    session.close()
    assert bench.hear(counter=2, kept_sessions=(session.id, unknown)).ended_sessions == (session.id,)


def test_a_worker_that_keeps_a_conversation_is_told_when_another_has_the_session(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    bench.welcome(OTHER)
    assert bench.hear(OTHER, counter=1, kept_sessions=(session.id,)).ended_sessions == (session.id,)


def named(bench: Bench, holder: Holder, *held: tuple[JobId, int]) -> tuple[JobId, ...]:
    """Which of the sessions that a worker holds it is told to end."""
    return bench.hear(holder, counter=1, sessions=held).ended_sessions


def _started(bench: Bench, job_id: JobId) -> Lease:
    lease = bench.assign(job_id)
    bench.hear(starts=[lease])
    return lease
