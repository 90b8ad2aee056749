"""The face of the worker SDK: `from headrace.worker import Worker`. Needs the extra `worker`."""

from headrace_worker.executors.handler_context import BlockingHandlerContext, HandlerCancelled, HandlerContext
from headrace_worker.sdk import Worker, WorkerDismissed

__all__ = ["BlockingHandlerContext", "HandlerCancelled", "HandlerContext", "Worker", "WorkerDismissed"]
