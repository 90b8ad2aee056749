"""Spans of jobs: how long each waited, and each of its attempts, as children of the span that submitted it; and below
an attempt of Claude's, each of its tool calls.

Made from what commits tell, a moment later and in batches; only while traces are exported, and only for jobs whose
caller had them sampled.
"""

import asyncio
import logging
import re
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from headrace_server.core.ids import Micros, job_id_text
from headrace_server.core.refusal import Refused
from headrace_server.store.effects import Effects, Ran, Waited
from headrace_server.store.records.reads import traceparents
from headrace_server.store.records.tool_calls import ToolCall, tool_calls
from headrace_server.store.store import Store

log = logging.getLogger(__name__)

WRITE_SECONDS = 1.0
PENDING_COUNT_MAX = 20_000
"""Spans that wait to be made; more are dropped."""

WAIT_SPAN = "job.wait"
RUN_SPAN = "job.run"
TOOL_SPAN = "tool.call"
JOB_ID = "headrace.job.id"
NAMESPACE = "headrace.namespace"
QUEUE = "headrace.queue"
WORKER_ID = "headrace.worker.id"
ATTEMPT = "headrace.attempt.number"
OUTCOME = "headrace.attempt.outcome"
FAILURE_CLASS = "headrace.failure.class"
TOOL_NAME = "headrace.tool.name"

_ERRORS = frozenset({"failed", "lost"})
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Tracing:
    """Makes the spans of jobs, for the event loop that it was made on."""

    def __init__(self, tracer: Tracer, store: Store) -> None:
        self._tracer = tracer
        self._store = store
        self._pending: list[Waited | Ran] = []
        self._dropped = 0

    def committed(self, effects: Effects) -> None:
        """Takes note of what a transaction told."""
        room = PENDING_COUNT_MAX - len(self._pending)
        self._pending += effects.spans[:room]
        self._dropped += max(0, len(effects.spans) - room)

    async def run(self) -> None:
        """Makes spans, every so often, until it is cancelled."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Makes the spans of what was told so far. What can't be read of the store has none."""
        pending, self._pending = self._pending, []
        if self._dropped:
            log.warning("%d spans of jobs were dropped: more than can be made", self._dropped)
            self._dropped = 0
        if not pending:
            return
        try:
            parents = await self._store.read(traceparents, sorted({one.row for one in pending}))
        except Refused as error:
            log.warning("%d spans of jobs were dropped: %s", len(pending), error)
            return
        for one in pending:
            parent = sampled_parent(parents.get(one.row, ""))
            if parent is not None:
                self._span(one, parent, await self._tool_calls(one))

    async def _tool_calls(self, one: Waited | Ran) -> Sequence[ToolCall]:
        if not isinstance(one, Ran) or not one.has_tools:
            return ()
        try:
            return await self._store.read(tool_calls, one.row, one.attempt)
        except Refused as error:
            log.warning("spans of tools were dropped: %s", error)
            return ()

    def _span(self, one: Waited | Ran, parent: SpanContext, calls: Sequence[ToolCall]) -> None:
        span = self._tracer.start_span(
            RUN_SPAN if isinstance(one, Ran) else WAIT_SPAN,
            trace.set_span_in_context(NonRecordingSpan(parent)),
            SpanKind.INTERNAL,
            {JOB_ID: job_id_text(one.job_id), NAMESPACE: one.namespace, QUEUE: one.queue},
            start_time=_nanos(one.begin),
        )
        if isinstance(one, Ran):
            span.set_attributes({WORKER_ID: one.worker, ATTEMPT: one.attempt, OUTCOME: one.outcome})
            if one.failure_class is not None:
                span.set_attribute(FAILURE_CLASS, one.failure_class.name)
            if one.outcome in _ERRORS:
                span.set_status(Status(StatusCode.ERROR, one.outcome))
        for call in calls:
            self._tool_span(call, span, one.end)
        span.end(_nanos(one.end))

    def _tool_span(self, call: ToolCall, run: Span, run_end: Micros) -> None:
        context = trace.set_span_in_context(run)
        span = self._tracer.start_span(
            TOOL_SPAN, context, SpanKind.INTERNAL, {TOOL_NAME: call.name}, start_time=_nanos(call.begin)
        )
        if call.failed or not call.end:
            span.set_status(Status(StatusCode.ERROR, "failed" if call.end else "never returned"))
        span.end(_nanos(call.end or max(call.begin, run_end)))


def sampled_parent(traceparent: str) -> SpanContext | None:
    """The span that a W3C trace context names, when its trace is sampled."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups())
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid and context.trace_flags.sampled else None


def _nanos(time: Micros) -> int:
    return time * 1000
