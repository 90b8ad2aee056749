"""A session that has a snapshot outlives its worker: what is kept of it, and when and how it moves (R6, X1)."""

import hashlib
from typing import Any

import pytest

from headrace.v1 import event_pb2, outcome_pb2, session_pb2, task_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.limits import ARTIFACT_BYTES_MAX, HOLDER_GRACE_SECONDS
from headrace_server.core.states import JobState
from headrace_server.store.attempts import artifacts as artifact_verbs
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.sessions import sessions as session_verbs
from headrace_server.store.sessions.bindings import SNAPSHOT_SIGN
from headrace_server.store.sessions.snapshots import StoredSnapshot, latest_snapshot
from store.conversing import CONVERSATION, Conversing, converse, session_spec
from store.driving import HOME, NAMESPACE, Bench, offer
from store.snapshotting import NAME, WHOLE, snapshot

AGAIN = Holder("w1", "i2")
OTHER = Holder("w2", "i1")


def shipped(**task: Any) -> session_pb2.SessionSpec:
    """Of a session of which snapshots are taken."""
    spec = session_spec(**task) if task else session_pb2.SessionSpec()
    spec.snapshots = WHOLE
    return spec


def failed_note(sequence: int) -> event_pb2.Output:
    note = event_pb2.SnapshotNote(action=event_pb2.SNAPSHOT_ACTION_FAILED, message="too large")
    return event_pb2.Output(producer_sequence=sequence, snapshot=note)


def turn(session: Conversing, holder: Holder = HOME, data: bytes = b"archive") -> Job:
    """A turn after which a snapshot is taken."""
    bench, job = session.bench, session.say()
    lease = session.start(job.id, holder)
    bench.append(lease, *snapshot(2, data), holder=holder)
    bench.finish(lease, holder, outputs=4)
    return bench.job(job.id)


def latest(session: Conversing) -> StoredSnapshot | None:
    row = session.row.row
    return session.bench.read(lambda connection: latest_snapshot(connection.rows, row))


def kept(bench: Bench, job_id: JobId) -> list[str]:
    """Names of the artifacts that a job has."""
    row = bench.job(job_id).row
    return [one.name for one in bench.read(artifact_verbs.artifacts_of, row)]


def notes(bench: Bench, job_id: JobId) -> list[event_pb2.SnapshotNote]:
    outputs = [event.output for event in bench.events(job_id) if event.HasField("output")]
    return [output.snapshot for output in outputs if output.HasField("snapshot")]


def causes(bench: Bench, job_id: JobId) -> list[int]:
    return [event.queued.cause for event in bench.events(job_id) if event.HasField("queued")]


@pytest.fixture
def session(bench: Bench) -> Conversing:
    """One of which snapshots are taken, on a worker that is known."""
    bench.welcome(HOME)
    return converse(bench, shipped())


def test_r6_the_latest_snapshot_of_a_session_is_known(bench: Bench, session: Conversing) -> None:
    assert latest(session) is None
    job = turn(session)
    found = latest(session)
    assert found is not None
    assert (found.job_id, found.name, found.size, found.turn) == (job.id, NAME, 7, 1)
    assert (found.worker, found.binding_epoch, found.sha256) == ("w1", 1, hashlib.sha256(b"archive").hexdigest())
    (note,) = notes(bench, job.id)
    assert (note.action, note.snapshot.job_id) == (event_pb2.SNAPSHOT_ACTION_TAKEN, job_id_text(job.id))
    assert (note.snapshot.turn, note.snapshot.size_bytes, note.snapshot.binding_epoch) == (1, 7, 1)


def test_of_several_snapshots_only_the_latest_is_kept(bench: Bench, session: Conversing) -> None:
    first, second = turn(session), turn(session)
    assert kept(bench, first.id) == []
    assert kept(bench, second.id) == [NAME]
    found = latest(session)
    assert found is not None
    assert found.turn == 2


