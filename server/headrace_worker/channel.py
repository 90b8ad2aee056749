"""The channel to a control plane and the streams on it: address forms, options, and what the end of a stream means.

A new channel is made for every connection, with connections of its own, so that a reconnect starts from nothing.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from headrace_worker.limits import MESSAGE_BYTES_MAX

Response = TypeVar("Response")

DEFAULT_ADDRESS = "localhost:7410"
DEFAULT_PORT = 7410
KEEPALIVE_MILLIS = 20_000
KEEPALIVE_TIMEOUT_MILLIS = 25_000
"""The answer to a ping comes behind everything that is on its way: on a slow network that takes a while."""
DETAILS_KEY = "grpc-status-details-bin"
REASON_DOMAIN = "headrace"

FINAL_REASONS = frozenset({"STALE_INCARNATION", "UNSUPPORTED_PROTOCOL", "INVALID_FIELD"})
"""After these, connecting again can't help."""


class StreamEnded(Exception):
    """The server ended a stream without an error, or does not answer any more."""


LOST = (grpc.aio.AioRpcError, asyncio.InvalidStateError, StreamEnded)
"""What a stream that broke raises; InvalidStateError is grpc's word for a write after the end."""


class Stream(Generic[Response]):
    """A bidirectional stream. One sender and one receiver at a time; both raise what is in `LOST`."""

    def __init__(self, channel: grpc.aio.Channel, method: str, parse: Callable[[bytes], Response]) -> None:
        # The stubs of grpc don't know of a call without an iterator, nor of EOF.
        aio: Any = grpc.aio
        call: Any = channel.stream_stream(method, request_serializer=None, response_deserializer=parse)
        self._call = call()
        self._end = aio.EOF

    async def send(self, message: bytes) -> None:
        """Sends a serialised message."""
        await self._call.write(message)

    async def receive(self) -> Response:
        """The next message."""
        response = await self._call.read()
        if response is self._end:
            raise StreamEnded("the server ended the stream")
        received: Response = response
        return received

    def cancel(self) -> None:
        """Gives the stream up."""
        self._call.cancel()


def read_address(text: str) -> str:
    """The gRPC target of `host:port`, `host` or `unix:PATH`. Raises ValueError with what is wrong."""
    if text.startswith("unix:"):
        if not text.removeprefix("unix:").removeprefix("//"):
            raise ValueError("an address `unix:PATH` needs a path")
        return text
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    if not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not an address: write host:port or unix:PATH")
    return f"dns:///{host}:{port}"


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel that shares nothing with another one."""
    options: list[tuple[str, str | int]] = [
        ("grpc.keepalive_time_ms", KEEPALIVE_MILLIS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MILLIS),
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MILLIS),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
    ]
    if target.startswith("unix:"):
        options.append(("grpc.default_authority", "localhost"))
    if target.startswith(("unix:", "dns:///localhost:", "dns:///127.", "dns:///[::1]:")):
        options.append(("grpc.enable_http_proxy", 0))
    return grpc.aio.insecure_channel(target, options=options)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The `ErrorInfo.reason` of a refusal; empty when it did not come from Headrace."""
    trailers: Any = error.trailing_metadata()
    for key, value in trailers or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == REASON_DOMAIN:
                    return str(info.reason)
    return ""


async def run_parts(*parts: Coroutine[Any, Any, None]) -> None:
    """Runs the parts of a conversation until one of them ends; ends the others and raises what the first one raised.

    Not a TaskGroup: before Python 3.13 one that fails while it is cancelled forgets the cancel.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
    min(ended, key=tasks.index).result()


def describe(error: BaseException) -> str:
    """One line about why a stream broke."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
