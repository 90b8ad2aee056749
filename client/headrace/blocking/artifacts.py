"""Reading an artifact with the blocking client. How far it has come, and what is checked, is `headrace.artifacts`'s."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import grpc

from headrace import errors, follow, silence, statuses
from headrace.artifacts import Reading
from headrace.v1 import job_service_pb2


def read(
    open_stream: Callable[..., Any],
    request: job_service_pb2.ReadArtifactRequest,
    patience: follow.Patience,
    address: str,
) -> Generator[bytes, None, None]:
    """The bytes of an artifact from the request's offset on."""
    reading, watchdog = Reading(request), silence.Silence(follow.SILENCE_SECONDS)
    try:
        while not reading.is_done():
            call = open_stream(request)
            cause: errors.HeadraceError = follow.cut(address)
            try:
                for message in silence.watched(call, watchdog):
                    patience.heard(progress=True)
                    yield reading.accept(message)
            except grpc.RpcError as error:
                cause = follow.silent(address) if watchdog.fired else statuses.from_rpc(error, address)
            finally:
                call.cancel()
            if not reading.is_done():
                time.sleep(patience.broken(cause, time.monotonic()).delay)
    finally:
        watchdog.stop()
    reading.check()
