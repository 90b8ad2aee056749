"""Metrics: what is counted under which labels, and how many labels there are at most."""

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from headrace.v1 import queue_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.core.states import JobState
from headrace_server.runtime import metrics as module
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.metrics import Distribution, Histogram, Metrics
from headrace_server.runtime.registry import Registry
from headrace_server.store.effects import Effects, Measure
from headrace_server.store.queues import create_queue
from store.driving import NAMESPACE, Bench, new_job


class NoStore:
    """Is never asked: nobody looks."""


def metrics() -> tuple[Metrics, InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    return Metrics(meter, NoStore(), Registry(30.0), Feed()), reader  # type: ignore[arg-type]  # never asked


def points(reader: InMemoryMetricReader, name: str) -> dict[tuple[Any, ...], Any]:
    """The values of an instrument by the values of its attributes."""
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = [one for one in data.resource_metrics[0].scope_metrics[0].metrics if one.name == name]
    return {tuple((point.attributes or {}).values()): point.value for point in metric.data.data_points}  # type: ignore[union-attr]  # of a counter


def told(queue: str, *measured: tuple[Measure, int]) -> Effects:
    return Effects(measured=[(measure, "default", queue, value) for measure, value in measured], commit_seconds=0.002)


def one(histogram: Histogram, *labels: str) -> Distribution:
    return histogram.series[labels]


def test_what_commits_tell_is_counted_by_queue_state_and_class() -> None:
    counted, reader = metrics()
    counted.committed(
        told(
            "a",
            (Measure.SUBMITTED, 0),
            (Measure.SUBMITTED, 0),
            (Measure.STARTED, 2 * SECOND),
            (Measure.STARTED, -1),
            (Measure.ATTEMPT_FAILED, FailureClass.CRASH),
            (Measure.ATTEMPT_ENDED, SECOND // 2),
            (Measure.ENDED, JobState.FAILED),
        )
    )
    counted.committed(told("b", (Measure.SUBMITTED, 0)))
    assert points(reader, "headrace.job.submitted") == {("default", "a"): 2, ("default", "b"): 1}
    assert points(reader, "headrace.attempt.started") == {("default", "a"): 2}
    assert points(reader, "headrace.attempt.failed") == {("default", "a", "CRASH"): 1}
    assert points(reader, "headrace.job.ended") == {("default", "a", "FAILED"): 1}
    waits, runs, commits = counted.histograms
    assert (sum(one(waits, "default", "a").counts), one(waits, "default", "a").sum) == (1, 2.0)
    assert (sum(one(runs, "default", "a").counts), one(runs, "default", "a").sum) == (1, 0.5)
    assert sum(one(commits).counts) == 2


def test_a_time_falls_into_the_bucket_whose_bound_it_does_not_pass() -> None:
    distribution = Distribution((1.0, 10.0))
    for seconds in (0.5, 1.0, 1.1, 10.0, 11.0):
        distribution.add(seconds)
    assert distribution.counts == [2, 2, 1]
    assert (distribution.shortest, distribution.longest) == (0.5, 11.0)


def test_queues_past_the_limit_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUES_COUNT_MAX", 3)
    counted, reader = metrics()
    for number in range(10):
        counted.committed(told(f"q{number}", (Measure.SUBMITTED, 0)))
    counted.committed(told("q1", (Measure.SUBMITTED, 0)))
    assert points(reader, "headrace.job.submitted") == {
        ("default", "q0"): 1,
        ("default", "q1"): 2,
        ("default", "q2"): 1,
        ("other", "other"): 7,
    }


def test_jobs_of_very_many_queues_are_summed_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        queue = f"q{number}"
        bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name=queue), "tester")
        bench.submit(*(new_job(queue=queue) for _ in range(number + 1)))
    monkeypatch.setattr(module, "ROWS_COUNT_MAX", 4)
    jobs, _ = bench.read(module._read)
    queued = int(JobState.QUEUED)
    named = [(NAMESPACE, f"q{number}", queued, number + 1) for number in range(4)]
    assert jobs == [*named, (*module.OTHERS, queued, 11)]


def test_a_store_that_cannot_be_read_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.002)
    monkeypatch.setattr(module, "LAG_SECONDS", 0.001)
    asked = asyncio.Event()

    class Broken(NoStore):
        asked_count = 0

        async def read(self, query: Any) -> None:
            self.asked_count += 1
            if self.asked_count == 3:
                asked.set()
            raise Refused(Refusal(Reason.STORE_UNAVAILABLE, "no disk"))

    async def scenario() -> None:
        counted = Metrics(MeterProvider([]).get_meter("test"), Broken(), Registry(30.0), Feed())  # type: ignore[arg-type]  # is read only
        running = asyncio.create_task(counted.run())
        async with asyncio.timeout(10):
            await asked.wait()
        assert not running.done()
        running.cancel()

    asyncio.run(scenario())


def test_counting_goes_on_while_an_exporter_reads() -> None:
    counted, reader = metrics()

    async def scenario() -> None:
        reading = asyncio.get_running_loop().run_in_executor(
            None, lambda: [points(reader, "headrace.job.submitted") for _ in range(20)]
        )
        number = 1
        while not reading.done():
            number += 1
            counted.committed(told(f"q{number % 150}", (Measure.SUBMITTED, 0)))
            await asyncio.sleep(0)
        await reading
        assert sum(points(reader, "headrace.job.submitted").values()) == number

    counted.committed(told("q0", (Measure.SUBMITTED, 0)))
    asyncio.run(scenario())
