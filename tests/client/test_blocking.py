"""The blocking client, against grpcio-testing's channel: the same words, the same promises."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import status_pb2

import headrace
from headrace import blocking, errors, follow
from headrace.silence import Silence
from headrace.v1 import (
    admin_service_pb2,
    event_pb2,
    job_pb2,
    job_service_pb2,
    queue_service_pb2,
    schedule_service_pb2,
    watch_pb2,
    worker_service_pb2,
)

JOBS = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
SERVICES = [
    JOBS,
    queue_service_pb2.DESCRIPTOR.services_by_name["QueueService"],
    worker_service_pb2.DESCRIPTOR.services_by_name["WorkerService"],
    schedule_service_pb2.DESCRIPTOR.services_by_name["ScheduleService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
]
DEADLINE_SECONDS = 20


@pytest.fixture
def wire() -> Any:
    return grpc_testing.channel(SERVICES, grpc_testing.strict_real_time())


@pytest.fixture
def client(wire: Any) -> blocking.Client:
    return blocking.Client(wire, address="here:1", namespace="n", deadline_seconds=7.0)


@pytest.fixture
def background() -> Iterator[Callable[..., Future[Any]]]:
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


def method(name: str) -> Any:
    return JOBS.methods_by_name[name]


def refusal_metadata(code: grpc.StatusCode, detail: Any) -> tuple[tuple[str, bytes], ...]:
    packed = Packed()
    packed.Pack(detail)
    status = status_pb2.Status(code=code.value[0], message="no", details=[packed])
    return (("grpc-status-details-bin", status.SerializeToString()),)


def test_submit_sends_a_request_id_and_returns_a_handle(wire: Any, client: Any, background: Any, make: Any) -> None:
    submitted = background(client.submit, headrace.claude("hi"), priority=3)
    _, request, rpc = wire.take_unary_unary(method("SubmitJob"))
    rpc.terminate(job_service_pb2.SubmitJobResponse(job=make.job()), (), grpc.StatusCode.OK, "")
    assert submitted.result(DEADLINE_SECONDS).id == make.JOB_ID
    assert (request.namespace, request.spec.priority, request.spec.claude.prompt) == ("n", 3, "hi")
    assert len(request.request_id) == 36


def test_a_refusal_becomes_its_exception(wire: Any, client: Any, background: Any, make: Any) -> None:
    cancelled = background(client.job("j").cancel, "enough")
    _, request, rpc = wire.take_unary_unary(method("CancelJob"))
    code = grpc.StatusCode.FAILED_PRECONDITION
    rpc.terminate(
        job_service_pb2.CancelJobResponse(), refusal_metadata(code, make.reason("JOB_ENDED")), code, "it has ended"
    )
    with pytest.raises(errors.JobEnded, match="it has ended"):
        cancelled.result(DEADLINE_SECONDS)
    assert request.reason == "enough"


def test_e1_a_cut_stream_continues_at_its_cursor_without_hole_or_repeat(
    wire: Any, client: Any, background: Any, make: Any
) -> None:
    read: queue.Queue[Any] = queue.Queue()

    def heard(count: int) -> list[Any]:
        return [read.get(timeout=DEADLINE_SECONDS) for _ in range(count)]

    def follow_to_the_end() -> None:
        for item in client.job("j").watch():
            read.put(item)

    reading = background(follow_to_the_end)
    _, first, rpc = wire.take_unary_stream(method("WatchJob"))
    for message in (make.opened(), make.batch(1, 2), make.batch(3)):
        rpc.send_response(message)
    got = heard(4)
    rpc.terminate((), grpc.StatusCode.UNAVAILABLE, "connection reset by peer")
    _, second, rpc = wire.take_unary_stream(method("WatchJob"))
    for message in (make.opened(), make.batch(3, 4), make.end(watch_pb2.END_REASON_DRAINING, cursor="c4")):
        rpc.send_response(message)
    _, third, rpc = wire.take_unary_stream(method("WatchJob"))
    for message in (make.opened(), make.batch(5), make.end()):
        rpc.send_response(message)
    reading.result(DEADLINE_SECONDS)
    got += heard(read.qsize())
    assert [item.sequence for item in got if isinstance(item, event_pb2.Event)] == [1, 2, 3, 4, 5]
    assert [request.cursor for request in (first, second, third)] == ["", "c3", "c4"]
    assert sum(isinstance(item, follow.Reconnecting) for item in got) == 2


def test_result_waits_for_the_end(wire: Any, client: Any, background: Any, make: Any) -> None:
    outcome = background(client.job("j").result)
    _, _, rpc = wire.take_unary_unary(method("GetJob"))
    rpc.terminate(job_service_pb2.GetJobResponse(job=make.job()), (), grpc.StatusCode.OK, "")
    _, _, rpc = wire.take_unary_stream(method("WatchJob"))
    ended = make.job(job_pb2.JOB_STATE_SUCCEEDED)
    ended.result.command.exit_code = 0
    for message in (make.opened(), make.batch(1), make.end(job=ended)):
        rpc.send_response(message)
    assert outcome.result(DEADLINE_SECONDS).exit_code == 0


def test_closing_a_stream_from_another_thread_ends_its_reader(
    wire: Any, client: Any, background: Any, make: Any
) -> None:
    stream = client.job("j").events()
    items = background(list, stream)
    _, _, rpc = wire.take_unary_stream(method("WatchJob"))
    rpc.send_response(make.opened())
    rpc.send_response(make.batch(1))
    stream.close()
    got = items.result(DEADLINE_SECONDS)
    assert [item.sequence for item in got] in ([], [1])


def test_list_reads_every_page(wire: Any, client: Any, background: Any) -> None:
    ids = background(lambda: [job.id for job in client.list("owner = me")])
    for token, job_id, following in (("", "1", "next"), ("next", "2", "")):
        _, request, rpc = wire.take_unary_unary(method("ListJobs"))
        assert request.page_token == token
        page = job_service_pb2.ListJobsResponse(jobs=[job_pb2.Job(id=job_id)], next_page_token=following)
        rpc.terminate(page, (), grpc.StatusCode.OK, "")
    assert ids.result(DEADLINE_SECONDS) == ["1", "2"]


def test_silence_is_noticed_while_a_read_waits() -> None:
    noticed = threading.Event()
    silence = Silence(0.01)
    silence.watch(noticed.set)
    assert noticed.wait(DEADLINE_SECONDS)
    assert silence.fired
    silence.stop()


def test_silence_between_reads_is_nobodys_fault() -> None:
    noticed = threading.Event()
    silence = Silence(0.01)
    silence.watch(noticed.set)
    silence.rest()
    fired_before_rest = noticed.is_set()
    second = threading.Event()
    silence.watch(second.set)
    assert second.wait(DEADLINE_SECONDS)
    assert noticed.is_set() == fired_before_rest
    silence.stop()
