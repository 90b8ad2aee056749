"""One rpc as its servicer sees it: who calls, under which id, how long there is, and where answers go.

Everything that costs something is worked out when it is asked for. No policy here.
"""

import re
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
from google.protobuf.message import Message

from headrace_server.rpc import telemetry

REQUEST_ID_KEY = "x-request-id"
TRACEPARENT_KEY = "traceparent"
_REQUEST_ID = re.compile(r"[!-~]{1,128}")

ServicerContext = grpc.aio.ServicerContext[Any, Any]


class Call:
    """One rpc in progress."""

    __slots__ = ("_metadata_traceparent", "context", "method", "request_id", "requests")

    def __init__(
        self,
        context: ServicerContext,
        method: str,
        made_request_id: str,
        requests: AsyncIterator[Any] | None = None,
    ) -> None:
        self.context = context
        self.method = method
        """Full name, e.g. `headrace.v1.JobService/SubmitJob`."""
        self.request_id = made_request_id
        self._metadata_traceparent = ""
        self.requests = requests
        """What the client sends, in an rpc in which it sends a stream."""
        for key, value in context.invocation_metadata() or ():
            if key == REQUEST_ID_KEY and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
                self.request_id = value
            elif key == TRACEPARENT_KEY and isinstance(value, str):
                self._metadata_traceparent = value

    @property
    def principal(self) -> str:
        """Who calls. `local` through the Unix socket, whose folder's mode says who may use it."""
        return "local" if self.context.peer().startswith("unix:") else "anonymous"

    def who(self) -> str:
        """The principal, for whoever asks later."""
        return self.principal

    @property
    def traceparent(self) -> str:
        """W3C trace context of this call, for work that it causes; empty when there is none."""
        return telemetry.current_traceparent() or telemetry.valid_traceparent(self._metadata_traceparent)

    def seconds_left(self) -> float | None:
        """Until the client's deadline; None when it set none."""
        return self.context.time_remaining()

    def write(self, message: Message | bytes) -> Awaitable[None]:
        """Sends one message of a stream; bytes are a message that is serialised already.

        Returns when the bytes are in the transport's buffer, which says nothing about what the client has read. One
        write at a time: a second one before the first has returned is an error.
        """
        return self.context.write(message)
