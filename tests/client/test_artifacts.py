"""Reading an artifact with both clients: it goes on at the byte where it was cut, and the whole is checked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

import headrace
from headrace import blocking, errors
from headrace.v1 import job_service_pb2

DATA = bytes(range(256)) * 40
PART = 1000


@dataclass
class FakeJobs:
    """Serves one artifact, a stream of so many parts each, then UNAVAILABLE; the last stream has all that is left."""

    counts: list[int]
    sha256: list[str] = field(default_factory=lambda: [hashlib.sha256(DATA).hexdigest()] * 9)
    offsets: list[int] = field(default_factory=list)

    def ReadArtifact(self, request: Any, context: Any) -> Iterator[Any]:
        self.offsets.append(request.offset)
        sha256 = self.sha256[len(self.offsets) - 1]
        count = self.counts.pop(0) if self.counts else len(DATA)
        for start in range(request.offset, len(DATA), PART):
            if not count:
                context.abort(grpc.StatusCode.UNAVAILABLE, "away")
            count -= 1
            first = start == request.offset
            data = DATA[start : start + PART]
            size = len(DATA) if first else 0
            yield job_service_pb2.ReadArtifactResponse(data=data, size_bytes=size, sha256=sha256 if first else "")


@pytest.fixture
def fake() -> FakeJobs:
    return FakeJobs([2, 0, 3])


@pytest.fixture
def address(fake: FakeJobs) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    handler = grpc.unary_stream_rpc_method_handler(
        fake.ReadArtifact,
        job_service_pb2.ReadArtifactRequest.FromString,
        job_service_pb2.ReadArtifactResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("headrace.v1.JobService", {"ReadArtifact": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def read_async(address: str, offset: int = 0) -> bytes:
    async def main() -> bytes:
        async with headrace.connect(address) as server:
            return b"".join([part async for part in server.job("j").artifact("changes.patch", offset=offset)])

    return asyncio.run(asyncio.wait_for(main(), 30))


def read_blocking(address: str, offset: int = 0) -> bytes:
    with blocking.connect(address) as server:
        return b"".join(server.job("j").artifact("changes.patch", offset=offset))


@pytest.mark.parametrize("read", [read_async, read_blocking])
def test_every_byte_comes_once_over_cuts(read: Any, address: str, fake: FakeJobs) -> None:
    assert read(address) == DATA
    assert fake.offsets == [0, 2 * PART, 2 * PART, 5 * PART]


@pytest.mark.parametrize("read", [read_async, read_blocking])
def test_it_can_begin_anywhere(read: Any, address: str, fake: FakeJobs) -> None:
    fake.counts.clear()
    assert read(address, 77) == DATA[77:]


@pytest.mark.parametrize("read", [read_async, read_blocking])
def test_what_does_not_have_its_digest_is_an_error(read: Any, address: str, fake: FakeJobs) -> None:
    fake.counts.clear()
    fake.sha256 = ["0" * 64]
    with pytest.raises(errors.StreamBroken, match="digest"):
        read(address)


@pytest.mark.parametrize("read", [read_async, read_blocking])
def test_one_that_was_replaced_meanwhile_is_an_error(read: Any, address: str, fake: FakeJobs) -> None:
    fake.sha256 = ["0" * 64, "1" * 64, "1" * 64]
    fake.counts = [2]
    with pytest.raises(errors.StreamBroken, match="replaced"):
        read(address)
