"""Runs HandlerTasks: Python functions that were registered under a name, in the worker's own process.

An async function runs in the attempt's task, any other in a thread. What a function may use is its context
(`handler_context.py`). A function that ignores a cancel keeps its slot until it returns: nobody can end a thread.
"""

import asyncio
import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Executor as Threads
from dataclasses import dataclass, replace
from typing import Any

from headrace.v1 import event_pb2, outcome_pb2
from headrace_worker.executors.contract import (
    Attempt,
    Cancelled,
    Failed,
    HandlerAttempt,
    Outcome,
    Snoozed,
    StopRequest,
    Succeeded,
)
from headrace_worker.executors.handler_context import BlockingHandlerContext, HandlerContext
from headrace_worker.executors.handler_endings import HandlerFailure, InvalidInput, Snooze
from headrace_worker.executors.handler_reports import Reports
from headrace_worker.executors.limits import (
    FAILURE_DETAIL_BYTES_MAX,
    FAILURE_MESSAGE_CHARACTERS_MAX,
    RESULT_BYTES_MAX,
    RESULT_HEADROOM_BYTES,
)
from headrace_worker.executors.values import NotJson, sendable, to_dict, to_value

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function."""

    name: str
    function: Function
    is_async: bool
    takes_context: bool


def handler_of(name: str, function: Function) -> Handler:
    """Looks at a function once. Raises TypeError when it can't be called with an input, or an input and a context."""
    positional = 0
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional = 2
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            if parameter.default is parameter.empty or positional < 2:
                positional += 1
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise TypeError(f"handler {name!r}: the parameter {parameter.name!r} would never be given")
    if not 1 <= positional <= 2:
        raise TypeError(
            f"handler {name!r} has to take the input, and may take a context; it takes {positional} arguments"
        )
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
    return Handler(name, function, is_async, positional == 2)


class HandlerExecutor:
    """The executor `handler`."""

    def __init__(self, handlers: Mapping[str, Handler], threads: Threads) -> None:
        """`threads` runs the functions that are not async, one thread each."""
        self._handlers = dict(handlers)
        self._threads = threads

    @property
    def names(self) -> list[str]:
        """The registered names."""
        return sorted(self._handlers)

    async def run(self, attempt: HandlerAttempt) -> Outcome:
        """Runs one HandlerTask to its end; see `Executor`."""
        task = attempt.assignment.spec.handler
        handler = self._handlers.get(task.name)
        if handler is None:
            return failed(
                outcome_pb2.FAILURE_CLASS_INVALID, f"this worker has no handler {task.name!r}", f"handler={task.name}"
            )
        if attempt.stop_requested() is not None:
            return Cancelled()
        argument = to_dict(task.input)
        reports = _reports(handler, attempt) if handler.takes_context else None
        try:
            if handler.is_async:
                outcome = await self._run_async(handler, argument, attempt, reports)
            else:
                outcome = await self._run_blocking(handler, argument, attempt, reports)
        finally:
            if reports is not None:
                await reports.finish()
        if reports is not None and reports.usage is not None:
            outcome = replace(outcome, usage=reports.usage)
        if attempt.stop_requested() is not None:
            attempt.report_step(event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_TREE_GONE))
        return outcome

    async def _run_async(
        self, handler: Handler, argument: dict[str, Any], attempt: HandlerAttempt, reports: Reports | None
    ) -> Outcome:
        interruption = Interruption(attempt)
        attempt.on_stop(interruption.stop)
        try:
            if reports is None:
                value = await handler.function(argument)
            else:
                value = await handler.function(argument, HandlerContext(attempt, reports))
        except asyncio.CancelledError as error:
            if interruption.settle():
                return Cancelled()
            if interruption.cancelled_from_outside():
                raise
            return raised(error)
        except BaseException as error:
            if not interruption.runs():
                raise
            return Cancelled() if interruption.settle() else raised(error)
        finally:
            interruption.close()
        return Cancelled() if interruption.settle() else returned(value)

    async def _run_blocking(
        self, handler: Handler, argument: dict[str, Any], attempt: HandlerAttempt, reports: Reports | None
    ) -> Outcome:
        call = functools.partial(handler.function, argument)
        if reports is not None:
            context = BlockingHandlerContext(attempt, reports, asyncio.get_running_loop())
            attempt.on_stop(context.cancel)
            call = functools.partial(handler.function, argument, context)
        attempt.on_stop(lambda stop: report_interrupt(attempt, stop))
        value, error = await asyncio.get_running_loop().run_in_executor(self._threads, invoke, call)
        if attempt.stop_requested() is not None:
            return Cancelled()
        return returned(value) if error is None else raised(error)


