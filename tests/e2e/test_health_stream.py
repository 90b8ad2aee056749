"""The health of a real server: alerts that come and go with what causes them, and `grpc.health.v1` beside them."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from e2e.conftest import StartControlPlane
from e2e.control_plane import ControlPlane
from e2e.test_telemetry import scrape
from headrace.v1 import admin_service_pb2, admin_service_pb2_grpc, job_pb2, job_service_pb2, job_service_pb2_grpc
from survival.lanes import PROGRAM, RawWorker, hello
from survival.sending import command_spec
from survival.test_machine_faults import no_room

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SHORT = {"HEADRACE_ALERT_AFTER_SECONDS": "0.5", "HEADRACE_ALERT_CLEAR_SECONDS": "0.5"}
DEADLINE_SECONDS = 60


@pytest.fixture
def plane(start_plane: StartControlPlane) -> ControlPlane:
    return start_plane("--no-worker", "--metrics", "127.0.0.1:0", **SHORT)


@pytest.fixture
def channel(plane: ControlPlane) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(plane.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


def watch(channel: grpc.Channel) -> Any:
    """A stream that tells of nothing but alerts for a minute."""
    request = admin_service_pb2.WatchHealthRequest()
    request.interval.FromSeconds(60)
    return admin_service_pb2_grpc.AdminServiceStub(channel).WatchHealth(request, timeout=DEADLINE_SECONDS)


def until(stream: Any, seen: Callable[[Any], bool]) -> Any:
    """The next message of which something is true."""
    return next(message for message in stream if seen(message))


def alert(message: Any, name: str) -> Any:
    """The alert of this name, or None."""
    return next((one for one in message.alerts if one.name == name), None)


def submit(channel: grpc.Channel) -> None:
    request = job_service_pb2.SubmitJobRequest(spec=command_spec(PROGRAM))
    job_service_pb2_grpc.JobServiceStub(channel).SubmitJob(request, timeout=DEADLINE_SECONDS)


def test_jobs_that_wait_raise_an_alert_until_a_worker_connects(plane: ControlPlane, channel: grpc.Channel) -> None:
    stream = watch(channel)
    first = next(stream)
    assert first.serving
    assert not first.alerts
    submit(channel)
    raised = alert(until(stream, lambda message: alert(message, "no-worker")), "no-worker")
    assert raised.severity == admin_service_pb2.ALERT_SEVERITY_CRITICAL
    assert raised.message == "1 job waits for a worker, and none is connected"
    assert scrape(plane.metrics_url)['headrace_alerts{headrace_alert="no-worker"}'] == 1
    worker = RawWorker(channel, hello(slots=2))
    (lease,) = worker.leases(1)
    over = until(stream, lambda message: alert(message, "no-worker").HasField("clear_time"))
    assert alert(over, "no-worker").start_time == raised.start_time
    assert (over.slots, over.slots_used) == (2, 1)
    assert [one.state for one in over.state_counts] == [job_pb2.JOB_STATE_ASSIGNED]
    assert "alert no-worker began: 1 job waits" in plane.stderr
    assert "alert no-worker cleared" in plane.stderr
    assert lease.job_id
    worker.leave()


def test_a_server_that_can_not_commit_says_so_on_both_streams_until_it_can(
    plane: ControlPlane, channel: grpc.Channel
) -> None:
    stubs = health_pb2_grpc.HealthStub(channel)
    service = health_pb2.HealthCheckRequest(service="headrace.v1.JobService")
    statuses: Any = stubs.Watch(service, timeout=DEADLINE_SECONDS)
    stream = watch(channel)
    assert next(statuses).status == SERVING
    assert next(stream).serving
    with no_room(plane):
        with pytest.raises(grpc.RpcError):
            submit(channel)
        assert next(statuses).status == NOT_SERVING
        message = until(stream, lambda message: alert(message, "store-unavailable"))
        assert not message.serving
        assert stubs.Check(health_pb2.HealthCheckRequest()).status == NOT_SERVING
    assert next(statuses).status == SERVING
    cleared = until(stream, lambda message: alert(message, "store-unavailable").HasField("clear_time"))
    assert cleared.serving
    submit(channel)


def test_a_drain_ends_the_stream_with_unavailable(plane: ControlPlane, channel: grpc.Channel) -> None:
    stream = watch(channel)
    next(stream)
    plane.stop()
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert error.details() == "the server is shutting down"
