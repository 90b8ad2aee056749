"""Providers that send spans and metrics to an OTLP collector. Imported by `app` only when an endpoint is set.

The endpoint comes from the settings; nothing here reads the environment by itself.
"""

from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from headrace_server.rpc.telemetry import Telemetry

SHUTDOWN_MILLIS_MAX = 2000


@dataclass(frozen=True, slots=True)
class Exporting:
    """Telemetry with the providers behind it."""

    telemetry: Telemetry
    tracer_provider: TracerProvider
    meter_provider: MeterProvider

    def close(self) -> None:
        """Sends what is left, for a bounded time. Blocks: call it in a thread, after the last rpc."""
        self.tracer_provider.force_flush(SHUTDOWN_MILLIS_MAX)
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown(SHUTDOWN_MILLIS_MAX)


def export_to(endpoint: str, service_version: str, instance_id: str) -> Exporting:
    """Telemetry that goes to the collector at `endpoint`; `http://` means without TLS."""
    insecure = not endpoint.startswith("https://")
    resource = Resource.create(
        {SERVICE_NAME: "headrace", SERVICE_VERSION: service_version, SERVICE_INSTANCE_ID: instance_id}
    )
    tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracer_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=insecure)))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint, insecure=insecure))
    meter_provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    return Exporting(Telemetry(tracer_provider, meter_provider), tracer_provider, meter_provider)
