"""Reading an artifact with the asyncio client: every byte once and in order, whatever cuts the way, and checked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from typing import Any

import grpc
import grpc.aio

from headrace import errors, follow, statuses
from headrace.v1 import job_service_pb2


class Reading:
    """How far an artifact has been read. No I/O in here: both clients share it."""

    def __init__(self, request: job_service_pb2.ReadArtifactRequest) -> None:
        self.request = request
        self._size: int | None = None
        self._sha256 = ""
        self._digest = hashlib.sha256() if request.offset == 0 else None

    def is_done(self) -> bool:
        """Whether every byte was read."""
        return self._size is not None and self.request.offset >= self._size

    def accept(self, message: job_service_pb2.ReadArtifactResponse) -> bytes:
        """The next bytes. Raises StreamBroken when they are not those of the artifact that was begun with."""
        if message.sha256 and self._sha256 not in ("", message.sha256):
            raise errors.StreamBroken(f"artifact {self.request.name!r} was replaced by another while it was read")
        self._sha256 = message.sha256 or self._sha256
        if self._size is None:
            self._size = message.size_bytes
        self.request.offset += len(message.data)
        if self._digest is not None:
            self._digest.update(message.data)
        return message.data

    def check(self) -> None:
        """Raises StreamBroken unless what was read has the digest of what was stored, where that is known."""
        if self._digest is not None and self._sha256 and self._digest.hexdigest() != self._sha256:
            raise errors.StreamBroken(f"artifact {self.request.name!r} does not have its digest")


async def read(
    open_stream: Callable[..., Any],
    request: job_service_pb2.ReadArtifactRequest,
    patience: follow.Patience,
    address: str,
) -> AsyncGenerator[bytes, None]:
    """The bytes of an artifact from the request's offset on."""
    reading = Reading(request)
    while not reading.is_done():
        call = open_stream(request)
        cause: errors.HeadraceError
        try:
            while not reading.is_done():
                async with asyncio.timeout(follow.SILENCE_SECONDS):
                    message = await call.read()
                if not isinstance(message, job_service_pb2.ReadArtifactResponse):
                    cause = follow.cut(address)
                    break
                patience.heard(progress=True)
                yield reading.accept(message)
            else:
                reading.check()
                return
        except TimeoutError:
            cause = follow.silent(address)
        except grpc.aio.AioRpcError as error:
            cause = statuses.from_rpc(error, address)
        finally:
            call.cancel()
        await asyncio.sleep(patience.broken(cause, asyncio.get_running_loop().time()).delay)
