"""The machine fails under a control plane: no room on the disk, no descriptors, the process stopped.

Nothing that was accepted is lost, nothing runs twice, and all goes on when the machine does.
"""

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import (
    event_pb2,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    outcome_pb2,
    worker_pb2,
    worker_service_pb2,
)
from survival.lanes import PROGRAM, STREAM_OUTPUT, Lane, RawWorker, hello
from survival.sending import command_spec
from survival.served import Served

StartControlPlane = Callable[..., ControlPlane]
LEASE_SECONDS = 2.0
MORE_THAN_ANY_DISK = 1 << 60
RESULT = outcome_pb2.Result(command=outcome_pb2.CommandResult())


def submit_request(request_id: str = "") -> job_service_pb2.SubmitJobRequest:
    return job_service_pb2.SubmitJobRequest(request_id=request_id, spec=command_spec(PROGRAM))


def details_of(error: Any) -> tuple[str, bool]:
    """Its reason, and whether it says when to try again."""
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason, any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)


class Client:
    """Calls of a control plane; a worker made of bytes holds one running job."""

    def __init__(self, plane: ControlPlane) -> None:
        self.channel = grpc.insecure_channel(plane.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self._health = health_pb2_grpc.HealthStub(self.channel)
        self._counter = 1

    def run_one(self) -> tuple[RawWorker, worker_pb2.Lease]:
        self.job_id = self.jobs.SubmitJob(submit_request("first")).job.id
        self.worker = RawWorker(self.channel, hello(slots=1))
        (self.lease,) = self.worker.leases(1)
        start = worker_service_pb2.AttemptStart(lease=self.lease)
        self.worker.control.send(worker_service_pb2.ConnectRequest(starts=[start]).SerializeToString())
        wait_for(lambda: self.job().state == job_pb2.JOB_STATE_RUNNING, "the job runs")
        return self.worker, self.lease

    def job(self) -> job_pb2.Job:
        return self.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=self.job_id)).job

    def serving(self) -> bool:
        answer = self._health.Check(health_pb2.HealthCheckRequest())
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def renew(self, *, wait: bool = True) -> None:
        self._counter += 1
        held = [worker_service_pb2.HeldLease(lease=self.lease)]
        renewal = worker_service_pb2.WorkerRenewal(counter=self._counter, held=held)
        self.worker.control.send(worker_service_pb2.ConnectRequest(renewal=renewal).SerializeToString())
        while wait and not any(answer.renewed_counter == self._counter for answer in self.worker.control.answers):
            assert self.worker.control.wait(len(self.worker.control.answers) + 1), self.worker.control.leave()

    def renew_for(self, seconds: float) -> None:
        """Renews as a worker does, each answered."""
        pause, end = threading.Event(), time.monotonic() + seconds
        while time.monotonic() < end:
            self.renew()
            pause.wait(0.2)

    def finish(self) -> None:
        word = worker_service_pb2.AttemptFinish(lease=self.lease, succeeded=RESULT)
        self.worker.control.send(worker_service_pb2.ConnectRequest(finishes=[word]).SerializeToString())


@pytest.fixture
def plane(start_plane: StartControlPlane) -> ControlPlane:
    return start_plane("--no-worker", HEADRACE_LEASE_SECONDS=str(LEASE_SECONDS))


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[Client]:
    client = Client(plane)
    yield client
    client.channel.close()


def test_below_the_reserve_submits_are_refused_and_running_work_finishes(tmp_path: Path) -> None:
    with Served(tmp_path / "data") as served:
        first = served.unary("headrace.v1.JobService/SubmitJob", submit_request("first").SerializeToString())
        job_id = job_service_pb2.SubmitJobResponse.FromString(first).job.id
    with Served(tmp_path / "data", disk_reserve_bytes=MORE_THAN_ANY_DISK) as served:
        with pytest.raises(grpc.RpcError) as caught:
            served.unary("headrace.v1.JobService/SubmitJob", submit_request("second").SerializeToString())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(caught.value) == ("DISK_FULL", True)
        again = served.unary("headrace.v1.JobService/SubmitJob", submit_request("first").SerializeToString())
        assert job_service_pb2.SubmitJobResponse.FromString(again).job.id == job_id, "needs no room"
        worker = RawWorker(served.channel, hello(slots=1))
        (lease,) = worker.leases(1)
        output = event_pb2.Output(producer_sequence=1, chunk=event_pb2.Chunk(data=b"x" * 100_000))
        batch = worker_service_pb2.OutputBatch(lease=lease, outputs=[output])
        worker.data.send(worker_service_pb2.StreamOutputRequest(batches=[batch]).SerializeToString())
        assert worker.data.wait(2)
        word = worker_service_pb2.AttemptFinish(lease=lease, succeeded=RESULT, last_producer_sequence=1)
        worker.control.send(worker_service_pb2.ConnectRequest(finishes=[word]).SerializeToString())
        while not any(answer.finish_acks for answer in worker.control.answers):
            assert worker.control.wait(len(worker.control.answers) + 1)
        worker.leave()