def test_a_snapshot_that_the_same_turn_takes_anew_takes_the_place_of_the_first(
    bench: Bench, session: Conversing
) -> None:
    job = session.say()
    lease = session.start(job.id)
    bench.append(lease, *snapshot(2, b"one"))
    bench.fail(lease, FailureClass.CRASH, outputs=4)
    bench.clock.advance(5.0)
    lease = session.start(job.id)
    bench.append(lease, *snapshot(2, b"other"))
    bench.finish(lease, outputs=4)
    found = latest(session)
    assert found is not None
    assert (found.size, kept(bench, job.id)) == (5, [NAME])


def test_a_turn_without_a_snapshot_leaves_none(bench: Bench, session: Conversing) -> None:
    first, job = turn(session), session.say()
    lease = session.start(job.id)
    bench.append(lease, failed_note(2))
    bench.finish(lease, outputs=2)
    assert (latest(session), kept(bench, first.id)) == (None, [])
    bench.lose()
    assert session.say().holder == "w1", "it would go on as if its latest turn had not been"


def test_a_snapshot_with_another_digest_than_its_artifact_is_none(bench: Bench, session: Conversing) -> None:
    job = session.say()
    lease = session.start(job.id)
    bench.append(lease, *snapshot(2, sha256="0" * 64))
    assert latest(session) is None
    (note,) = notes(bench, job.id)
    assert (note.action, note.HasField("snapshot")) == (event_pb2.SNAPSHOT_ACTION_FAILED, False)


def test_a_snapshot_for_which_the_artifacts_have_no_room_is_none(bench: Bench, session: Conversing) -> None:
    job = session.say()
    lease = session.start(job.id)
    filling = event_pb2.ArtifactPart(name="changes.patch", data=bytes(256 * 1024))
    count = ARTIFACT_BYTES_MAX // len(filling.data)
    parts = [event_pb2.Output(producer_sequence=2 + number, artifact_part=filling) for number in range(count)]
    bench.append(lease, *parts)
    bench.append(lease, *snapshot(2 + count))
    assert latest(session) is None
    (note,) = notes(bench, job.id)
    assert "no room" in note.message


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


def folder_spec() -> session_pb2.SessionSpec:
    spec = shipped()
    spec.snapshots = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT
    spec.task.workspace.folder = "/srv/shared"
    return spec


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


def test_x4_what_a_fork_needs_is_kept_when_its_source_is_closed(bench: Bench, session: Conversing) -> None:
    source = turn(session)
    fork = session.fork()
    session.close()
    assert kept(bench, source.id) == [NAME]
    bench.lose()
    fork.say()
    (granted,) = bench.cycle(offer(OTHER)).granted
    assert granted.assignment.session.snapshot.turn == 1


def test_a_closed_session_keeps_no_snapshot(bench: Bench, session: Conversing) -> None:
    job = turn(session)
    session.close()
    assert (latest(session), kept(bench, job.id)) == (None, [])


def test_a_session_that_closes_with_its_turn_keeps_no_snapshot(bench: Bench, session: Conversing) -> None:
    job = session.say()
    lease = session.start(job.id)
    session.close(finish_turn=True)
    bench.append(lease, *snapshot(2))
    bench.finish(lease, outputs=4)
    assert (latest(session), kept(bench, job.id)) == (None, [])


def test_e8_a_snapshot_goes_with_its_job(bench: Bench, session: Conversing) -> None:
    job = turn(session)
    bench.write(delete, NAMESPACE, job.id, "", "tester")
    assert latest(session) is None
    bench.lose()
    assert session.say().holder == "w1"


def test_e8_a_session_that_is_removed_leaves_none(bench: Bench, session: Conversing) -> None:
    job = turn(session)
    fork = session.fork()
    session.close()
    bench.write(delete, NAMESPACE, job.id, "", "tester")
    bench.clock.advance(1.0)
    bench.write(session_verbs.remove_sessions, Micros(bench.clock.now()), 10)
    assert bench.read(lambda connection: connection.rows("SELECT count(*) FROM session_snapshots")) == [(0,)]
    assert fork.say().holder == "w1"


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
