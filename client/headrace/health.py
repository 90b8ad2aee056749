"""The health stream of the asyncio client: message after message, whatever cuts the way. When to try again is
`follow`'s to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import grpc.aio

from headrace import errors, follow, statuses
from headrace.v1 import admin_service_pb2

HealthItem = admin_service_pb2.WatchHealthResponse | follow.Reconnecting
INTERVAL_SECONDS_DEFAULT = 5.0


def silence_seconds(request: admin_service_pb2.WatchHealthRequest) -> float:
    """A stream that says nothing for so long is dead."""
    interval = request.interval.seconds + request.interval.nanos / 1e9
    return follow.SILENCE_SECONDS + (interval or INTERVAL_SECONDS_DEFAULT)


async def watch(
    open_stream: Callable[..., Any],
    request: admin_service_pb2.WatchHealthRequest,
    patience: follow.Patience,
    address: str,
) -> AsyncGenerator[HealthItem, None]:
    """Every message, and what happens when the stream breaks. Never ends by itself."""
    while True:
        call = open_stream(request)
        cause: errors.HeadraceError
        try:
            while True:
                async with asyncio.timeout(silence_seconds(request)):
                    message = await call.read()
                if not isinstance(message, admin_service_pb2.WatchHealthResponse):
                    cause = follow.cut(address)
                    break
                patience.heard(progress=False)
                yield message
                patience.heard(progress=True)
        except TimeoutError:
            cause = follow.silent(address)
        except grpc.aio.AioRpcError as error:
            cause = statuses.from_rpc(error, address)
        finally:
            call.cancel()
        step = patience.broken(cause, asyncio.get_running_loop().time())
        yield step
        await asyncio.sleep(step.delay)
