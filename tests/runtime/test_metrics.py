"""Metrics: what is counted under which labels, and how many labels there are at most."""

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from headrace_server.core.alerts import Alert, AlertName, Severity
from headrace_server.core.failures import FailureClass
from headrace_server.core.health import Sample, WorkerCounts
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.job import InputResolution, Usage
from headrace_server.core.sessions import SessionState
from headrace_server.core.states import JobState
from headrace_server.runtime import metrics as module
from headrace_server.runtime.metrics import Distribution, Histogram, Metrics
from headrace_server.store.attempts.inputs import OpenCount
from headrace_server.store.effects import Effects, Measure, Resolved
from headrace_server.store.records.health import Counted


def metrics() -> tuple[Metrics, InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    return Metrics(meter), reader


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
    waits, runs, _, _, commits = counted.histograms
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


def test_what_a_look_saw_is_shown_and_the_longest_lag_of_the_last_ones() -> None:
    seen, reader = metrics()
    jobs = [("default", "a", JobState.QUEUED, 3), ("default", "b", JobState.RUNNING, 1)]
    alert = Alert(AlertName.NO_WORKER, Severity.CRITICAL, "", Micros(1), Micros(1), Micros(0), 1)
    seen.looked(Sample(workers=WorkerCounts(ready=2, lost=1), slots=8, lag_seconds=0.5), Counted(jobs=jobs), [alert])
    seen.looked(Sample(workers=WorkerCounts(ready=2), slots=6, lag_seconds=0.1), Counted(jobs=jobs[:1]), [alert])
    assert points(reader, "headrace.jobs") == {("default", "a", "QUEUED"): 3}
    assert points(reader, "headrace.slots") == {(): 6}
    assert points(reader, "headrace.workers") == {("READY",): 2, ("DRAINING",): 0, ("DISCONNECTED",): 0, ("LOST",): 0}
    assert points(reader, "headrace.event_loop.lag") == {(): 0.5}
    assert points(reader, "headrace.alerts") == {("no-worker",): 1}


def test_what_claude_uses_is_added_up_by_queue_and_kind_of_token() -> None:
    counted, reader = metrics()
    used = [
        ("default", "a", Usage(turns=1, input_tokens=5, output_tokens=2, cost_usd_micros=300, tool_calls=1)),
        ("default", "a", Usage(turns=1, input_tokens=1, cache_read_tokens=9, cost_usd_micros=200)),
    ]
    counted.committed(Effects(used=used, first_tokens=[("default", "a", 250_000), ("default", "a", 750_000)]))
    (waited,) = (one for one in counted.histograms if one.name == "headrace.claude.time_to_first_token")
    assert (waited.series["default", "a"].sum, waited.series["default", "a"].longest) == (1.0, 0.75)
    assert points(reader, "headrace.claude.tokens") == {
        ("default", "a", "input"): 6,
        ("default", "a", "output"): 2,
        ("default", "a", "cache_read"): 9,
    }
    assert points(reader, "headrace.claude.cost") == {("default", "a"): 500}
    assert points(reader, "headrace.claude.model_calls") == {("default", "a"): 2}
    assert points(reader, "headrace.claude.tool_calls") == {("default", "a"): 1}


def test_sessions_are_shown_by_state_and_their_processes_with_what_they_hold() -> None:
    seen, reader = metrics()
    sample = Sample(session_processes=2, session_memory_bytes=300)
    seen.looked(sample, Counted(sessions={SessionState.IDLE: 3, SessionState.LOST: 1}), [])
    assert points(reader, "headrace.sessions") == {("IDLE",): 3, ("LOST",): 1}
    assert points(reader, "headrace.session.processes") == {(): 2}
    assert points(reader, "headrace.session.memory") == {(): 300}


def test_x3_what_people_are_asked_is_counted_by_queue_and_by_what_became_of_it() -> None:
    counted, reader = metrics()
    resolved = [
        Resolved("default", "a", InputResolution.ALLOWED, 4 * SECOND),
        Resolved("default", "a", InputResolution.DENIED, 2 * SECOND),
        Resolved("default", "a", InputResolution.EXPIRED, 600 * SECOND),
        Resolved("default", "b", InputResolution.WITHDRAWN, 9 * SECOND),
    ]
    counted.committed(Effects(resolved=resolved))
    assert points(reader, "headrace.input.resolved") == {
        ("default", "a", "ALLOWED"): 1,
        ("default", "a", "DENIED"): 1,
        ("default", "a", "EXPIRED"): 1,
        ("default", "b", "WITHDRAWN"): 1,
    }
    (answers,) = (one for one in counted.histograms if one.name == "headrace.input.answer.duration")
    assert {labels: (sum(one.counts), one.sum) for labels, one in answers.series.items()} == {
        ("default", "a"): (2, 6.0)
    }


def test_x3_what_waits_for_a_person_is_shown_by_queue_with_the_age_of_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "QUEUES_COUNT_MAX", 1)
    seen, reader = metrics()
    now = Micros(100 * SECOND)
    asked = [
        OpenCount("default", "a", 2, Micros(70 * SECOND)),
        OpenCount("default", "b", 1, Micros(90 * SECOND)),
        OpenCount("default", "c", 3, Micros(40 * SECOND)),
    ]
    seen.looked(Sample(time=now), Counted(inputs=asked), [])
    assert points(reader, "headrace.inputs") == {("default", "a"): 2, ("other", "other"): 4}
    assert points(reader, "headrace.input.age") == {("default", "a"): 30.0, ("other", "other"): 60.0}
    seen.looked(Sample(time=now), Counted(), [])
    assert points(reader, "headrace.inputs") == {("default", "a"): 0, ("other", "other"): 0}
    assert points(reader, "headrace.input.age") == {("default", "a"): 0.0, ("other", "other"): 0.0}


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
