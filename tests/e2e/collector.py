"""An OTLP collector on loopback that keeps what it is sent."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Serves both services while it is open; what it has is read after the sender has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Any] = []
        self._metrics: dict[str, Any] = {}
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]  # generated
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), self._server)  # type: ignore[no-untyped-call]  # generated
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> "Collector":
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(0).wait()

    @property
    def spans(self) -> list[Any]:
        """Every span that came."""
        with self._lock:
            return list(self._spans)

    @property
    def metrics(self) -> dict[str, Any]:
        """The latest of each metric, by name."""
        with self._lock:
            return dict(self._metrics)

    def Export(self, request: Any, context: Any) -> Any:
        with self._lock:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    self._spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def keep(self, request: Any) -> None:
        """Keeps metrics."""
        with self._lock:
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    self._metrics.update({metric.name: metric for metric in scope.metrics})


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request: Any, context: Any) -> Any:
        self._collector.keep(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()
