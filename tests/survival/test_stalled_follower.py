"""A follower that stops reading (E4): bounded memory, nobody else slowed, and every byte once it reads again."""

import hashlib
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import event_pb2, job_pb2, job_service_pb2, job_service_pb2_grpc, task_pb2, watch_pb2

StartControlPlane = Callable[..., ControlPlane]
MIB = 1024 * 1024
GROWTH_BYTES_MAX = 32 * MIB
SAMPLE_SECONDS = 0.05


def program(size: int) -> str:
    """Says so many bytes, all of them different enough to tell a hole or a repeat."""
    return f"seq 1 1000000000 | head -c {size}"


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


class Peak:
    """The most memory that processes had while the block ran."""

    def __init__(self, *pids: int) -> None:
        self.idle = [resident(pid) for pid in pids]
        self.most = list(self.idle)
        self._pids = pids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.most = [max(most, resident(pid)) for most, pid in zip(self.most, self._pids, strict=True)]

    @property
    def growth(self) -> list[int]:
        return [most - idle for most, idle in zip(self.most, self.idle, strict=True)]


@dataclass
class Read:
    """What a follower has read."""

    digest: Any = field(default_factory=hashlib.sha256)
    size: int = 0
    sequence: int = 0
    end: int = watch_pb2.END_REASON_UNSPECIFIED

    def take(self, messages: Iterable[job_service_pb2.WatchJobResponse]) -> "Read":
        for message in messages:
            for event in message.batch.events:
                assert event.sequence == self.sequence + 1, "a hole or a repeat"
                self.sequence = event.sequence
                self._take_output(event.output)
            self.end = message.end.reason
        return self

    def _take_output(self, output: event_pb2.Output) -> None:
        if output.chunk.data:
            self.digest.update(output.chunk.data)
            self.size += len(output.chunk.data)


def submit(stub: job_service_pb2_grpc.JobServiceStub, command: str) -> str:
    spec = job_pb2.JobSpec(
        output_bytes_max=1 << 40, command=task_pb2.CommandTask(program="sh", arguments=["-c", command])
    )
    return stub.SubmitJob(job_service_pb2.SubmitJobRequest(spec=spec)).job.id


def stop_reading_while(plane: ControlPlane, size: int) -> Peak:
    """Has a job say so many bytes while a follower of it does not read; checks what both followers got in the end."""
    said = subprocess.run(["sh", "-c", f"{program(size)} | sha256sum"], check=True, capture_output=True, text=True)
    with grpc.insecure_channel(plane.address) as stopped_channel, grpc.insecure_channel(plane.address) as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        Read().take(stub.WatchJob(job_service_pb2.WatchJobRequest(job_id=submit(stub, program(MIB)))))
        with Peak(plane.pid, plane.worker_pid) as peak:
            gate = plane.folder / "go"
            job_id = submit(stub, f"while [ ! -e {gate} ]; do sleep 0.05; done; {program(size)}")
            request = job_service_pb2.WatchJobRequest(job_id=job_id)
            stopped: Any = job_service_pb2_grpc.JobServiceStub(stopped_channel).WatchJob(request)
            assert next(stopped).HasField("opened")
            gate.touch()
            reading = Read().take(stub.WatchJob(request))
            assert (reading.size, reading.end) == (size, watch_pb2.END_REASON_JOB_ENDED)
        late = Read().take(stopped)
    assert [one.digest.hexdigest() for one in (reading, late)] == [said.stdout.split()[0]] * 2
    assert (late.size, late.end) == (size, watch_pb2.END_REASON_JOB_ENDED)
    return peak


def start(start_plane: StartControlPlane) -> ControlPlane:
    plane = start_plane("--claude", "none", "--allow-command", "sh")
    wait_for(lambda: plane.worker_pid, "the worker has connected")
    return plane


def test_e4_a_stopped_follower_costs_little_memory_and_gets_every_byte(start_plane: StartControlPlane) -> None:
    peak = stop_reading_while(start(start_plane), 64 * MIB)
    assert max(peak.growth) < GROWTH_BYTES_MAX, peak.growth


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_e4_a_stopped_follower_of_a_gibibyte_costs_as_little(start_plane: StartControlPlane) -> None:
    peak = stop_reading_while(start(start_plane), 1024 * MIB)
    assert max(peak.growth) < GROWTH_BYTES_MAX, peak.growth
