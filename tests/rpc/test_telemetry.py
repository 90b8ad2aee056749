"""Spans and durations by the semantic conventions."""

import asyncio
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from headrace.v1 import job_service_pb2
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.telemetry import Telemetry

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
METHOD = "headrace.v1.JobService/GetJob"


class Toy:
    def __init__(self) -> None:
        self.traceparents: list[str] = []

    async def get_job(self, request: Any, call: Call) -> Any:
        self.traceparents.append(call.traceparent)
        if request.job_id == "missing":
            raise Refused(Refusal(Reason.NOT_FOUND, "no such job"))
        if request.job_id == "bug":
            raise ValueError("a secret")
        return job_service_pb2.GetJobResponse()


def observe(serve: Any, *job_ids: str) -> tuple[Any, Any, list[str]]:
    exporter, reader, toy = InMemorySpanExporter(), InMemoryMetricReader(), Toy()
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter_provider = MeterProvider([reader], shutdown_on_exit=False)

    async def scenario() -> None:
        async with serve(toy, telemetry=Telemetry(tracer_provider, meter_provider)) as serving:
            for job_id in job_ids:
                call = serving.jobs.GetJob(
                    job_service_pb2.GetJobRequest(job_id=job_id),
                    metadata=(("traceparent", f"00-{TRACE_ID}-b7ad6b7169203331-01"),),
                )
                await asyncio.wait([asyncio.ensure_future(call.code())])

    asyncio.run(scenario())
    return exporter.get_finished_spans(), reader.get_metrics_data(), toy.traceparents


def test_a_span_continues_the_clients_trace(serve: Any) -> None:
    spans, _, traceparents = observe(serve, "")
    (span,) = spans
    assert (span.name, span.kind) == (METHOD, SpanKind.SERVER)
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert traceparents == [f"00-{TRACE_ID}-{span.context.span_id:016x}-01"]
    assert dict(span.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
    }


def test_only_the_servers_faults_are_errors(serve: Any) -> None:
    spans, _, _ = observe(serve, "missing", "bug")
    codes = [(span.attributes["rpc.response.status_code"], span.status.status_code) for span in spans]
    assert codes == [("NOT_FOUND", StatusCode.UNSET), ("INTERNAL", StatusCode.ERROR)]
    assert "secret" not in str([span.to_json() for span in spans])


def test_durations_are_counted_by_method_and_status(serve: Any) -> None:
    _, metrics, _ = observe(serve, "", "", "missing")
    (metric,) = metrics.resource_metrics[0].scope_metrics[0].metrics
    counts = {point.attributes["rpc.response.status_code"]: point.count for point in metric.data.data_points}
    assert (metric.name, metric.unit) == ("rpc.server.call.duration", "s")
    assert counts == {"OK": 2, "NOT_FOUND": 1}
