"""A follower whose process stands still answers no ping: its connection is closed, and its stream with it."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import job_service_pb2 as pb
from headrace_server.rpc import server
from headrace_server.rpc.admission import CallClass
from headrace_server.rpc.call import Call

FOLLOWER = """
import sys, time, grpc
from headrace.v1 import job_service_pb2, job_service_pb2_grpc
channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.default_authority", "localhost")])
stream = job_service_pb2_grpc.JobServiceStub(channel).WatchJob(job_service_pb2.WatchJobRequest(job_id="j"))
next(stream)
print("open", flush=True)
time.sleep(600)
"""


class Still:
    """Opens a stream and says nothing more."""

    async def watch_job(self, request: pb.WatchJobRequest, call: Call) -> None:
        await call.write(pb.WatchJobResponse(cursor="c"))
        await asyncio.Event().wait()


def test_a_follower_that_vanished_is_cleaned_up(serve: Any, socket_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = {"grpc.keepalive_time_ms": 500, "grpc.keepalive_timeout_ms": 500, "grpc.http2.ping_timeout_ms": 500}
    monkeypatch.setattr(server, "OPTIONS", [(name, quick.get(name, value)) for name, value in server.OPTIONS])

    async def scenario() -> None:
        async with serve(Still()) as serving:
            follower = await asyncio.create_subprocess_exec(
                sys.executable, "-c", FOLLOWER, f"unix:{socket_path}", stdout=asyncio.subprocess.PIPE
            )
            try:
                assert follower.stdout is not None
                assert await asyncio.wait_for(follower.stdout.readline(), 30) == b"open\n"
                assert serving.admission.in_flight(CallClass.STREAM) == 1
                follower.send_signal(signal.SIGSTOP)
                assert await serving.admission.wait_idle(30, CallClass.STREAM)
            finally:
                follower.kill()
                await follower.wait()

    asyncio.run(scenario())


def test_a_dead_peer_is_found_within_the_time_that_a_reader_takes_for_silence() -> None:
    options = dict(server.OPTIONS)
    assert options["grpc.keepalive_permit_without_calls"] == 1
    for answer in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
        assert options["grpc.keepalive_time_ms"] + options[answer] <= 45_000
