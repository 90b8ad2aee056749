"""Composes what every rpc shares around each servicer method, once at start-up, and registers services.

In order: telemetry, request id, admission, parsing, checks, the method, and the one place where an exception becomes a
status. Interceptors are not used: five stacked ones cost more than twice of what one composition does. No rpc's own
rule stands here.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from headrace_server.core.refusal import Reason, Refusal, Refused, Violation
from headrace_server.rpc.admission import Admission, CallClass
from headrace_server.rpc.call import REQUEST_ID_KEY, Call, ServicerContext
from headrace_server.rpc.errors import STATUS_DETAILS_KEY, internal_status, refused_status
from headrace_server.rpc.telemetry import Handler, Telemetry

logger = logging.getLogger(__name__)

Check = Callable[[Any], Refusal | None]
"""Says why a request is refused before its method runs."""
Method = Callable[[Any, Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Rpc:
    """One rpc of a registered service."""

    name: str
    """Full name, e.g. `headrace.v1.JobService/SubmitJob`."""
    call_class: CallClass
    parse: Callable[[bytes], Any]
    check: Check | None


class Pipeline:
    """What every rpc of a server passes through."""

    def __init__(
        self,
        admission: Admission,
        checks: Mapping[str, Check],
        new_id: Callable[[], str],
        telemetry: Telemetry | None = None,
    ) -> None:
        """`checks` go by full name of the request message; `new_id` makes request and error ids, cheaply."""
        self.admission = admission
        self._checks = checks
        self._new_id = new_id
        self._telemetry = telemetry

    def handler(
        self, descriptor: MethodDescriptor, method: Method, call_class: CallClass
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """The composed handler of one rpc, whose kind its descriptor says."""
        request_class = GetMessageClass(descriptor.input_type)
        service = descriptor.containing_service.full_name
        rpc = Rpc(
            name=f"{service}/{descriptor.name}",
            call_class=call_class,
            parse=_parser(request_class),
            check=self._checks.get(descriptor.input_type.full_name),
        )
        if descriptor.client_streaming:
            handle = self._observed(rpc, self._for_request_stream(rpc, method))
            if descriptor.server_streaming:
                return grpc.stream_stream_rpc_method_handler(handle, rpc.parse, _serialise)
            return grpc.stream_unary_rpc_method_handler(handle, rpc.parse, _serialise)
        handle = self._observed(rpc, self._for_one_request(rpc, method))
        if descriptor.server_streaming:
            return grpc.unary_stream_rpc_method_handler(handle, None, _serialise)
        return grpc.unary_unary_rpc_method_handler(handle, None, _serialise)

    def _observed(self, rpc: Rpc, handler: Handler) -> Handler:
        return self._telemetry.observed(rpc.name, handler) if self._telemetry else handler

    def _for_one_request(self, rpc: Rpc, method: Method) -> Handler:
        admission, new_id = self.admission, self._new_id

        async def handle(request: bytes, context: ServicerContext) -> Any:
            call = Call(context, rpc.name, new_id())
            context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
            try:
                name = admission.enter(rpc.call_class, call.who)
                try:
                    return await method(_accepted(rpc, request), call)
                finally:
                    admission.leave(rpc.call_class, name)
            except BaseException as error:
                await self._abort(error, call)
                raise

        return handle

    def _for_request_stream(self, rpc: Rpc, method: Method) -> Handler:
        admission, new_id = self.admission, self._new_id

        async def handle(requests: AsyncIterator[Any], context: ServicerContext) -> Any:
            call = Call(context, rpc.name, new_id(), requests)
            context.set_trailing_metadata(((REQUEST_ID_KEY, call.request_id),))
            try:
                name = admission.enter(rpc.call_class, call.who)
                try:
                    return await method(requests, call)
                finally:
                    admission.leave(rpc.call_class, name)
            except BaseException as error:
                await self._abort(error, call)
                raise

        return handle

    async def _abort(self, error: BaseException, call: Call) -> None:
        """Ends the call with the status for `error`. Returns only when the error is to go on to grpc as it is."""
        if isinstance(error, (grpc.aio.AbortError, KeyboardInterrupt, SystemExit)) or _client_is_gone(error):
            return
        cause = _root(error)
        if isinstance(cause, Refused):
            status = refused_status(cause.refusal)
        else:
            status = internal_status(self._logged(error, cause, call))
        trailers = ((REQUEST_ID_KEY, call.request_id), (STATUS_DETAILS_KEY, status.details))
        await call.context.abort(status.code, status.message, trailers)

    def _logged(self, error: BaseException, cause: BaseException, call: Call) -> str:
        """Puts what happened into the log, with an id that the caller is given instead of it."""
        error_id = self._new_id()
        # The transport fails a write when its client has left, sometimes just before the cancel gets here.
        level = logging.DEBUG if isinstance(cause, grpc.aio.InternalError) else logging.ERROR
        text = "%s failed: error_id=%s request_id=%s"
        logger.log(level, text, call.method, error_id, call.request_id, exc_info=error)
        return error_id


def register(
    server: grpc.aio.Server,
    descriptor: ServiceDescriptor,
    servicer: object,
    pipeline: Pipeline,
    *,
    unary: CallClass = CallClass.UNARY,
    streams: CallClass = CallClass.STREAM,
) -> None:
    """Serves every rpc of a service: `SubmitJob` by `servicer.submit_job(request, call)`.

    An rpc in which the client sends a stream gets the iterator of requests as `request`, also found in
    `call.requests`. An rpc without a method is answered with UNIMPLEMENTED (NOT_SUPPORTED) and its name.
    """
    handlers = {}
    for method in descriptor.methods:
        implementation = getattr(servicer, snake_case(method.name), None) or _not_there(method)
        is_stream = method.client_streaming or method.server_streaming
        handlers[method.name] = pipeline.handler(method, implementation, streams if is_stream else unary)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(descriptor.full_name, handlers),))


def snake_case(name: str) -> str:
    """`SubmitJob` as `submit_job`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _not_there(method: MethodDescriptor) -> Method:
    name = f"{method.containing_service.full_name}/{method.name}"

    async def refuse(request: Any, call: Call) -> Any:
        raise Refused(Refusal(Reason.NOT_SUPPORTED, f"this server does not serve {name}", metadata={"rpc": name}))

    return refuse


def _parser(kind: type[Message]) -> Callable[[bytes], Any]:
    def parse(body: bytes) -> Any:
        try:
            return kind.FromString(body)
        except DecodeError:
            violation = Violation("", "is not a valid message of its type")
            raise Refused(Refusal(Reason.INVALID_FIELD, "the request can't be read", violations=(violation,))) from None

    return parse


def _accepted(rpc: Rpc, request: bytes) -> Any:
    message = rpc.parse(request)
    if rpc.check is not None and (refusal := rpc.check(message)) is not None:
        raise Refused(refusal)
    return message


def _serialise(response: Message | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


def _client_is_gone(error: BaseException) -> bool:
    """Whether nobody is left to get a status.

    A CancelledError that was not asked for is a bug of ours: left alone it would send no status, and the client would
    hang until its deadline.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        if not isinstance(error, (asyncio.CancelledError, grpc.aio.BaseError)):
            logger.error("failed while its client was leaving", exc_info=error)
        return True
    return False


def _root(error: BaseException) -> BaseException:
    """What a group of exceptions is about: the first that is no refusal, else the first refusal."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    roots = [_root(inner) for inner in error.exceptions]
    return next((root for root in roots if not isinstance(root, Refused)), roots[0])
