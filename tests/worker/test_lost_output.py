"""Output that waited on the worker's disk and can't be read back: the attempt fails, and nothing waits for it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import event_pb2, outcome_pb2, worker_pb2
from headrace_worker.attempts import AttemptLinks, RunningAttempt
from headrace_worker.executors.claude.framer import Line
from headrace_worker.executors.claude.lane import Lane, LaneFull
from headrace_worker.executors.claude.wire import parse
from headrace_worker.executors.contract import Succeeded
from headrace_worker.outbox import Outbox
from headrace_worker.spool import Segment, Spool

MIB = 1024 * 1024


@pytest.fixture
def broken_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, nothing that was written can be read."""

    def read(segment: Segment, offset: int, length: int) -> bytes:
        raise OSError(5, "Input/output error")

    return lambda: monkeypatch.setattr(Segment, "read", read)


def chunk() -> event_pb2.Output:
    return event_pb2.Output(chunk=event_pb2.Chunk(data=b"x" * 100_000))


def attempt_in(folder: Path) -> RunningAttempt:
    def make(kind: str, on_output: Callable[[], None]) -> Outbox:
        return Outbox(Spool(folder, 64 * MIB), on_output)

    links = AttemptLinks(lambda attempt: None, lambda attempt: None, make, lambda: 0, lambda lease, number, error: None)
    return RunningAttempt(worker_pb2.Assignment(lease=worker_pb2.Lease(job_id="j", attempt=1, epoch=1)), links)


async def filled(folder: Path) -> RunningAttempt:
    """An attempt with more output than memory holds."""
    attempt = attempt_in(folder)
    for _ in range(60):
        await attempt.emit(chunk())
    assert attempt.outbox is not None
    assert attempt.outbox.spooled_bytes > MIB
    return attempt


def deliver(outbox: Outbox) -> int:
    """Takes and acknowledges everything that can be sent; how many batches that were."""
    count = 0
    while outbox.next_batch(MIB) is not None:
        assert outbox.acknowledge(outbox.sent_sequence)
        count += 1
    return count


def test_what_is_in_memory_is_still_delivered_and_nobody_waits(tmp_path: Path, broken_disk: Callable[[], None]) -> None:
    async def main() -> None:
        attempt = await filled(tmp_path)
        outbox = attempt.outbox
        assert outbox is not None
        broken_disk()
        assert deliver(outbox) >= 1
        assert outbox.fault == "output that waited on the worker's disk is lost: [Errno 5] Input/output error"
        assert 0 < outbox.last_sequence < 60
        assert outbox.empty
        async with asyncio.timeout(5):
            assert await attempt.emit(chunk()) == outbox.last_sequence, "what comes now is dropped"

    asyncio.run(main())


@pytest.mark.parametrize("ended", [False, True])
def test_the_attempt_ends_as_resource_even_when_its_executor_had_a_result(
    tmp_path: Path, broken_disk: Callable[[], None], ended: bool
) -> None:
    async def main() -> None:
        attempt = await filled(tmp_path)
        outbox = attempt.outbox
        assert outbox is not None
        attempt.report_step(event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_INTERRUPT))
        if ended:
            attempt.conclude(Succeeded(outcome_pb2.Result()))
        broken_disk()
        deliver(outbox)
        attempt.note_lost_output(outbox.fault)
        if not ended:
            assert attempt.killed
            attempt.conclude(Succeeded(outcome_pb2.Result()))
        assert attempt.finish is not None
        assert attempt.finish.last_producer_sequence == outbox.committed
        assert attempt.finish.failed.failure_class == outcome_pb2.FAILURE_CLASS_RESOURCE
        assert (attempt.finish.failed.sign, attempt.finish.failed.message) == ("spool", outbox.fault)
        assert [report.report_number for report in attempt.take_reports()] == [1], "it waits for no lost output"

    asyncio.run(main())


def frame(text: str) -> Any:
    return parse(Line(text.encode(), len(text)))


def test_a_lane_gives_frames_back_in_order_over_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace_worker.executors.claude.lane.LANE_SEGMENT_BYTES_MAX", 500)

    async def main() -> None:
        lane = Lane(tmp_path, memory_bytes_max=10)
        got = []
        for number in range(100):
            lane.put(frame(f'{{"n": {number}}}'))
            if number % 3 == 2:
                got.append(await lane.get())
        lane.finish()
        while (one := await lane.get()) is not None:
            got.append(one)
        assert [one.body for one in got if one is not None] == [{"n": number} for number in range(100)]
        assert lane.waiting_bytes == 0
        lane.close()

    asyncio.run(main())


def test_a_lane_that_can_not_be_read_ends_with_its_fault(tmp_path: Path, broken_disk: Callable[[], None]) -> None:
    async def main() -> None:
        lane = Lane(tmp_path, memory_bytes_max=1)
        for number in range(3):
            lane.put(frame(f'{{"n": {number}}}'))
        broken_disk()
        assert await lane.get() is not None
        assert await lane.get() is None
        assert await lane.get() is None
        assert lane.fault.endswith("[Errno 5] Input/output error")

    asyncio.run(main())


def test_a_lane_says_whether_the_bound_or_the_disk_is_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(segment: Segment, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        small = Lane(tmp_path, memory_bytes_max=1, disk_bytes_max=10)
        small.put(frame('{"n": 1}'))
        with pytest.raises(LaneFull, match="more than the worker may keep on disk for the server, 10"):
            small.put(frame('{"n": "much longer than that"}'))
        monkeypatch.setattr(Segment, "write", write)
        lane = Lane(tmp_path, memory_bytes_max=1)
        lane.put(frame('{"n": 1}'))
        with pytest.raises(LaneFull, match="takes no more of what the CLI says: No space left on device"):
            lane.put(frame('{"n": 2}'))

    asyncio.run(main())
