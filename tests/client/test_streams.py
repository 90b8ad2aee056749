"""Follow streams of the asyncio client: every event once and in order, across cuts, drains and pauses."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

import headrace
from headrace import errors, follow
from headrace.v1 import event_pb2, job_pb2, job_service_pb2, watch_pb2


def sequences(items: list[Any]) -> list[int]:
    return [item.sequence for item in items if isinstance(item, event_pb2.Event)]


async def collect(address: str, **options: Any) -> list[Any]:
    async with headrace.connect(address) as client:
        return [item async for item in client.job("j").watch(**options)]


def test_e1_a_cut_stream_continues_at_its_cursor_without_hole_or_repeat(
    serving: Any, fake_jobs: Any, make: Any
) -> None:
    async def run() -> None:
        jobs = fake_jobs(
            scripts=[
                make.says(make.opened(), make.batch(1, 2), make.batch(3)),
                make.breaks(make.opened(cursor="c3"), make.batch(4)),
                make.says(make.opened(cursor="c4"), make.batch(5, 6), make.end()),
            ]
        )
        async with serving(jobs) as address:
            items = await collect(address)
        assert sequences(items) == [1, 2, 3, 4, 5, 6]
        assert [request.cursor for request in jobs.requests] == ["", "c3", "c4"]
        assert sum(isinstance(item, follow.Reconnecting) for item in items) == 2

    asyncio.run(run())


def test_e1_events_that_a_server_repeats_are_handed_on_once(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        jobs = fake_jobs(
            scripts=[
                make.says(make.opened(), make.batch(1, 2, 3)),
                make.says(make.opened(), make.batch(2, 3, 4), make.end()),
            ]
        )
        async with serving(jobs) as address:
            assert sequences(await collect(address)) == [1, 2, 3, 4]

    asyncio.run(run())


def test_e1_a_hole_without_a_gap_is_an_error(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        jobs = fake_jobs(scripts=[make.says(make.opened(), make.batch(1), make.batch(3), make.end())])
        async with serving(jobs) as address:
            with pytest.raises(errors.StreamBroken, match="events 2 to 2"):
                await collect(address)

    asyncio.run(run())


def test_e1_a_gap_is_handed_on_and_explains_the_hole(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        jobs = fake_jobs(scripts=[make.says(make.opened(), make.gap(1, 7), make.batch(8), make.end())])
        async with serving(jobs) as address, headrace.connect(address) as client:
            items = [item async for item in client.job("j").events()]
        assert isinstance(items[0], watch_pb2.WatchGap)
        assert (items[0].from_sequence, items[0].to_sequence) == (1, 7)
        assert sequences(items) == [8]

    asyncio.run(run())


def test_after_a_restore_sequences_may_start_again(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        restored = make.gap(3, 5, watch_pb2.GAP_REASON_RESTORED)
        jobs = fake_jobs(
            scripts=[
                make.says(make.opened(), make.batch(1, 2, 3, 4, 5)),
                make.says(make.opened(), restored, make.batch(3, 4), make.end()),
            ]
        )
        async with serving(jobs) as address:
            assert sequences(await collect(address)) == [1, 2, 3, 4, 5, 3, 4]

    asyncio.run(run())


def test_a_draining_server_is_left_and_the_stream_goes_on(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        draining = make.end(watch_pb2.END_REASON_DRAINING, cursor="c2")
        jobs = fake_jobs(
            scripts=[
                make.says(make.opened(), make.batch(1, 2), draining),
                make.says(make.opened(), make.batch(3), make.end()),
            ]
        )
        async with serving(jobs) as address:
            items = await collect(address)
        assert sequences(items) == [1, 2, 3]
        assert [i.reason for i in items if isinstance(i, watch_pb2.WatchEnd)] == [watch_pb2.END_REASON_JOB_ENDED]
        assert jobs.requests[1].cursor == "c2"

    asyncio.run(run())


def test_a_refusal_that_patience_cannot_help_is_raised_at_once(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        refusal = make.refuses(grpc.StatusCode.NOT_FOUND, "no job j", make.reason("NOT_FOUND"))
        jobs = fake_jobs(scripts=[refusal])
        async with serving(jobs) as address:
            with pytest.raises(errors.NotFound, match="no job j"):
                await collect(address)
        assert len(jobs.requests) == 1

    asyncio.run(run())


def test_a_silent_stream_is_taken_for_dead_and_opened_again(
    serving: Any, fake_jobs: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "SILENCE_SECONDS", 0.05)

    async def run() -> None:
        over = asyncio.Event()

        async def silent(request: Any, context: Any) -> None:
            await context.write(make.opened())
            await context.write(make.batch(1))
            await over.wait()

        jobs = fake_jobs(scripts=[silent, make.says(make.opened(), make.batch(2), make.end())])
        async with serving(jobs) as address:
            items = await collect(address)
            over.set()
        assert sequences(items) == [1, 2]
        causes = [str(item.cause) for item in items if isinstance(item, follow.Reconnecting)]
        assert len(causes) == 1
        assert "nothing was heard" in causes[0]

    asyncio.run(run())


def test_e4_a_paused_reader_stops_the_server_and_then_gets_all_of_it(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        total, data = 200, b"x" * 256 * 1024
        written = 0
        stalled = asyncio.Event()

        async def flood(request: Any, context: Any) -> None:
            nonlocal written
            await context.write(make.opened())
            for sequence in range(1, total + 1):
                write = asyncio.ensure_future(context.write(make.batch(sequence, data=data)))
                done, _ = await asyncio.wait([write], timeout=1.0)
                if not done:
                    stalled.set()
                    await write
                written += 1
            await context.write(make.end())

        jobs = fake_jobs(scripts=[flood])
        async with serving(jobs) as address, headrace.connect(address) as client:
            stream = client.job("j").events()
            first = await anext(stream)
            async with asyncio.timeout(30):
                await stalled.wait()
            assert written * len(data) < 16 * 1024 * 1024
            rest = [item async for item in stream]
        assert sequences([first, *rest]) == list(range(1, total + 1))

    asyncio.run(run())


def test_a_cancelled_read_loses_nothing(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        async def pauses(request: Any, context: Any) -> None:
            await context.write(make.opened())
            await context.write(make.batch(1))
            await asyncio.Event().wait()

        jobs = fake_jobs(scripts=[pauses, make.says(make.opened(), make.batch(2), make.end())])
        async with serving(jobs) as address, headrace.connect(address) as client:
            stream = client.job("j").events()
            first = await anext(stream)
            read = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            read.cancel()
            with pytest.raises(asyncio.CancelledError):
                await read
            rest = [item async for item in stream]
        assert sequences([first, *rest]) == [1, 2]
        assert jobs.requests[1].cursor == "c1"

    asyncio.run(run())


def test_the_cursor_covers_only_what_was_handed_on(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        jobs = fake_jobs(scripts=[make.says(make.opened(), make.batch(1, 2), make.batch(3, 4), make.end())])
        async with serving(jobs) as address, headrace.connect(address) as client:
            stream = client.job("j").events(cursor="")
            cursors = [(item.sequence, stream.cursor) async for item in stream if isinstance(item, event_pb2.Event)]
        assert cursors == [(1, ""), (2, "c2"), (3, "c2"), (4, "c4")]

    asyncio.run(run())


def test_deltas_come_only_when_they_were_asked_for(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        async def script(request: Any, context: Any) -> None:
            await context.write(make.opened())
            if request.deltas:
                deltas = watch_pb2.DeltaBatch(deltas=[event_pb2.Delta(text="he"), event_pb2.Delta(text="llo")])
                await context.write(job_service_pb2.WatchJobResponse(deltas=deltas))
            await context.write(make.end())

        jobs = fake_jobs(scripts=[script, script])
        async with serving(jobs) as address, headrace.connect(address) as client:
            asked = [item async for item in client.job("j").events(deltas=True)]
            not_asked = [item async for item in client.job("j").events()]
        assert [item.text for item in asked if isinstance(item, event_pb2.Delta)] == ["he", "llo"]
        assert not_asked == []

    asyncio.run(run())


def test_e9_closing_a_watch_ends_only_the_stream(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        left = asyncio.Event()

        async def endless(request: Any, context: Any) -> None:
            context.add_done_callback(lambda _: left.set())
            await context.write(make.opened())
            await context.write(make.batch(1))
            await asyncio.Event().wait()

        jobs = fake_jobs(scripts=[endless])
        async with serving(jobs) as address, headrace.connect(address) as client:
            async with client.job("j").events() as stream:
                async for _ in stream:
                    break
            async with asyncio.timeout(10):
                await left.wait()
        assert [type(request).__name__ for request in jobs.requests] == ["WatchJobRequest"]

    asyncio.run(run())


def test_closing_the_client_wakes_a_reader_with_an_error(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        async def endless(request: Any, context: Any) -> None:
            await context.write(make.opened())
            await asyncio.Event().wait()

        jobs = fake_jobs(scripts=[endless])
        async with serving(jobs) as address:
            client = headrace.connect(address)
            reading = asyncio.ensure_future(anext(client.job("j").events()))
            await jobs.asked.wait()
            await client.close()
            with pytest.raises(headrace.HeadraceError):
                await asyncio.wait_for(reading, 10)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (job_pb2.JOB_STATE_FAILED, errors.JobFailed),
        (job_pb2.JOB_STATE_CANCELLED, errors.JobCancelled),
        (job_pb2.JOB_STATE_EXPIRED, errors.JobExpired),
        (job_pb2.JOB_STATE_SKIPPED, errors.JobSkipped),
    ],
)
def test_result_raises_how_the_job_ended(
    serving: Any, fake_jobs: Any, make: Any, state: job_pb2.JobState, error: type[Exception]
) -> None:
    async def run() -> None:
        jobs = fake_jobs(
            answers={"GetJob": job_service_pb2.GetJobResponse(job=make.job())},
            scripts=[make.says(make.opened(), make.batch(1), make.end(job=make.job(state)))],
        )
        async with serving(jobs) as address, headrace.connect(address) as client:
            with pytest.raises(error) as raised:
                await client.job("j").result()
        assert raised.value.job.state == state  # type: ignore[attr-defined]  # each of them has the job

    asyncio.run(run())


def test_result_of_a_job_that_has_ended_opens_no_stream(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        job = make.job(job_pb2.JOB_STATE_SUCCEEDED)
        job.result.claude.text = "done"
        jobs = fake_jobs(answers={"GetJob": job_service_pb2.GetJobResponse(job=job)})
        async with serving(jobs) as address, headrace.connect(address) as client:
            assert (await client.job("j").result()).text == "done"

    asyncio.run(run())


def test_result_of_a_deleted_job_says_so(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        jobs = fake_jobs(
            answers={"GetJob": job_service_pb2.GetJobResponse(job=make.job())},
            scripts=[make.says(make.opened(), make.end(watch_pb2.END_REASON_JOB_DELETED))],
        )
        async with serving(jobs) as address, headrace.connect(address) as client:
            with pytest.raises(errors.JobDeleted):
                await client.job("j").result()

    asyncio.run(run())
