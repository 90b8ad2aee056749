"""A session that has a snapshot goes on at another worker when its own is lost: when, how, and what can't (R6, X1)."""

import hashlib

import pytest

from headrace.v1 import event_pb2, outcome_pb2, session_pb2, task_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.limits import HOLDER_GRACE_SECONDS
from headrace_server.core.states import JobState
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.sessions.bindings import SNAPSHOT_SIGN
from store.conversing import CONVERSATION, Conversing, converse
from store.driving import HOME, Bench, offer
from store.snapshotting import WHOLE, latest, shipped, snapshot, turn

AGAIN = Holder("w1", "i2")
OTHER = Holder("w2", "i1")


def causes(bench: Bench, job_id: JobId) -> list[int]:
    return [event.queued.cause for event in bench.events(job_id) if event.HasField("queued")]


def folder_spec() -> session_pb2.SessionSpec:
    spec = shipped()
    spec.snapshots = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT
    spec.task.workspace.folder = "/srv/shared"
    return spec


@pytest.fixture
def session(bench: Bench) -> Conversing:
    """One of which snapshots are taken, on a worker that is known."""
    bench.welcome(HOME)
    return converse(bench, shipped())


def test_r6_a_session_whose_worker_is_lost_goes_on_elsewhere_at_once(bench: Bench, session: Conversing) -> None:
    turn(session)
    bench.lose()
    following = session.say()
    assert following.holder == ""
    (granted,) = bench.cycle(offer(OTHER)).granted
    told = granted.assignment.session
    assert (told.binding_epoch, told.turn, told.claude_session_id) == (2, 2, CONVERSATION)
    assert (told.snapshot.turn, told.snapshot.worker_id, told.snapshots) == (1, "w1", WHOLE)
    assert told.snapshot.sha256 == hashlib.sha256(b"archive").hexdigest()
    assert granted.assignment.resume_claude_session_id == ""
    (assigned,) = [event.attempt_assigned for event in bench.events(following.id) if event.HasField("attempt_assigned")]
    assert (assigned.session_move.from_worker_id, assigned.session_move.snapshot_turn) == ("w1", 1)
    assert (session.row.worker, session.row.binding_epoch) == ("w2", 2)


def test_r6_turns_that_wait_when_their_worker_is_lost_are_free(bench: Bench, session: Conversing) -> None:
    turn(session)
    waiting, behind = session.say(), session.say()
    assert waiting.holder == "w1"
    bench.lose()
    freed = bench.job(waiting.id)
    assert (freed.holder, freed.due, freed.queued) == ("", Micros(0), waiting.queued)
    assert causes(bench, waiting.id) == [event_pb2.QUEUED_CAUSE_HOLDER_LOST]
    lease = session.start(waiting.id, OTHER)
    bench.append(lease, *snapshot(2), holder=OTHER)
    bench.finish(lease, OTHER, outputs=4)
    assert bench.job(behind.id).holder == "w2", "it goes on where the session is now"


def test_r6_a_worker_that_is_merely_away_is_waited_for(bench: Bench, session: Conversing) -> None:
    turn(session)
    assert session.say().holder == "w1"
    assert bench.cycle(offer(OTHER, 4)).granted == ()


def test_r6_a_worker_that_comes_back_first_goes_on_itself(bench: Bench, session: Conversing) -> None:
    turn(session)
    bench.lose()
    bench.welcome(AGAIN)
    job = session.say()
    assert job.holder == "w1"
    (granted,) = bench.cycle(offer(AGAIN)).granted
    assert granted.assignment.session.snapshot.binding_epoch == 1
    (assigned,) = [event.attempt_assigned for event in bench.events(job.id) if event.HasField("attempt_assigned")]
    assert not assigned.HasField("session_move")


def test_r6_a_clean_turn_that_is_lost_starts_afresh_from_the_snapshot(bench: Bench, session: Conversing) -> None:
    turn(session)
    job = session.say()
    session.start(job.id)
    bench.lose()
    assert bench.job(job.id).holder == ""
    (granted,) = bench.cycle(offer(OTHER)).granted
    assert granted.assignment.resume_claude_session_id == ""
    assert (granted.assignment.session.snapshot.turn, granted.assignment.session.binding_epoch) == (1, 2)


def test_r6_an_assignment_that_nobody_started_moves_too(bench: Bench, session: Conversing) -> None:
    turn(session)
    job = session.say()
    bench.assign(job.id)
    bench.lose()
    freed = bench.job(job.id)
    assert (freed.holder, freed.attempt) == ("", 0)
    session.start(job.id, OTHER)


