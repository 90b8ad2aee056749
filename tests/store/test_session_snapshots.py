"""What is kept of a session so that it outlives its worker: the latest snapshot, as long as it is of use (R6, E8)."""

import hashlib

import pytest

from headrace.v1 import event_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.limits import ARTIFACT_BYTES_MAX
from headrace_server.core.refusal import Reason
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.jobs.deletions import delete, ended_long_ago, remove_ended
from headrace_server.store.sessions import sessions as session_verbs
from headrace_server.store.sessions.background import BackgroundTurn
from store.conversing import Conversing, converse
from store.driving import HOME, NAMESPACE, Bench, offer
from store.snapshotting import NAME, failed_note, kept, latest, notes, shipped, snapshot, turn

AGAIN = Holder("w1", "i2")
OTHER = Holder("w2", "i1")


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


@pytest.mark.parametrize("taken", [True, False])
def test_what_the_cli_did_by_itself_before_a_message_replaces_no_later_snapshot(
    bench: Bench, session: Conversing, taken: bool
) -> None:
    turn(session)
    bench.hear(background=[BackgroundTurn(session.id, 1, 1)])
    (own,) = bench.cycle(offer()).granted
    bench.hear(starts=[own.lease])
    message = turn(session)
    bench.append(own.lease, *(snapshot(1, b"older") if taken else [failed_note(1)]))
    found = latest(session)
    assert found is not None
    assert (found.turn, found.size, kept(bench, message.id)) == (3, 7, [NAME])
    (note,) = notes(bench, own.lease.job_id)
    assert (note.action, note.HasField("snapshot")) == (event_pb2.SNAPSHOT_ACTION_FAILED, False)
    assert "turn 3" in note.message
    assert kept(bench, own.lease.job_id) == []


def test_a_later_turn_that_the_cli_began_by_itself_replaces_the_snapshot_before(
    bench: Bench, session: Conversing
) -> None:
    turn(session)
    bench.hear(background=[BackgroundTurn(session.id, 1, 1)])
    (own,) = bench.cycle(offer()).granted
    bench.hear(starts=[own.lease])
    bench.append(own.lease, *snapshot(1, b"newer"))
    found = latest(session)
    assert found is not None
    assert (found.turn, found.size) == (2, 5)


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


def test_e8_a_job_stays_as_long_as_its_session_would_go_on_from_it(bench: Bench, session: Conversing) -> None:
    job = turn(session)
    refusal = bench.write(delete, NAMESPACE, job.id, "", "tester")
    assert refusal is not None
    assert (refusal.reason, refusal.resource_name) == (Reason.SNAPSHOT_NEEDED, job_id_text(session.id))
    bench.clock.advance(1.0)
    assert bench.write(remove_ended, [job.id], bench.clock.now()) == 0
    turn(session)
    assert bench.write(remove_ended, [job.id], bench.clock.now()) == 1
    assert latest(session) is not None


def test_e8_retention_has_nothing_to_do_with_what_an_open_session_would_go_on_from(
    bench: Bench, session: Conversing
) -> None:
    first, second = turn(session), turn(session)
    bench.clock.advance(1.0)

    def found() -> list[JobId]:
        return bench.read(ended_long_ago, 0, bench.clock.now(), 10)[0]

    assert found() == [first.id]
    session.close()
    assert found() == [first.id, second.id]


def test_e8_a_job_goes_when_its_session_has_ended(bench: Bench, session: Conversing) -> None:
    job = turn(session)
    session.close()
    assert bench.write(delete, NAMESPACE, job.id, "", "tester") is None


def test_e8_a_session_that_is_removed_leaves_none(bench: Bench, session: Conversing) -> None:
    job = turn(session)
    fork = session.fork()
    session.close()
    assert bench.write(delete, NAMESPACE, job.id, "", "tester") is not None, "the fork would go on from it"
    fork.close()
    assert bench.write(delete, NAMESPACE, job.id, "", "tester") is None
    bench.clock.advance(1.0)
    bench.write(session_verbs.remove_sessions, Micros(bench.clock.now()), 10)
    assert bench.read(lambda connection: connection.rows("SELECT count(*) FROM session_snapshots")) == [(0,)]
