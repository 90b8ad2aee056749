"""Artifacts: parts are kept once and in order, and are the job's when all of them are there (L7, E5, E8)."""

import pytest

from headrace.v1 import event_pb2, outcome_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId
from headrace_server.store.attempts import artifacts as verbs
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.deletions import delete
from store.driving import Bench, chunk, offer

NAME = "changes.patch"


def part(sequence: int, data: bytes, name: str = NAME) -> event_pb2.Output:
    return event_pb2.Output(producer_sequence=sequence, artifact_part=event_pb2.ArtifactPart(name=name, data=data))


def whole(sequence: int, name: str = NAME) -> event_pb2.Output:
    artifact = outcome_pb2.Artifact(name=name, media_type="text/x-patch", sha256="0" * 64, size_bytes=999)
    return event_pb2.Output(producer_sequence=sequence, artifact=artifact)


def content(bench: Bench, job_id: JobId, name: str = NAME) -> bytes | None:
    """All of a complete artifact, read part by part."""
    row = bench.job(job_id).row
    found = bench.read(verbs.find_artifact, row, name)
    if found is None:
        return None
    data = b""
    while len(data) < found.message.size_bytes:
        data += bench.read(verbs.read_part, row, name, found.epoch, len(data))
    return data


def test_parts_are_no_events_and_the_whole_is_one(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, part(1, b"one "), chunk(2), part(3, b"two"))
    assert content(bench, lease.job_id) is None
    bench.append(lease, whole(4))
    assert content(bench, lease.job_id) == b"one two"
    (told,) = bench.read(verbs.artifacts_of, bench.job(lease.job_id).row)
    assert (told.size_bytes, told.media_type, told.cut) == (7, "text/x-patch", False)
    assert bench.kinds(lease.job_id).count("output") == 2


def test_e5_parts_that_are_sent_again_are_kept_once(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, part(1, b"a"), part(2, b"b"))
    bench.append(lease, part(1, b"a"), part(2, b"b"), part(3, b"c"), whole(4))
    assert content(bench, lease.job_id) == b"abc"


def test_any_byte_can_be_the_first_that_is_read(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, part(1, b"abc"), part(2, b"def"), whole(3))
    row = bench.job(lease.job_id).row
    read = [bench.read(verbs.read_part, row, NAME, lease.epoch, offset) for offset in range(7)]
    assert read == [b"abc", b"bc", b"c", b"def", b"ef", b"f", b""]


def test_what_an_attempt_left_incomplete_goes_with_the_next(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, part(1, b"half"))
    again = _next_attempt(bench, lease, outputs=1)
    bench.append(again, part(1, b"whole"), whole(2))
    assert content(bench, lease.job_id) == b"whole"
    assert _rows(bench) == (1, 1)


def test_a_later_attempt_takes_the_place_of_an_earlier_ones(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, part(1, b"first"), whole(2))
    again = _next_attempt(bench, lease, outputs=2)
    bench.append(again, part(1, b"sec"))
    assert content(bench, lease.job_id) == b"first"
    bench.append(again, part(2, b"ond"), whole(3))
    assert content(bench, lease.job_id) == b"second"
    assert _rows(bench) == (1, 2)


def test_the_artifacts_of_a_job_are_bounded_together(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "ARTIFACT_BYTES_MAX", 10)
    lease = bench.running()
    bench.append(lease, part(1, b"123456"), whole(2), part(3, b"abcdef", "b"), part(4, b"ghi", "b"), whole(5, "b"))
    assert content(bench, lease.job_id, "b") == b"abcd"
    told = {one.name: one.cut for one in bench.read(verbs.artifacts_of, bench.job(lease.job_id).row)}
    assert told == {NAME: False, "b": True}


def test_one_without_parts_is_empty(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, whole(1))
    assert content(bench, lease.job_id) == b""


def test_e8_they_go_with_their_job(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, part(1, b"abc"), whole(2))
    bench.finish(lease, outputs=2)
    job = bench.job(lease.job_id)
    assert bench.write(lambda ledger: delete(ledger, job.namespace, job.id, "", "me")) is None
    assert _rows(bench) == (0, 0)


def _next_attempt(bench: Bench, lease: Lease, outputs: int) -> Lease:
    bench.fail(lease, FailureClass.CRASH, outputs=outputs)
    bench.clock.advance(600)
    (granted,) = bench.cycle(offer()).granted
    bench.hear(starts=[granted.lease])
    return granted.lease


def _rows(bench: Bench) -> tuple[int, int]:
    def count(connection: Connection) -> tuple[int, int]:
        tables = ("artifacts", "artifact_parts")
        first, second = (connection.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables)
        return first, second

    return bench.read(count)