def test_r6_a_dirty_turn_waits_for_its_worker_and_only_the_turn_is_lost_with_it(
    bench: Bench, session: Conversing
) -> None:
    turn(session)
    job, behind = session.say(), session.say()
    session.start(job.id, dirty=True)
    bench.lose()
    assert bench.job(job.id).holder == "w1"
    assert bench.cycle(offer(OTHER, 4)).granted == ()
    bench.clock.advance(HOLDER_GRACE_SECONDS + 1)
    bench.cycle()
    failed = bench.job(job.id)
    assert failed.failure is not None
    assert (failed.state, failed.failure.failure_class) == (JobState.FAILED, FailureClass.UNKNOWN_OUTCOME)
    assert not session.row.ended
    freed = bench.job(behind.id)
    assert (freed.state, freed.holder) == (JobState.QUEUED, "")
    (granted,) = bench.cycle(offer(OTHER)).granted
    assert granted.assignment.session.snapshot.turn == 1


@pytest.mark.parametrize("spec", [shipped(), folder_spec()], ids=["its folder is in the snapshot", "a given folder"])
def test_r6_a_dirty_turn_that_was_handed_back_is_resumed_elsewhere(bench: Bench, spec: session_pb2.SessionSpec) -> None:
    bench.welcome(HOME)
    session = converse(bench, spec)
    job = session.say()
    lease = session.start(job.id, dirty=True)
    bench.append(lease, *snapshot(2, contents=spec.snapshots))
    bench.finish(lease, outputs=4, returned=True)
    assert bench.job(job.id).holder == "w1", "its worker may still have a slot for it"
    bench.lose()
    assert bench.job(job.id).holder == ""
    (granted,) = bench.cycle(offer(OTHER)).granted
    assert granted.assignment.resume_claude_session_id == CONVERSATION
    assert granted.assignment.session.snapshot.turn == 1


def test_r6_a_dirty_turn_that_is_lost_after_its_snapshot_is_resumed_elsewhere(
    bench: Bench, session: Conversing
) -> None:
    job = session.say()
    bench.append(session.start(job.id, dirty=True), *snapshot(2))
    bench.lose()
    assert bench.job(job.id).holder == ""
    lease = bench.assign(job.id, OTHER)
    bench.welcome(OTHER)
    assert bench.job(job.id).attempt == 1, "it was handed out, and never started"
    assert lease.epoch == 2
    (granted,) = bench.cycle(offer(AGAIN)).granted
    assert granted.assignment.resume_claude_session_id == CONVERSATION


def test_r6_a_dirty_turn_whose_folder_is_not_in_its_snapshot_waits(bench: Bench) -> None:
    bench.welcome(HOME)
    spec = shipped()
    spec.snapshots = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT
    session = converse(bench, spec)
    job = session.say()
    bench.append(session.start(job.id, dirty=True), *snapshot(2, contents=spec.snapshots))
    bench.lose()
    assert bench.job(job.id).holder == "w1"


def test_r6_a_dirty_turn_that_went_on_after_its_snapshot_waits(bench: Bench, session: Conversing) -> None:
    job = session.say()
    lease = session.start(job.id, dirty=True)
    bench.append(lease, *snapshot(2))
    bench.fail(lease, FailureClass.CRASH, outputs=4)
    bench.clock.advance(5.0)
    session.start(job.id, dirty=True)
    bench.lose()
    assert bench.job(job.id).holder == "w1"


def test_r6_a_dirty_turn_whose_worker_is_lost_during_its_backoff_is_resumed_elsewhere(
    bench: Bench, session: Conversing
) -> None:
    job = session.say()
    lease = session.start(job.id, dirty=True)
    bench.append(lease, *snapshot(2))
    bench.fail(lease, FailureClass.CRASH, outputs=4)
    bench.lose()
    assert bench.job(job.id).state is JobState.SCHEDULED
    bench.clock.advance(5.0)
    (granted,) = bench.cycle(offer(OTHER)).granted
    assert granted.assignment.resume_claude_session_id == CONVERSATION


def test_r6_a_dirty_turn_that_runs_afresh_by_policy_moves(bench: Bench) -> None:
    bench.welcome(HOME)
    session = converse(bench, shipped(resume_policy=task_pb2.RESUME_POLICY_FRESH))
    turn(session)
    job = session.say()
    session.start(job.id, dirty=True)
    bench.lose()
    assert bench.job(job.id).holder == ""