@contextlib.contextmanager
def no_room(plane: ControlPlane) -> Iterator[None]:
    """No file of the control plane may grow, as on a full disk; what else the machine runs is not touched."""
    before = resource.prlimit(plane.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(plane.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(plane.pid, resource.RLIMIT_FSIZE, before)


def test_while_nothing_can_be_written_leases_last_and_what_was_said_is_kept(
    plane: ControlPlane, client: Client
) -> None:
    """For longer than a lease: at submit, at output, at finish."""
    worker, lease = client.run_one()
    with no_room(plane):
        with pytest.raises(grpc.RpcError) as caught:
            client.jobs.SubmitJob(submit_request("second"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert details_of(caught.value) == ("STORE_UNAVAILABLE", True)
        assert not client.serving()
        client.renew_for(2 * LEASE_SECONDS)
        output = event_pb2.Output(producer_sequence=1, chunk=event_pb2.Chunk(data=b"x"))
        batch = worker_service_pb2.OutputBatch(lease=lease, outputs=[output])
        worker.data.send(worker_service_pb2.StreamOutputRequest(batches=[batch]).SerializeToString())
        assert worker.data.end() is grpc.StatusCode.UNAVAILABLE, "the worker keeps it and sends it again"
        client.finish()
        client.renew()
        assert client.job().state == job_pb2.JOB_STATE_RUNNING
        assert not client.serving()
    while not any(answer.finish_acks for answer in worker.control.answers):
        assert worker.control.wait(len(worker.control.answers) + 1), "the lane has ended"
    job = client.job()
    assert (job.state, job.attempt_count, job.epoch) == (job_pb2.JOB_STATE_SUCCEEDED, 1, lease.epoch)
    wait_for(client.serving, "health says that it serves again")
    assert client.jobs.SubmitJob(submit_request("second")).job.id
    worker.control.leave()


def test_a_data_lane_can_be_opened_anew_while_nothing_can_be_written(plane: ControlPlane, client: Client) -> None:
    worker, lease = client.run_one()
    output = event_pb2.Output(producer_sequence=1, chunk=event_pb2.Chunk(data=b"kept"))
    batch = worker_service_pb2.StreamOutputRequest(
        batches=[worker_service_pb2.OutputBatch(lease=lease, outputs=[output])]
    )
    with no_room(plane):
        worker.data.send(batch.SerializeToString())
        assert worker.data.end() is grpc.StatusCode.UNAVAILABLE
    lane: Lane[worker_service_pb2.StreamOutputResponse] = Lane(
        client.channel, STREAM_OUTPUT, worker_service_pb2.StreamOutputResponse
    )
    lane.send(
        worker_service_pb2.StreamOutputRequest(open=worker.opening).SerializeToString(), batch.SerializeToString()
    )
    assert lane.wait(2)
    assert [ack.committed_producer_sequence for answer in lane.answers for ack in answer.acks] == [1]
    lane.leave()
    worker.control.leave()


def test_l4_a_control_plane_that_was_stopped_ends_no_lease_that_was_renewed(
    plane: ControlPlane, client: Client
) -> None:
    """Renewals waited in its sockets while it did not look."""
    client.run_one()
    pause = threading.Event()
    plane.signal(signal.SIGSTOP)
    try:
        for _ in range(10):
            client.renew(wait=False)
            pause.wait(0.4)
    finally:
        plane.signal(signal.SIGCONT)
    client.renew_for(LEASE_SECONDS)
    job = client.job()
    assert (job.state, job.epoch, job.loss_count) == (job_pb2.JOB_STATE_RUNNING, 1, 0)
    client.finish()
    wait_for(lambda: client.job().state == job_pb2.JOB_STATE_SUCCEEDED, "the job ends")
    client.worker.leave()


def test_l4_a_worker_that_is_stopped_for_longer_than_its_lease_loses_it(plane: ControlPlane, client: Client) -> None:
    """And what it says afterwards is stale; the job runs again, once."""
    worker, lease = client.run_one()
    assert worker.control.end() is grpc.StatusCode.ABORTED
    wait_for(lambda: client.job().state == job_pb2.JOB_STATE_QUEUED, "the job waits again")
    back = RawWorker(client.channel, hello(incarnation="2", slots=1))
    (second,) = back.leases(1)
    word = worker_service_pb2.AttemptFinish(lease=lease, succeeded=RESULT)
    back.control.send(worker_service_pb2.ConnectRequest(finishes=[word]).SerializeToString())
    while not any(answer.finish_acks for answer in back.control.answers):
        assert back.control.wait(len(back.control.answers) + 1)
    (ack,) = [ack for answer in back.control.answers for ack in answer.finish_acks]
    assert ack.disposition == worker_service_pb2.FINISH_DISPOSITION_STALE
    assert (client.job().state, second.epoch) == (job_pb2.JOB_STATE_ASSIGNED, lease.epoch + 1)
    back.leave()


def test_without_descriptors_streams_and_commits_go_on_and_new_calls_come_in_later(
    plane: ControlPlane, client: Client
) -> None:
    client.run_one()
    watch: Any = client.jobs.WatchJob(job_service_pb2.WatchJobRequest(job_id=client.job_id))
    assert next(watch).HasField("opened")
    in_use = len(os.listdir(f"/proc/{plane.pid}/fd"))
    before = resource.prlimit(plane.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(plane.pid, resource.RLIMIT_NOFILE, (in_use + 4, before[1]))
    host, port = plane.address.split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection((host, int(port))))
        wait_for(lambda: len(os.listdir(f"/proc/{plane.pid}/fd")) >= in_use + 4, "it has no descriptors left")
        assert client.jobs.SubmitJob(submit_request("while")).job.id
        client.renew_for(LEASE_SECONDS)
        client.finish()
        kinds = [event.WhichOneof("kind") for message in watch for event in message.batch.events]
        assert kinds[-1] == "succeeded"
    client.worker.leave()
    resource.prlimit(plane.pid, resource.RLIMIT_NOFILE, before)
    late = Client(plane)
    assert late.jobs.SubmitJob(submit_request("while"), timeout=20, wait_for_ready=True).deduplicated
    late.channel.close()
