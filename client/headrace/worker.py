"""The face of the worker SDK: `from headrace.worker import Worker`. Needs the extra `worker`."""

from headrace_worker.executors.handler_context import BlockingHandlerContext, HandlerContext
from headrace_worker.executors.handler_endings import HandlerCancelled, HandlerFailure, InvalidInput, Snooze
from headrace_worker.executors.handler_facts import DependencyOutcome
from headrace_worker.sdk import Worker, WorkerDismissed

__all__ = [
    "BlockingHandlerContext",
    "DependencyOutcome",
    "HandlerCancelled",
    "HandlerContext",
    "HandlerFailure",
    "InvalidInput",
    "Snooze",
    "Worker",
    "WorkerDismissed",
]