def test_r6_without_a_snapshot_a_session_is_lost_with_its_worker(bench: Bench) -> None:
    bench.welcome(HOME)
    session = converse(bench)
    session.turn()
    job = session.say()
    bench.lose()
    assert bench.job(job.id).holder == "w1"
    bench.clock.advance(HOLDER_GRACE_SECONDS + 1)
    bench.cycle()
    assert session.row.lost


def test_x1_the_worker_that_a_session_has_left_is_told_to_drop_it(bench: Bench, session: Conversing) -> None:
    turn(session)
    bench.lose()
    job = session.say()
    session.start(job.id, OTHER)
    bench.welcome(AGAIN)
    heard = bench.hear(AGAIN, counter=2, sessions=((session.id, 1),), kept_sessions=(session.id,))
    assert heard.ended_sessions == (session.id, session.id)
    assert bench.hear(OTHER, counter=2, sessions=((session.id, 2),)).ended_sessions == ()


def test_x1_a_session_may_move_again_and_back(bench: Bench, session: Conversing) -> None:
    turn(session)
    bench.lose()
    bench.welcome(OTHER)
    turn(session, OTHER, b"second")
    bench.welcome(AGAIN)
    bench.lose(OTHER)
    job = session.say()
    assert job.holder == ""
    (granted,) = bench.cycle(offer(AGAIN)).granted
    told = granted.assignment.session
    assert (told.binding_epoch, told.snapshot.binding_epoch, told.snapshot.worker_id) == (3, 2, "w2")


def test_r6_a_session_is_lost_when_its_snapshot_is_refused(bench: Bench, session: Conversing) -> None:
    turn(session)
    bench.lose()
    job, behind = session.say(), session.say()
    refused = outcome_pb2.Failure(
        failure_class=outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME, message="it has another digest", sign=SNAPSHOT_SIGN
    )
    bench.finish(session.start(job.id, OTHER, talks=False), OTHER, failed=refused)
    assert [bench.job(one.id).state for one in (job, behind)] == [JobState.FAILED, JobState.CANCELLED]
    assert (session.row.lost, session.row.end_reason) == (True, "it has another digest")
    assert latest(session) is None


def test_x4_a_fork_goes_on_from_the_snapshot_of_its_source(bench: Bench, session: Conversing) -> None:
    turn(session)
    fork = session.fork()
    bench.lose()
    job = fork.say()
    assert job.holder == ""
    (granted,) = bench.cycle(offer(OTHER)).granted
    told = granted.assignment.session
    assert (told.fork_session_id, told.snapshot.turn) == (job_id_text(session.id), 1)
    assert told.fork_claude_session_id == CONVERSATION


def test_x4_a_fork_follows_when_its_source_has_moved(bench: Bench, session: Conversing) -> None:
    turn(session)
    fork = session.fork()
    bench.lose()
    turn(session, OTHER)
    bench.welcome(AGAIN)
    assert fork.say().holder == "", "what it goes on from is on its first worker no more"


def test_x4_a_fork_with_a_snapshot_of_its_own_goes_on_from_that_alone(bench: Bench, session: Conversing) -> None:
    turn(session)
    fork = session.fork()
    job = fork.say()
    lease = fork.start(job.id)
    bench.append(lease, *snapshot(2, b"the fork's"))
    bench.finish(lease, failed=outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_NETWORK), outputs=4)
    bench.clock.advance(60.0)
    (granted,) = bench.cycle(offer(HOME, 1)).granted
    told = granted.assignment.session
    assert (told.fork_session_id, told.snapshot.job_id) == ("", job_id_text(job.id))


def test_r6_a_worker_that_loses_its_lease_by_its_own_word_frees_its_turns_when_it_is_lost(
    bench: Bench, session: Conversing
) -> None:
    turn(session)
    job = session.say()
    lease: Lease = session.start(job.id)
    bench.fail(lease, FailureClass.WORKER_LOST, outputs=1)
    assert bench.job(job.id).holder == "w1"
    bench.lose()
    assert bench.job(job.id).holder == ""


def test_r6_a_turn_whose_work_is_gone_fails_alone(bench: Bench, session: Conversing) -> None:
    turn(session)
    job, behind = session.say(), session.say()
    gone = outcome_pb2.Failure(
        failure_class=outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME, message="it is gone", sign="resume"
    )
    bench.finish(session.start(job.id, talks=False), failed=gone)
    assert [bench.job(one.id).state for one in (job, behind)] == [JobState.FAILED, JobState.QUEUED]
    assert (session.row.lost, latest(session) is not None) == (False, True)
