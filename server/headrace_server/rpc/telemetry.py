"""Spans and durations of rpcs, with the names of OpenTelemetry's semantic conventions in this one place.

Without a provider there is no Telemetry, and the pipeline is composed without it. Exporters are made in
`telemetry_export.py`, which is imported only when one is wanted.
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from grpc import StatusCode
from opentelemetry import trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import SpanKind, Status, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

INSTRUMENTATION_NAME = "headrace_server"
RPC_DURATION = "rpc.server.call.duration"
RPC_DURATION_SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RPC_SYSTEM = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_STATUS = "rpc.response.status_code"
ERROR_TYPE = "error.type"

SERVER_FAULTS = frozenset(
    {
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)
"""Codes that make a server's span an error; the others are the client's doing."""

_PROPAGATOR = TraceContextTextMapPropagator()
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Handler = Callable[[Any, Any], Awaitable[Any]]


class Telemetry:
    """Observes rpcs through the given providers."""

    def __init__(self, tracer_provider: TracerProvider, meter_provider: MeterProvider) -> None:
        self._tracer = tracer_provider.get_tracer(INSTRUMENTATION_NAME)
        self._durations = meter_provider.get_meter(INSTRUMENTATION_NAME).create_histogram(
            RPC_DURATION,
            unit="s",
            description="Duration of incoming rpcs",
            explicit_bucket_boundaries_advisory=RPC_DURATION_SECONDS_BUCKETS,
        )

    def observed(self, method: str, handler: Handler) -> Handler:
        """The handler inside a server span that continues the client's trace, and with its duration measured."""
        fixed = {RPC_SYSTEM: "grpc", RPC_METHOD: method}

        async def handle(request: Any, context: Any) -> Any:
            parent = _PROPAGATOR.extract(_text_metadata(context.invocation_metadata() or ()))
            begun = time.perf_counter()
            span = self._tracer.start_span(method, parent, SpanKind.SERVER, fixed)
            raised = True
            try:
                with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                    result = await handler(request, context)
                raised = False
                return result
            finally:
                code = _final_code(context, raised)
                attributes = fixed | {RPC_STATUS: code.name}
                span.set_attribute(RPC_STATUS, code.name)
                if code in SERVER_FAULTS:
                    attributes[ERROR_TYPE] = code.name
                    span.set_status(Status(trace.StatusCode.ERROR, code.name))
                span.end()
                self._durations.record(time.perf_counter() - begun, attributes)

        return handle


def current_traceparent() -> str:
    """The current span's W3C trace context; empty when there is none."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def valid_traceparent(text: str) -> str:
    """The text when it is a W3C trace context, else nothing: a bad one is to be ignored."""
    return text if _TRACEPARENT.fullmatch(text) else ""


def _text_metadata(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata if isinstance(value, str)}


def _final_code(context: Any, raised: bool) -> StatusCode:
    """What the call ended with. A handler that raised without setting a code was cancelled by its client."""
    code: StatusCode | None = context.code()
    if code is None:
        return StatusCode.CANCELLED if raised else StatusCode.OK
    return code