def _reports(handler: Handler, attempt: HandlerAttempt) -> Reports:
    if handler.is_async:
        return Reports(attempt, lambda send: send())
    return Reports(attempt, asyncio.get_running_loop().call_soon_threadsafe)


def invoke(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Calls a function in a thread; what it raises comes back as a value, since futures don't carry every exception."""
    try:
        return call(), None
    except BaseException as error:
        return None, error


class Interruption:
    """Cancels the task in which an async handler runs, and tells such a cancel from another one."""

    def __init__(self, attempt: HandlerAttempt) -> None:
        self._attempt = attempt
        self._task = asyncio.current_task()
        self._cancels = 0
        self._open = True
        self._timer: asyncio.TimerHandle | None = None

    def stop(self, request: StopRequest) -> None:
        """Cancels the handler; again after the grace, for one that caught the first."""
        if not self._open:
            return
        report_interrupt(self._attempt, request)
        self._cancel()
        if not request.kill:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(request.grace_seconds, self._cancel)

    def close(self) -> None:
        """The handler has ended: nothing is cancelled any more."""
        self._open = False
        if self._timer is not None:
            self._timer.cancel()

    def settle(self) -> bool:
        """Takes back what was cancelled here; True when that was the only cancel, and there was one."""
        self.close()
        interrupted = self._cancels > 0
        assert self._task is not None
        for _ in range(self._cancels):
            self._task.uncancel()
        self._cancels = 0
        return interrupted and not self._task.cancelling()

    def runs(self) -> bool:
        """False while the coroutine is closed because its loop is gone; what comes then is not the handler's word."""
        try:
            return asyncio.current_task() is self._task
        except RuntimeError:
            return False

    def cancelled_from_outside(self) -> bool:
        """Whether the whole worker is ending."""
        return self._task is not None and self._task.cancelling() > 0

    def _cancel(self) -> None:
        if self._open and self._task is not None:
            self._cancels += 1
            self._task.cancel()


def report_interrupt(attempt: Attempt, request: StopRequest) -> None:
    """Says in the job's log that the function was asked to stop."""
    if not request.kill:
        attempt.report_step(
            event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_INTERRUPT, message="the handler was cancelled")
        )


def returned(value: object) -> Outcome:
    """What a handler returned, as an outcome."""
    result = outcome_pb2.Result()
    try:
        result.handler.value.CopyFrom(to_value(value))
    except NotJson as error:
        return failed(outcome_pb2.FAILURE_CLASS_ERROR, f"the handler's result is not JSON: {error}", "result")
    size = result.ByteSize() if value is not None else 0
    if size > RESULT_BYTES_MAX - RESULT_HEADROOM_BYTES:
        message = f"the handler's result has {size} bytes; at most {RESULT_BYTES_MAX - RESULT_HEADROOM_BYTES} are kept"
        return failed(outcome_pb2.FAILURE_CLASS_ERROR, message, "result")
    return Succeeded(result)


def raised(error: BaseException) -> Outcome:
    """What a handler raised, as an outcome."""
    ending = ending_of(error)
    detail = "".join(traceback.format_exception(error))
    if isinstance(ending, Snooze):
        return Snoozed(ending.delay_micros, sendable(ending.reason))
    if isinstance(ending, HandlerFailure):
        return named_failure(ending, detail)
    kind = type(error)
    text = f"{kind.__name__}: {error}" if str(error) else name_of(error)
    return failed(outcome_pb2.FAILURE_CLASS_ERROR, text, name_of(error), detail)


def ending_of(error: BaseException) -> BaseException:
    """The word of the handler in it: a group of one, as of an `asyncio.TaskGroup`, is what it holds."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def named_failure(error: HandlerFailure, detail: str) -> Failed:
    """A failure whose class the handler named."""
    sign = error.sign or name_of(error.__cause__ or error)
    outcome = failed(error.failure_class, str(error) or sign, sign, detail)
    if error.retry_after_micros is not None:
        outcome.failure.retry_after.FromMicroseconds(error.retry_after_micros)
    return outcome


def name_of(error: BaseException) -> str:
    """The name of an exception's type, with the module that its users know it by."""
    kind = type(error)
    if kind in (HandlerFailure, InvalidInput):
        return f"headrace.{kind.__name__}"
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def failed(failure_class: outcome_pb2.FailureClass, message: str, sign: str, detail: str = "") -> Failed:
    """A failure with its parts, cut to their limits; of a traceback the end is kept."""
    return Failed(
        outcome_pb2.Failure(
            failure_class=failure_class,
            message=sendable(message)[:FAILURE_MESSAGE_CHARACTERS_MAX],
            sign=sendable(sign)[:FAILURE_MESSAGE_CHARACTERS_MAX],
            detail=sendable(detail).encode()[-FAILURE_DETAIL_BYTES_MAX:].decode("utf-8", "ignore"),
        )
    )
