"""The health stream of the blocking client. When to try again is `follow`'s to say."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import grpc

from headrace import errors, follow, silence, statuses
from headrace.health import HealthItem, silence_seconds
from headrace.v1 import admin_service_pb2


def watch(
    open_stream: Callable[..., Any],
    request: admin_service_pb2.WatchHealthRequest,
    patience: follow.Patience,
    address: str,
) -> Generator[HealthItem, None, None]:
    """Every message, and what happens when the stream breaks. Never ends by itself."""
    watchdog = silence.Silence(silence_seconds(request))
    try:
        while True:
            call = open_stream(request)
            cause: errors.HeadraceError = follow.cut(address)
            try:
                for message in silence.watched(call, watchdog):
                    patience.heard(progress=False)
                    yield message
                    patience.heard(progress=True)
            except grpc.RpcError as error:
                cause = follow.silent(address) if watchdog.fired else statuses.from_rpc(error, address)
            finally:
                call.cancel()
            step = patience.broken(cause, time.monotonic())
            yield step
            time.sleep(step.delay)
    finally:
        watchdog.stop()
