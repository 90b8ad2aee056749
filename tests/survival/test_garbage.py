"""Whatever a client sends: an answer or a clear refusal, never UNKNOWN or INTERNAL, and nothing damaged."""

from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.v1 import job_pb2, job_service_pb2, queue_pb2, queue_service_pb2, task_pb2
from survival.garbage import Garbage
from survival.sending import NOT_OURS, PLAUSIBLE, Rpc, command_spec, handler_spec, rpcs
from survival.served import Served

UNARY = rpcs(server_streaming=False)
STREAMS = rpcs(server_streaming=True)
SUBMIT = "headrace.v1.JobService/SubmitJob"
SOUND = "sound"
"""A namespace whose queue no garbage has changed."""
SEEDS = st.integers(0, 2**32)
known: dict[str, Any] = {**PLAUSIBLE, "job_id": ("01890a5d-ac96-774b-bcce-b302099a8057",), "page_token": ("",)}
"""Learns the ids and tokens that the server hands out."""


def status_of(error: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = error.code()
    return code


def reason_of(error: Any) -> str:
    """Of its ErrorInfo: the proof that the server has refused it, and not the library."""
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    reason: str = info.reason
    return reason


def check_refusal(error: Any, name: str) -> None:
    assert status_of(error) not in NOT_OURS | {grpc.StatusCode.DEADLINE_EXCEEDED}, (name, error)
    assert reason_of(error)


def send(served: Served, rpc: Rpc, body: bytes) -> None:
    try:
        answer: Any = rpc.response.FromString(served.unary(rpc.name, body))
    except grpc.RpcError as error:
        check_refusal(error, rpc.name)
        return
    if rpc.name == SUBMIT and answer.job.id:
        known["job_id"] = (*known["job_id"], answer.job.id)[-50:]
    if getattr(answer, "next_page_token", ""):
        known["page_token"] = ("", answer.next_page_token)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_no_message_is_too_strange_for_any_unary_rpc(served: Served, seed: int) -> None:
    garbage = Garbage(seed, known)
    for rpc in UNARY:
        message = garbage.message(rpc.request)
        form = garbage.random.randrange(10)
        body = garbage.noise() if form == 0 else garbage.damaged(message) if form == 1 else message.SerializeToString()
        send(served, rpc, body)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_no_spec_of_the_right_kind_is_too_strange_to_submit(served: Served, seed: int) -> None:
    """With a task that the server takes, garbage gets past the first checks."""
    garbage = Garbage(seed, known)
    task = garbage.random.choice((task_pb2.CommandTask(program="sh"), task_pb2.HandlerTask(name="echo")))
    field = "command" if isinstance(task, task_pb2.CommandTask) else "handler"
    spec = garbage.message(job_pb2.JobSpec, **{field: task})
    send(served, UNARY[0], garbage.message(job_service_pb2.SubmitJobRequest, spec=spec).SerializeToString())
    queue = garbage.message(queue_pb2.Queue, name=garbage.random.choice(("q1", "q2", "default")))
    create = queue_service_pb2.CreateQueueRequest(queue=queue)
    send(served, next(rpc for rpc in UNARY if rpc.name.endswith("/CreateQueue")), create.SerializeToString())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=SEEDS)
def test_no_message_is_too_strange_for_a_stream(served: Served, seed: int) -> None:
    garbage = Garbage(seed, known)
    for rpc in STREAMS:
        request: Any = garbage.message(rpc.request)
        is_damaged = garbage.random.random() < 0.2
        if hasattr(request, "no_follow"):
            request.no_follow = True
        if rpc.name.endswith("/WatchJob") and request.WhichOneof("subject") == "unique_key":
            request.unique_key.wait = False
        call: Any = served.channel.unary_stream(f"/{rpc.name}", None, rpc.response.FromString)(
            garbage.damaged(request) if is_damaged else request.SerializeToString(), timeout=2 if is_damaged else 20
        )
        try:
            for _ in call:
                if rpc.name.endswith("/Watch") or rpc.name.endswith("/WatchHealth"):
                    break
        except grpc.RpcError as error:
            # A damaged request may be a right one that follows for ever.
            if not (is_damaged and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED):
                check_refusal(error, rpc.name)
        call.cancel()


