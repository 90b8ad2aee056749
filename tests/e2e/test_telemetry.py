"""What operators see of a real server: metrics by Prometheus and OTLP, and traces that go on from the caller's."""

import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from e2e.collector import Collector
from e2e.conftest import StartControlPlane
from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import job_pb2, job_service_pb2, job_service_pb2_grpc, task_pb2

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER_SPAN = "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = "01", "00"
LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
STORY = 'headrace_namespace="default",headrace_queue="default"'


def scrape(url: str) -> dict[str, float]:
    """Every sample by its name and labels."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    samples = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            found = LINE.fullmatch(line)
            assert found is not None, line
            labels = ",".join(sorted((found[2] or "").split(",")))
            samples[f"{found[1]}{{{labels}}}" if labels else found[1]] = float(found[3])
    return samples


def submit(plane: ControlPlane, script: str, *metadata: tuple[str, str], attempts: int = 1) -> str:
    with grpc.insecure_channel(plane.address) as channel:
        spec = job_pb2.JobSpec(command=task_pb2.CommandTask(program="sh", arguments=["-c", script]))
        spec.retry_policy.max_attempts = attempts
        spec.retry_policy.initial_backoff.FromMilliseconds(1)
        request = job_service_pb2.SubmitJobRequest(spec=spec)
        answer = job_service_pb2_grpc.JobServiceStub(channel).SubmitJob(request, metadata=metadata, timeout=10)
    return str(answer.job.id)


def ended(plane: ControlPlane, job_id: str) -> None:
    with plane.connect() as client:
        for _ in client.job(job_id).events():
            pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def test_prometheus_finds_what_has_happened_with_right_values(start_plane: StartControlPlane) -> None:
    plane = start_plane("--metrics", "127.0.0.1:0")
    url = plane.metrics_url
    for script in ("true", "true", "exit 3"):
        ended(plane, submit(plane, script))

    def as_expected() -> bool:
        return scrape(url).get(f'headrace_jobs{{headrace_job_state="FAILED",{STORY}}}') == 1

    wait_for(as_expected, "the next look at the queues")
    seen = scrape(url)
    assert seen[f"headrace_job_submitted_total{{{STORY}}}"] == 3
    assert seen[f"headrace_attempt_started_total{{{STORY}}}"] == 3
    assert seen[f'headrace_job_ended_total{{headrace_job_state="SUCCEEDED",{STORY}}}'] == 2
    assert seen[f'headrace_job_ended_total{{headrace_job_state="FAILED",{STORY}}}'] == 1
    assert seen[f'headrace_attempt_failed_total{{headrace_failure_class="ERROR",{STORY}}}'] == 1
    assert seen[f'headrace_jobs{{headrace_job_state="SUCCEEDED",{STORY}}}'] == 2
    assert seen[f"headrace_job_wait_duration_seconds_count{{{STORY}}}"] == 3
    assert seen[f"headrace_attempt_duration_seconds_count{{{STORY}}}"] == 3
    assert seen[f'headrace_attempt_duration_seconds_bucket{{{STORY},le="+Inf"}}'] == 3
    assert seen[f"headrace_attempt_duration_seconds_sum{{{STORY}}}"] > 0
    assert seen['headrace_workers{headrace_worker_state="READY"}'] == 1
    assert seen["headrace_slots"] == 4
    assert seen["headrace_slots_used"] == 0
    assert seen["headrace_attempts"] == 0
    assert seen["headrace_commit_waiting"] == 0
    assert seen["headrace_commit_duration_seconds_count"] > 3
    assert seen["process_memory_usage_bytes"] > 10_000_000
    assert 0 <= seen["headrace_event_loop_lag_seconds"] < 20
    rpc = 'rpc_method="headrace.v1.JobService/SubmitJob",rpc_response_status_code="OK",rpc_system_name="grpc"'
    assert seen[f"rpc_server_call_duration_seconds_count{{{rpc}}}"] == 3


def test_what_takes_slots_and_who_follows_is_shown_while_it_lasts(start_plane: StartControlPlane) -> None:
    plane = start_plane("--metrics", "127.0.0.1:0")
    job_id = submit(plane, "while test ! -e done; do sleep 0.05; done")
    with plane.connect() as client:
        events = client.job(job_id).events()
        while next(events).WhichOneof("kind") != "attempt_started":
            pass
        url = plane.metrics_url

        def shown() -> tuple[float, ...]:
            seen = scrape(url)
            names = ("headrace_slots_used", "headrace_attempts", "headrace_followers")
            running = seen.get(f'headrace_jobs{{headrace_job_state="RUNNING",{STORY}}}', 0)
            return (*(seen[name] for name in names), running)

        wait_for(lambda: shown() == (1, 1, 1, 1), "it is seen to run")
        client.job(job_id).cancel()
        for _ in events:
            pass
    wait_for(lambda: shown() == (0, 0, 0, 0), "it is seen to have ended")


def test_counters_begin_anew_with_the_process_and_counts_by_state_do_not(start_plane: StartControlPlane) -> None:
    plane = start_plane("--metrics", "127.0.0.1:0")
    ended(plane, submit(plane, "true"))
    plane.stop()
    plane.start()
    url = plane.metrics_url
    succeeded = f'headrace_jobs{{headrace_job_state="SUCCEEDED",{STORY}}}'
    wait_for(lambda: scrape(url).get(succeeded) == 1, "the first look at the queues")
    assert f"headrace_job_submitted_total{{{STORY}}}" not in scrape(url)
    ended(plane, submit(plane, "true"))
    assert scrape(url)[f"headrace_job_submitted_total{{{STORY}}}"] == 1


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def test_a_trace_goes_on_from_the_callers_through_wait_and_every_attempt(
    start_plane: StartControlPlane, collector: Collector
) -> None:
    plane = start_plane(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    job_id = submit(plane, "exit 3", ("traceparent", f"00-{TRACE_ID}-{CALLER_SPAN}-{SAMPLED}"), attempts=2)
    ended(plane, job_id)
    plane.stop()

    spans = [span for span in collector.spans if span.trace_id.hex() == TRACE_ID]
    (submitted,) = [span for span in spans if span.name.endswith("SubmitJob")]
    assert submitted.parent_span_id.hex() == CALLER_SPAN
    of_job = sorted((span for span in spans if span.name.startswith("job.")), key=lambda span: span.end_time_unix_nano)
    assert [span.name for span in of_job] == ["job.wait", "job.run", "job.run"]
    assert {span.parent_span_id for span in of_job} == {submitted.span_id}
    assert {attributes(span)["headrace.job.id"] for span in of_job} == {job_id}
    wait, *runs = of_job
    assert wait.end_time_unix_nano == runs[0].start_time_unix_nano
    assert all(span.start_time_unix_nano < span.end_time_unix_nano for span in of_job)
    for number, run in enumerate(runs, 1):
        assert attributes(run) == {
            "headrace.job.id": job_id,
            "headrace.namespace": "default",
            "headrace.queue": "default",
            "headrace.worker.id": "local",
            "headrace.attempt.number": number,
            "headrace.attempt.outcome": "failed",
            "headrace.failure.class": "ERROR",
        }


def test_a_trace_that_the_caller_does_not_sample_has_no_spans(
    start_plane: StartControlPlane, collector: Collector
) -> None:
    plane = start_plane(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    ended(plane, submit(plane, "true", ("traceparent", f"00-{TRACE_ID}-{CALLER_SPAN}-{NOT_SAMPLED}")))
    ended(plane, submit(plane, "true"))
    plane.stop()
    assert TRACE_ID not in {span.trace_id.hex() for span in collector.spans}
    assert [span.name for span in collector.spans if span.name.startswith("job.")] == ["job.wait", "job.run"]


def test_a_collector_gets_the_metrics_too(start_plane: StartControlPlane, collector: Collector) -> None:
    plane = start_plane(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    ended(plane, submit(plane, "true"))
    plane.stop()
    metrics = collector.metrics
    (submitted,) = metrics["headrace.job.submitted"].sum.data_points
    assert (metrics["headrace.job.submitted"].unit, submitted.as_int) == ("{job}", 1)
    (waited,) = metrics["headrace.job.wait.duration"].histogram.data_points
    assert (metrics["headrace.job.wait.duration"].unit, waited.count) == ("s", 1)
    assert sum(waited.bucket_counts) == 1
