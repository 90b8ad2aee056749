"""Providers that send spans and metrics to an OTLP collector, and show metrics to Prometheus. Imported by `app` only
when one of the two is wanted.

Where to comes from the settings; nothing here reads the environment by itself.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from wsgiref.simple_server import WSGIServer

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
    ScopeMetrics,
)
from opentelemetry.sdk.metrics.export import Histogram as HistogramData
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracerProvider, Tracer
from prometheus_client import CollectorRegistry, start_http_server

from headrace_server.core.ids import Micros
from headrace_server.rpc.telemetry import INSTRUMENTATION_NAME, Telemetry
from headrace_server.runtime.metrics import Histogram

SHUTDOWN_SECONDS_MAX = 2.0
EXPORT_SECONDS_MAX = 5.0


class _Histograms:
    """The distributions that are added up outside of instruments, as the SDK's data."""

    def __init__(self, now: Callable[[], Micros]) -> None:
        self.sources: Sequence[Histogram] = ()
        self._now = now
        self._began = now()

    def beside(self, data: MetricsData) -> MetricsData:
        """The data with these among those of the same scope: OTLP keeps one list for each scope."""
        mine = [self._metric(one) for one in self.sources]
        return MetricsData(
            [
                replace(resource, scope_metrics=[_with(scope, mine) for scope in resource.scope_metrics])
                for resource in data.resource_metrics
            ]
        )

    def _metric(self, histogram: Histogram) -> Metric:
        points = [
            HistogramDataPoint(
                attributes=dict(zip(histogram.attributes, labels, strict=True)),
                start_time_unix_nano=self._began * 1000,
                time_unix_nano=self._now() * 1000,
                count=sum(counts := list(one.counts)),
                sum=one.sum,
                bucket_counts=counts,
                explicit_bounds=one.bounds,
                min=one.shortest,
                max=one.longest,
            )
            for labels, one in histogram.series.copy().items()
        ]
        data = HistogramData(points, AggregationTemporality.CUMULATIVE)
        return Metric(histogram.name, histogram.description, "s", data)


def _with(scope: ScopeMetrics, metrics: Sequence[Metric]) -> ScopeMetrics:
    if scope.scope.name != INSTRUMENTATION_NAME:
        return scope
    return replace(scope, metrics=[*scope.metrics, *metrics])


class _PrometheusReader(PrometheusMetricReader):
    def __init__(self, histograms: _Histograms, registry: CollectorRegistry) -> None:
        self._histograms = histograms
        super().__init__(scope_info_enabled=False, registry=registry)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **others: Any) -> None:
        super()._receive_metrics(self._histograms.beside(metrics_data), timeout_millis, **others)


class _OtlpReader(PeriodicExportingMetricReader):
    def __init__(self, histograms: _Histograms, exporter: OTLPMetricExporter) -> None:
        self._histograms = histograms
        super().__init__(exporter)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **others: Any) -> None:
        super()._receive_metrics(self._histograms.beside(metrics_data), timeout_millis, **others)


@dataclass(frozen=True, slots=True)
class Exporting:
    """Telemetry with the providers behind it."""

    telemetry: Telemetry
    meter: Meter
    tracer: Tracer | None
    """None when spans go nowhere."""
    metrics_port: int
    """Where Prometheus finds the metrics; zero when it does not."""
    _histograms: _Histograms
    _closings: tuple[Callable[[], object], ...]

    def show(self, histograms: Sequence[Histogram]) -> None:
        """Has these distributions exported too."""
        self._histograms.sources = histograms

    def close(self) -> None:
        """Sends what is left, for a bounded time. Blocks: call it in a thread, after the last rpc."""
        # A collector that is down is tried again and again by the exporters, so they are left behind with the process.
        threads = [threading.Thread(target=closing, daemon=True) for closing in self._closings]
        for thread in threads:
            thread.start()
        end = time.perf_counter() + SHUTDOWN_SECONDS_MAX
        for thread in threads:
            thread.join(max(0.0, end - time.perf_counter()))


def start_exporting(
    otlp_endpoint: str, metrics_listen: str, service_version: str, instance_id: str, now: Callable[[], Micros]
) -> Exporting:
    """Telemetry that goes to the collector at `otlp_endpoint` (`http://` means no TLS), and whose metrics are shown
    on `metrics_listen`; an empty one is left out. Raises OSError when that is taken."""
    resource = Resource.create(
        {SERVICE_NAME: "headrace", SERVICE_VERSION: service_version, SERVICE_INSTANCE_ID: instance_id}
    )
    histograms = _Histograms(now)
    readers: list[MetricReader] = []
    closings: list[Callable[[], object]] = []
    port = 0
    if metrics_listen:
        registry = CollectorRegistry()
        server = _listen(metrics_listen, registry)
        port = server.server_port
        readers.append(_PrometheusReader(histograms, registry))
        closings.append(lambda: _stop(server))
    tracer_provider: TracerProvider | None = None
    if otlp_endpoint:
        insecure = not otlp_endpoint.startswith("https://")
        readers.append(_OtlpReader(histograms, OTLPMetricExporter(otlp_endpoint, insecure, timeout=EXPORT_SECONDS_MAX)))
        tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(otlp_endpoint, insecure, timeout=EXPORT_SECONDS_MAX)
        tracer_provider.add_span_processor(BatchSpanProcessor(exporter))
        closings.append(tracer_provider.shutdown)
    meter_provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    closings.append(meter_provider.shutdown)
    return Exporting(
        telemetry=Telemetry(tracer_provider or NoOpTracerProvider(), meter_provider),
        meter=meter_provider.get_meter(INSTRUMENTATION_NAME),
        tracer=tracer_provider.get_tracer(INSTRUMENTATION_NAME) if tracer_provider is not None else None,
        metrics_port=port,
        _histograms=histograms,
        _closings=tuple(closings),
    )


def _listen(address: str, registry: CollectorRegistry) -> WSGIServer:
    host, _, port = address.rpartition(":")
    try:
        server, _ = start_http_server(int(port), host.strip("[]"), registry)
    except OSError as error:
        raise OSError(f"can't show metrics on {address}: {(error.strerror or str(error)).lower()}") from error
    return server


def _stop(server: WSGIServer) -> None:
    server.shutdown()
    server.server_close()
