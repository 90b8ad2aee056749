"""Reading artifacts back: what is whole is taken, what has gone is asked for again, what is damaged is refused (R6)."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from headrace.v1 import job_service_pb2 as pb
from headrace_worker.artifact_reader import METHOD, ArtifactDamaged, ArtifactReader, ArtifactUnreachable

WHOLE = b"one, two"
SHA256 = hashlib.sha256(WHOLE).hexdigest()
SECONDS = 10.0


def plane(responses: Sequence[pb.ReadArtifactResponse], status: grpc.StatusCode, *, silent: bool) -> Any:
    """The handlers of a control plane that says this of an artifact, and then falls silent or ends with a status."""

    async def read(request: Any, context: Any) -> AsyncIterator[pb.ReadArtifactResponse]:
        for response in responses:
            yield response
        if silent:
            await asyncio.Event().wait()
        if status is not grpc.StatusCode.OK:
            await context.abort(status, "no such artifact")

    service, _, name = METHOD.removeprefix("/").partition("/")
    handler = grpc.unary_stream_rpc_method_handler(
        read, pb.ReadArtifactRequest.FromString, pb.ReadArtifactResponse.SerializeToString
    )
    return grpc.method_handlers_generic_handler(service, {name: handler})


def fetch(
    target: Path,
    *parts: bytes,
    stated: str = SHA256,
    status: grpc.StatusCode = grpc.StatusCode.OK,
    silent: bool = False,
    seconds: float = SECONDS,
) -> None:
    """Reads from a control plane that says these parts of an artifact, and that digest of it."""
    responses = [pb.ReadArtifactResponse(data=part) for part in parts]
    if responses:
        responses[0].sha256 = stated

    async def main() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((plane(responses, status, silent=silent),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            reader = ArtifactReader(lambda: grpc.aio.insecure_channel(f"127.0.0.1:{port}"), seconds)
            await reader.fetch(pb.ReadArtifactRequest(name="a"), target, len(WHOLE), SHA256)
        finally:
            await server.stop(None)

    asyncio.run(main())


def test_r6_an_artifact_is_written_as_it_was_kept(tmp_path: Path) -> None:
    fetch(tmp_path / "a", WHOLE[:3], WHOLE[3:])
    assert (tmp_path / "a").read_bytes() == WHOLE


@pytest.mark.parametrize("status", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_r6_one_that_is_not_there_may_have_a_later_one_in_its_place(tmp_path: Path, status: grpc.StatusCode) -> None:
    with pytest.raises(ArtifactUnreachable, match="no such artifact"):
        fetch(tmp_path / "a", status=status)


def test_r6_one_that_goes_while_it_is_read_may_too(tmp_path: Path) -> None:
    with pytest.raises(ArtifactUnreachable):
        fetch(tmp_path / "a", WHOLE[:3], status=grpc.StatusCode.NOT_FOUND)


def test_r6_a_later_one_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactUnreachable, match="taken its place"):
        fetch(tmp_path / "a", b"three", stated=hashlib.sha256(b"three").hexdigest())


@pytest.mark.parametrize("parts", [(b"one, twe",), (WHOLE[:3],), (WHOLE, b"!")])
def test_r6_what_is_not_what_its_digest_says_is_damaged(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    with pytest.raises(ArtifactDamaged):
        fetch(tmp_path / "a", *parts)


def test_r6_a_control_plane_that_falls_silent_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ArtifactUnreachable):
        fetch(tmp_path / "a", WHOLE[:3], silent=True, seconds=0.3)
