"""Spans of jobs: made a moment after the commit, for callers that sample, and never without bound."""

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from headrace.v1 import event_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, job_id_text
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.runtime import tracing as module
from headrace_server.runtime.tracing import Tracing, sampled_parent
from store.driving import Bench, claude_spec, failure, frame, new_job

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SILENT = PARENT[:-2] + "00"


class Traced:
    """Tracing of a bench's store, with what it made."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider.get_tracer("test"), bench.store)

    def spans(self) -> list[ReadableSpan]:
        """What is made of everything that was committed since the last time."""
        for effects in self.bench.effects:
            self.tracing.committed(effects)
        self.bench.effects.clear()
        self.bench.run(self.tracing.write())
        made = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return made


@pytest.fixture
def traced(bench: Bench) -> Traced:
    return Traced(bench)


def test_a_job_has_a_span_for_its_wait_and_one_for_each_attempt(traced: Traced) -> None:
    bench = traced.bench
    (job,) = bench.submit(new_job(traceparent=PARENT))
    submitted = bench.clock.now()
    bench.clock.advance(3)
    lease = bench.assign(job.id)
    bench.hear(starts=[lease])
    bench.clock.advance(4)
    bench.finish(lease, failed=failure(FailureClass.INVALID))
    wait, run = traced.spans()
    assert (wait.name, run.name) == ("job.wait", "job.run")
    assert (wait.start_time, wait.end_time) == (submitted * 1000, (submitted + 3 * SECOND) * 1000)
    assert (run.start_time, run.end_time) == (wait.end_time, (submitted + 7 * SECOND) * 1000)
    for span in (wait, run):
        assert span.parent is not None
        assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" in PARENT
        assert span.attributes is not None
        assert span.attributes["headrace.job.id"] == job_id_text(job.id)
    assert run.attributes is not None
    assert run.attributes["headrace.attempt.outcome"] == "failed"
    assert run.attributes["headrace.failure.class"] == "INVALID"
    assert run.status.status_code is StatusCode.ERROR
    assert wait.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (lambda bench, lease: bench.finish(lease), "succeeded"),
        (lambda bench, lease: bench.lose(), "lost"),
        (lambda bench, lease: bench.finish(lease, returned=True), "handed_back"),
        (lambda bench, lease: (bench.cancel(lease.job_id), bench.finish(lease, succeeded=None)), "cancelled"),
    ],
)
def test_a_run_says_how_it_ended(traced: Traced, end: Callable[[Bench, Any], Any], outcome: str) -> None:
    lease = traced.bench.running(traceparent=PARENT)
    end(traced.bench, lease)
    run = traced.spans()[-1]
    assert run.attributes is not None
    assert (run.name, run.attributes["headrace.attempt.outcome"]) == ("job.run", outcome)


@pytest.mark.parametrize("traceparent", [SILENT, "", "garbage"])
def test_a_job_whose_caller_does_not_sample_has_none(traced: Traced, traceparent: str) -> None:
    lease = traced.bench.running(traceparent=traceparent)
    traced.bench.finish(lease)
    assert traced.spans() == []


def spoken(sequence: int, seconds: int, **block: Any) -> event_pb2.Output:
    """A frame in which the model or a tool says something, so many seconds after the beginning of time."""
    message = event_pb2.ClaudeMessage(blocks=[event_pb2.ContentBlock(**block)])
    said = event_pb2.ClaudeFrame(raw_json="{}")
    (said.user if "tool_result" in block else said.assistant).CopyFrom(message)
    output = event_pb2.Output(producer_sequence=sequence, claude=said)
    output.time.FromSeconds(seconds)
    return output


def test_a_tool_call_is_a_span_below_its_attempt(traced: Traced) -> None:
    bench = traced.bench
    lease = bench.running(claude_spec(), traceparent=PARENT)
    bench.append(
        lease,
        frame(1),
        spoken(2, 10, tool_use=event_pb2.ToolUse(tool_use_id="a", name="Bash")),
        spoken(3, 11, tool_use=event_pb2.ToolUse(tool_use_id="b", name="Read")),
        spoken(4, 15, tool_result=event_pb2.ToolResult(tool_use_id="a", is_error=True)),
    )
    bench.finish(lease, outputs=4)
    spans = {span.name + str((span.attributes or {}).get("headrace.tool.name", "")): span for span in traced.spans()}
    run, bash, read = spans["job.run"], spans["tool.callBash"], spans["tool.callRead"]
    assert (bash.start_time, bash.end_time) == (10 * 10**9, 15 * 10**9)
    assert (bash.status.status_code, bash.status.description) == (StatusCode.ERROR, "failed")
    assert (read.end_time, read.status.description) == (run.end_time, "never returned")
    assert run.context is not None
    for span in (bash, read):
        assert span.parent is not None
        assert span.parent.span_id == run.context.span_id


def test_what_is_no_trace_context_has_no_parent() -> None:
    assert sampled_parent(PARENT) is not None
    for text in ("", SILENT, PARENT + "0", f"00-{'0' * 32}-b7ad6b7169203331-01"):
        assert sampled_parent(text) is None


def test_spans_that_nobody_makes_are_dropped_and_counted(
    traced: Traced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PENDING_COUNT_MAX", 3)
    leases = [traced.bench.running(traceparent=PARENT) for _ in range(5)]
    assert len(leases) == 5
    assert len(traced.spans()) == 3
    assert "2 spans of jobs were dropped" in caplog.text


def test_a_store_that_cannot_be_read_costs_spans_and_nothing_else(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced.bench.running(traceparent=PARENT)

    async def refuse(*arguments: Any) -> None:
        raise Refused(Refusal(Reason.STORE_UNAVAILABLE, "no disk"))

    with monkeypatch.context() as patch:
        patch.setattr(traced.bench.store, "read", refuse)
        assert traced.spans() == []
    traced.bench.running(traceparent=PARENT)
    assert [span.name for span in traced.spans()] == ["job.wait"]