def nested(levels: int) -> struct_pb2.Struct:
    """Objects inside each other, made of bytes: setting them one by one copies each of them."""
    body = struct_pb2.Struct().SerializeToString()
    for _ in range(levels):
        value = b"\x2a" + length(len(body)) + body
        entry = b"\x0a\x01a\x12" + length(len(value)) + value
        body = b"\x0a" + length(len(entry)) + entry
    return struct_pb2.Struct.FromString(body)


def length(size: int) -> bytes:
    return bytes((size,)) if size < 0x80 else bytes((size & 0x7F | 0x80, size >> 7))


def submit(served: Served, spec: job_pb2.JobSpec) -> str:
    request = job_service_pb2.SubmitJobRequest(namespace=SOUND, spec=spec)
    return job_service_pb2.SubmitJobResponse.FromString(served.unary(SUBMIT, request.SerializeToString())).job.id


def test_what_can_be_submitted_can_be_read_and_followed_however_deep_it_is(served: Served) -> None:
    refused = False
    for levels in range(15, 32):
        spec = handler_spec()
        spec.handler.input.CopyFrom(nested(levels))
        try:
            job_id = submit(served, spec)
        except grpc.RpcError as error:
            check_refusal(error, SUBMIT)
            refused = True
            continue
        assert not refused, "a deeper one was taken"
        request = job_service_pb2.WatchJobRequest(namespace=SOUND, job_id=job_id, no_follow=True)
        watch = served.channel.unary_stream("/headrace.v1.JobService/WatchJob")(request.SerializeToString(), timeout=10)
        assert [job_service_pb2.WatchJobResponse.FromString(one) for one in watch]
    assert refused


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("NOT A TOKEN", "INVALID_TOKEN"), ("ü", "INVALID_TOKEN"), ("A" * 5000, "INVALID_FIELD")],
)
def test_a_page_token_that_is_none_is_refused(served: Served, cell: str, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        served.unary(
            "headrace.v1.JobService/ListJobs", job_service_pb2.ListJobsRequest(page_token=cell).SerializeToString()
        )
    assert reason_of(caught.value) == reason


@pytest.mark.parametrize("position", [[], ["x"], [-1], [2**70], [None], [[1]], {"a": 1}])
def test_a_forged_page_token_is_refused(served: Served, position: Any) -> None:
    """Its digest is no secret."""
    from headrace_server.rpc.page_token import encode_page_token

    token = encode_page_token(position, "ListJobs", "default", "")
    request = job_service_pb2.ListJobsRequest(page_token=token)
    with pytest.raises(grpc.RpcError) as caught:
        served.unary("headrace.v1.JobService/ListJobs", request.SerializeToString())
    assert reason_of(caught.value) == "INVALID_TOKEN"


def test_a_message_of_more_than_four_mebibytes_is_refused(served: Served) -> None:
    spec = command_spec()
    spec.command.stdin = bytes(5 * 1024 * 1024)
    with pytest.raises(grpc.RpcError) as caught:
        submit(served, spec)
    assert status_of(caught.value) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert submit(served, command_spec())


def test_a_thousand_bad_items_are_all_answered(served: Served) -> None:
    """Each with more faults than fit into the answer together."""
    spec = command_spec()
    spec.command.arguments.extend(["\0"] * 500)
    items = [job_service_pb2.SubmitJobsItem(spec=spec)] * 1000
    answer = served.unary(
        "headrace.v1.JobService/SubmitJobs", job_service_pb2.SubmitJobsRequest(items=items).SerializeToString()
    )
    results = job_service_pb2.SubmitJobsResponse.FromString(answer).results
    assert [result.error.code for result in results] == [grpc.StatusCode.INVALID_ARGUMENT.value[0]] * 1000
    error = results[-1].error
    assert len(error.violations) + int(error.metadata["violations_omitted"]) == 500


@pytest.mark.parametrize(
    "metadata",
    [
        [("x-request-id", " " * 200)],
        [("traceparent", "00-zz")],
        [("traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-01")],
        [("garbage-bin", bytes(range(256)))],
        [("x-request-id", "one"), ("x-request-id", "two"), ("authorization", "Bearer x")],
    ],
)
def test_metadata_that_means_nothing_changes_nothing(served: Served, metadata: list[tuple[str, Any]]) -> None:
    request = job_service_pb2.SubmitJobRequest(namespace=SOUND, spec=command_spec()).SerializeToString()
    answer = served.channel.unary_unary(f"/{SUBMIT}")(request, timeout=10, metadata=metadata)
    assert job_service_pb2.SubmitJobResponse.FromString(answer).job.id
