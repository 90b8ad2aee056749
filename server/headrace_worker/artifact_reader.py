"""Reads artifacts back from the control plane, each over a channel of its own. What is in one is judged elsewhere."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from headrace.v1 import job_service_pb2
from headrace_worker.channel import describe

METHOD = "/headrace.v1.JobService/ReadArtifact"


class ArtifactUnreachable(Exception):
    """It could not be read; the text says why. One that is not there any more has a later one in its place, or none:
    who asks again is told of that."""


class ArtifactDamaged(Exception):
    """What was read is not what it has to be; the text says how."""


class ArtifactReader:
    """Reads artifacts from one control plane."""

    def __init__(self, open_channel: Callable[[], grpc.aio.Channel], seconds: float) -> None:
        """`seconds`: for all of an artifact."""
        self._open_channel = open_channel
        self._seconds = seconds

    async def fetch(
        self, request: job_service_pb2.ReadArtifactRequest, target: Path, size_max: int, sha256: str
    ) -> None:
        """Writes an artifact into a file. Raises ArtifactUnreachable, ArtifactDamaged, OSError."""
        channel = self._open_channel()
        try:
            digest = await self._read(channel, request, target, size_max, sha256)
        except grpc.aio.AioRpcError as error:
            raise ArtifactUnreachable(describe(error)) from error
        finally:
            await channel.close(None)
        if digest != sha256:
            raise ArtifactDamaged(f"it has the digest {digest}, not {sha256}")

    async def _read(
        self,
        channel: grpc.aio.Channel,
        request: job_service_pb2.ReadArtifactRequest,
        target: Path,
        size_max: int,
        sha256: str,
    ) -> str:
        digest, size = hashlib.sha256(), 0
        read: Any = channel.unary_stream(
            METHOD,
            request_serializer=job_service_pb2.ReadArtifactRequest.SerializeToString,
            response_deserializer=job_service_pb2.ReadArtifactResponse.FromString,
        )
        with target.open("wb") as file:
            async for response in read(request, timeout=self._seconds):
                if response.sha256 not in ("", sha256):
                    raise ArtifactUnreachable("a later one has taken its place")
                size += len(response.data)
                if size > size_max:
                    raise ArtifactDamaged(f"it has more than {size_max} bytes")
                digest.update(response.data)
                file.write(response.data)
        return digest.hexdigest()
