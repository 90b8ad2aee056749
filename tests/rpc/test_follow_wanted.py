"""Readers that want a part of a job's log: where it begins, what of it, how fast; and gaps (E1, E4, E8)."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.v1 import job_service_pb2 as pb
from headrace.v1 import watch_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.refusal import Reason
from headrace_server.rpc.checks.validation import CHECKS
from headrace_server.rpc.streams import follow as follows
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.outputs import Batch, append_each
from headrace_server.store.attempts.workers import Word, hear_each
from headrace_server.store.codec import set_time
from headrace_server.store.ledger import Ledger
from headrace_server.store.records import log_pages
from headrace_server.store.records.output_expiry import drop_outputs
from rpc.log_reading import Node, numbers_of, said
from store.driving import finished

KINDS = ("stdout", "stderr", "messages", "progress")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "data")
    yield node
    node.bench.close()


def mixed(node: Node, rounds: int = 5) -> Lease:
    """An attempt that said something of each kind, in turns."""
    lease = node.bench.running()
    outputs = [said(KINDS[n % 4], n + 1, b"%d\n" % n) for n in range(4 * rounds)]
    node.bench.append(lease, *outputs)
    return lease


def ended(node: Node, rounds: int = 5) -> JobId:
    lease = mixed(node, rounds)
    node.bench.finish(lease, outputs=4 * rounds)
    return lease.job_id


def at(time: int) -> Timestamp:
    stamp = Timestamp()
    set_time(stamp, Micros(time))
    return stamp


@pytest.mark.parametrize("count", [1, 7, 24, 1000])
def test_a_reader_gets_the_last_events(node: Node, count: int) -> None:
    job_id = ended(node)
    stream = node.read(job_id, last=count)
    assert stream.sequences() == list(range(1, 25))[-count:]
    assert stream.ended() == watch_pb2.END_REASON_JOB_ENDED


@pytest.mark.parametrize("scanned", [2, 7, 4096])
def test_the_last_events_are_those_of_what_is_wanted(node: Node, scanned: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pages, "SCANNED_COUNT", scanned)
    job_id = ended(node)
    stream = node.read(job_id, last=4, outputs=[pb.OUTPUT_KIND_STDERR])
    # The end of the job, and three of its outputs.
    assert numbers_of(stream.events()) == [10, 14, 18]
    assert stream.sequences()[-1] == 24


def test_a_reader_begins_at_a_time(node: Node) -> None:
    lease = node.bench.running()
    times = []
    for number in range(1, 8):
        node.bench.clock.advance(1)
        times.append(node.bench.clock.now())
        node.bench.append(lease, said("stdout", number))
    for index, time in enumerate(times):
        assert numbers_of(node.read(lease.job_id, start_time=at(time)).events()) == list(range(index + 1, 8))
        assert numbers_of(node.read(lease.job_id, start_time=at(time + 1)).events()) == list(range(index + 2, 8))
    assert node.read(lease.job_id, start_time=at(0 + SECOND)).sequences() == list(range(1, 11))
    both = node.read(lease.job_id, start_time=at(times[2]), last=2)
    assert numbers_of(both.events()) == [6, 7]


def test_a_reader_gets_one_attempt_and_what_belongs_to_none(node: Node) -> None:
    first = node.bench.running()
    node.bench.append(first, said("stdout", 1), said("stdout", 2))
    node.bench.fail(first, FailureClass.CRASH, outputs=2)
    node.bench.clock.advance(3600)
    second = node.bench.assign(first.job_id)
    node.bench.append(second, said("stdout", 1), said("stderr", 2))
    node.bench.finish(second, outputs=2)
    whole = node.read(first.job_id).events()
    for attempt in (1, 2, 3):
        expected = [event for event in whole if event.attempt in (0, attempt)]
        assert node.read(first.job_id, attempt=attempt).events() == expected
        only = [event for event in expected if event.output.chunk.stream != 1]
        assert node.read(first.job_id, attempt=attempt, outputs=["OUTPUT_KIND_STDERR"]).events() == only


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [True, False])
def test_a_reader_gets_output_of_the_kinds_it_named(node: Node, kind: str, known: bool) -> None:
    job_id = ended(node)
    if not known:
        # As rows are that were written before kinds were.
        node.bench.write(lambda ledger: ledger.run("UPDATE outputs SET kind = 0, attempt = 0"))
    stream = node.read(job_id, outputs=[f"OUTPUT_KIND_{kind.upper()}"])
    place = KINDS.index(kind)
    assert numbers_of(stream.events()) == list(range(place + 1, 21, 4))
    assert [s for s in stream.sequences() if s < 4 or s > 23] == [1, 2, 3, 24]


def test_a_page_in_which_nothing_was_wanted_moves_the_cursor(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pages, "SCANNED_COUNT", 3)
    monkeypatch.setattr(follows, "UNTOLD_SEQUENCES_COUNT", 6)
    lease = node.bench.running()
    node.bench.append(lease, *(said("stdout", n) for n in range(1, 31)))
    stream = node.read(lease.job_id, outputs=[pb.OUTPUT_KIND_STDERR])
    assert stream.sequences() == [1, 2, 3]
    assert stream.kinds() == ["opened", "batch", *["heartbeat"] * 5, "end"]
    assert stream.cursor == "1:33"
    node.bench.append(lease, said("stderr", 31))
    assert numbers_of(node.read(lease.job_id, cursor=stream.cursor, outputs=[2]).events()) == [31]


def test_what_says_where_to_begin_is_refused_beside_a_cursor(node: Node) -> None:
    check = CHECKS[pb.WatchJobRequest.DESCRIPTOR.full_name]
    request: dict[str, Any] = {"job_id": "019a6a4e-0000-7000-8000-000000000000", "cursor": "1:2"}
    for more in ({"last": 1}, {"start_time": at(0)}):
        refusal = check(pb.WatchJobRequest(**request, **more))
        assert refusal is not None
        assert (refusal.reason, refusal.violations[0].field) == (Reason.INVALID_FIELD, next(iter(more)))
    refusal = check(pb.WatchJobRequest(job_id=request["job_id"], without_output=True, outputs=["OUTPUT_KIND_STDOUT"]))
    assert refusal is not None
    assert refusal.violations[0].field == "outputs"


def test_e4_a_reader_with_a_pace_gets_all_of_it_at_that_pace(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = node.bench.running()
    node.bench.append(lease, *(said("stdout", n, bytes(1000)) for n in range(1, 21)))
    node.bench.finish(lease, outputs=20)
    begun: list[float] = []

    async def timed() -> float:
        loop = asyncio.get_running_loop()
        begun.append(loop.time())
        stream = await node.streamed(lease.job_id, max_bytes_per_second=50_000)
        assert stream.sequences() == list(range(1, 25))
        return loop.time() - begun[0]

    # 21 kB at 50 kB a second, of which the last message need not be waited off.
    monkeypatch.setattr(follows, "EVENT_PAGE_BYTES", 5000)
    assert node.bench.run(timed()) >= 0.3


def test_e1_a_page_is_read_once_for_all_followers_at_its_place(node: Node) -> None:
    job_id = ended(node, rounds=300)
    streams = node.read_all(*[job_id] * 40)
    assert all(stream.sequences() == list(range(1, 1205)) for stream in streams)
    assert node.logs.reads_count == 3
    node.read(job_id, without_output=True)
    assert node.logs.reads_count == 4


def test_e1_followers_of_a_busy_job_cost_few_reads(node: Node) -> None:
    """Each commit wakes all of them; what it added is read once."""
    lease = node.bench.running()

    async def watched() -> None:
        following = [asyncio.ensure_future(node.streamed(lease.job_id)) for _ in range(30)]
        for number in range(1, 21):
            await node.bench.store.write(partial(_append, node=node, lease=lease, number=number))
            await asyncio.sleep(0)
        await node.bench.store.write(lambda ledger: _finish(ledger, node, lease, 20))
        for stream in await asyncio.gather(*following):
            assert stream.sequences() == list(range(1, 25))

    node.bench.run(watched())
    assert node.logs.reads_count <= 2 * 22


def test_e1_what_comes_after_a_place_is_read_though_nothing_was_there_before(node: Node) -> None:
    lease = node.bench.running()
    for number in range(1, 5):
        cursor = f"1:{number + 2}"
        assert node.read(lease.job_id, cursor=cursor).kinds() == ["opened", "end"]
        node.bench.append(lease, said("stdout", number))
        assert numbers_of(node.read(lease.job_id, cursor=cursor).events()) == [number]


def test_a_late_reader_does_not_take_the_small_pages_of_those_who_were_there(node: Node) -> None:
    lease = node.bench.running()
    for number in range(1, 21):
        node.bench.append(lease, said("stdout", number))
        node.read(lease.job_id, cursor=f"1:{number + 2}")
    reads = node.logs.reads_count
    node.bench.clock.advance(1)
    late = node.read(lease.job_id, cursor="1:3")
    assert late.kinds() == ["opened", "batch", "end"]
    assert node.logs.reads_count == reads + 1


def _append(ledger: Ledger, node: Node, lease: Lease, number: int) -> None:
    append_each(ledger, [Batch(node.holder, lease, [said("stdout", number)])])


def _finish(ledger: Ledger, node: Node, lease: Lease, outputs: int) -> None:
    hear_each(ledger, [Word(node.holder, finishes=[finished(lease, outputs=outputs)])])


def drop(node: Node, job_id: JobId) -> None:
    while node.bench.write(drop_outputs, [job_id], node.bench.clock.now()) == 0:
        pass


def test_e8_a_reader_that_meets_removed_output_is_told_so_and_goes_on(node: Node) -> None:
    job_id = ended(node)
    drop(node, job_id)
    stream = node.read(job_id)
    assert stream.kinds() == ["opened", "batch", "gap", "batch", "end"]
    assert stream.sequences() == [1, 2, 3, 24]
    (gap,) = stream.gaps()
    assert (gap.from_sequence, gap.to_sequence, gap.earliest_sequence) == (4, 23, 1)
    assert gap.reason == watch_pb2.GAP_REASON_RETENTION
    (rest,) = node.read(job_id, cursor="1:14").gaps()
    assert (rest.from_sequence, rest.to_sequence) == (15, 23)
    (filtered,) = node.read(job_id, outputs=[pb.OUTPUT_KIND_STDERR]).gaps()
    assert (filtered.from_sequence, filtered.to_sequence) == (4, 23)
    assert node.read(job_id, without_output=True).kinds() == ["opened", "batch", "end"]
    assert node.read(job_id, last=2).sequences() == [3, 24]


def test_i14_e8_output_of_a_job_that_has_not_ended_stays(node: Node) -> None:
    lease = mixed(node)
    assert node.bench.write(drop_outputs, [lease.job_id], node.bench.clock.now()) == 1
    assert node.read(lease.job_id).sequences() == list(range(1, 24))
