"""The pipeline on a real server: how calls begin, fail and end."""

import asyncio
import logging
from typing import Any

import grpc
import pytest

from headrace.v1 import job_service_pb2, watch_pb2, worker_service_pb2
from headrace_server.core.refusal import Reason, Refusal, Refused, Violation
from headrace_server.rpc.admission import CallClass
from headrace_server.rpc.call import Call
from headrace_server.rpc.pipeline import snake_case

GET = job_service_pb2.GetJobRequest
WATCH = job_service_pb2.WatchJobRequest


class Toy:
    """Does what the job id says."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.seen: list[Call] = []

    async def get_job(self, request: Any, call: Call) -> Any:
        self.seen.append(call)
        if request.job_id == "refused":
            raise Refused(Refusal(Reason.NOT_FOUND, "no such job", "headrace.v1.Job", "refused"))
        if request.job_id == "bug":
            raise ValueError("the secret")
        if request.job_id == "leaked":
            raise asyncio.CancelledError
        if request.job_id == "group":
            async with asyncio.TaskGroup():
                raise Refused(Refusal(Reason.STALE_ETAG, "changed"))
        if request.job_id == "abort":
            await call.context.abort(grpc.StatusCode.DATA_LOSS, "by hand")
        if request.job_id == "wait":
            self.started.set()
            await self.release.wait()
        if request.job_id == "bytes":
            return job_service_pb2.GetJobResponse(job={"id": "as bytes"}).SerializeToString()
        return job_service_pb2.GetJobResponse()

    async def watch_job(self, request: Any, call: Call) -> None:
        for index in range(3):
            await call.write(job_service_pb2.WatchJobResponse(cursor=str(index)).SerializeToString())
        await call.write(job_service_pb2.WatchJobResponse(end=watch_pb2.WatchEnd()))
        if request.job_id == "wait":
            self.started.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

    async def connect(self, requests: Any, call: Call) -> None:
        assert call.requests is not None
        async for request in call.requests:
            if request.hello.worker_id == "refused":
                raise Refused(Refusal(Reason.STALE_INCARNATION, "a newer one is here"))
            await call.write(worker_service_pb2.ConnectResponse(message_number=request.renewal.counter))


def test_unary_answer_carries_a_made_request_id(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            call = serving.jobs.GetJob(GET())
            await call
            assert dict(await call.trailing_metadata())["x-request-id"] == "made-1"

    asyncio.run(scenario())


def test_request_id_of_the_client_is_kept_and_given_back(serve: Any) -> None:
    async def scenario() -> None:
        toy = Toy()
        async with serve(toy) as serving:
            call = serving.jobs.GetJob(GET(), metadata=(("x-request-id", "mine-7"),))
            await call
            assert dict(await call.trailing_metadata())["x-request-id"] == "mine-7"
            assert toy.seen[0].request_id == "mine-7"

    asyncio.run(scenario())


@pytest.mark.parametrize("bad", ["", "x" * 129, "with space"])
def test_request_id_that_would_spoil_a_log_is_replaced(serve: Any, bad: str) -> None:
    async def scenario() -> None:
        toy = Toy()
        async with serve(toy) as serving:
            await serving.jobs.GetJob(GET(), metadata=(("x-request-id", bad),))
            assert toy.seen[0].request_id == "made-1"

    asyncio.run(scenario())


def test_serialised_answers_pass_through(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            response = await serving.jobs.GetJob(GET(job_id="bytes"))
            assert response.job.id == "as bytes"

    asyncio.run(scenario())


def test_a_call_knows_peer_deadline_and_trace(serve: Any) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    async def scenario() -> None:
        toy = Toy()
        async with serve(toy) as serving:
            await serving.jobs.GetJob(GET(), timeout=50, metadata=(("traceparent", traceparent),))
            await serving.jobs.GetJob(GET(), metadata=(("traceparent", "rubbish"),))
        first, second = toy.seen
        assert first.method == "headrace.v1.JobService/GetJob"
        assert (first.traceparent, second.traceparent) == (traceparent, "")

    asyncio.run(scenario())


def test_principal_of_the_unix_socket_is_local_and_the_deadline_is_the_clients(serve: Any) -> None:
    facts: list[Any] = []

    class Asking:
        async def get_job(self, request: Any, call: Call) -> Any:
            facts.append((call.principal, call.seconds_left()))
            return job_service_pb2.GetJobResponse()

    async def scenario() -> None:
        async with serve(Asking()) as serving:
            await serving.jobs.GetJob(GET(), timeout=50)
            await serving.jobs.GetJob(GET())

    asyncio.run(scenario())
    (principal, seconds), (_, without) = facts
    assert principal == "local"
    assert 40 < seconds < 60
    assert without is None


def test_refusal_becomes_a_status_with_details(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            failure = await failure_of(serving.jobs.GetJob(GET(job_id="refused")))
        assert (failure.code, failure.message) == (grpc.StatusCode.NOT_FOUND, "no such job")
        assert (failure.info.reason, failure.info.domain) == ("NOT_FOUND", "headrace")
        assert failure.details["ResourceInfo"].resource_name == "refused"
        assert failure.request_id == "made-1"

    asyncio.run(scenario())


def test_refusal_inside_a_task_group_is_found(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            failure = await failure_of(serving.jobs.GetJob(GET(job_id="group")))
        assert failure.code is grpc.StatusCode.ABORTED

    asyncio.run(scenario())


def test_unknown_exception_is_masked_and_logged_with_its_id(
    serve: Any, failure_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            failure = await failure_of(serving.jobs.GetJob(GET(job_id="bug")))
        assert failure.code is grpc.StatusCode.INTERNAL
        assert "secret" not in failure.message
        assert failure.info.reason == "INTERNAL"
        assert failure.info.metadata["error_id"] in caplog.text
        assert "the secret" in caplog.text

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())


def test_leaked_cancelled_error_becomes_a_status_instead_of_a_hang(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            failure = await failure_of(serving.jobs.GetJob(GET(job_id="leaked"), timeout=30))
        assert failure.code is grpc.StatusCode.INTERNAL

    asyncio.run(scenario())


def test_abort_of_grpc_passes_unchanged(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            failure = await failure_of(serving.jobs.GetJob(GET(job_id="abort")))
        assert (failure.code, failure.message) == (grpc.StatusCode.DATA_LOSS, "by hand")

    asyncio.run(scenario())


def test_rpc_that_is_not_there_is_named(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            unary = await failure_of(serving.jobs.RetryJob(job_service_pb2.RetryJobRequest()))
            stream = await failure_of(serving.jobs.ReadArtifact(job_service_pb2.ReadArtifactRequest()))
        assert unary.code is stream.code is grpc.StatusCode.UNIMPLEMENTED
        assert unary.info.reason == "NOT_SUPPORTED"
        assert unary.info.metadata["rpc"] == "headrace.v1.JobService/RetryJob"
        assert stream.info.metadata["rpc"] == "headrace.v1.JobService/ReadArtifact"

    asyncio.run(scenario())


def test_request_that_is_no_message_is_refused(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            raw = serving.channel.unary_unary("/headrace.v1.JobService/GetJob", None, None)
            failure = await failure_of(raw(b"\xff\xff\xff"))
        assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
        assert failure.info.reason == "INVALID_FIELD"

    asyncio.run(scenario())


def test_check_runs_before_the_method(serve: Any, failure_of: Any) -> None:
    violation = Violation("job_id", "is bad")
    checks = {"headrace.v1.GetJobRequest": lambda request: Refusal(Reason.INVALID_FIELD, "no", violations=(violation,))}

    async def scenario() -> None:
        toy = Toy()
        async with serve(toy, checks) as serving:
            failure = await failure_of(serving.jobs.GetJob(GET(job_id="bug")))
        assert failure.details["BadRequest"].field_violations[0].field == "job_id"
        assert toy.seen == []

    asyncio.run(scenario())


def test_server_stream_writes_messages_and_bytes_in_order(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(Toy()) as serving:
            messages = [message async for message in serving.jobs.WatchJob(WATCH())]
        assert [message.cursor for message in messages] == ["0", "1", "2", ""]
        assert messages[-1].HasField("end")

    asyncio.run(scenario())


def test_bidirectional_stream_answers_and_can_be_refused_midway(serve: Any) -> None:
    request = worker_service_pb2.ConnectRequest

    async def scenario() -> None:
        async with serve(Toy()) as serving:
            lane = serving.workers.Connect()
            await lane.write(request(renewal={"counter": 5}))
            assert (await lane.read()).message_number == 5
            await lane.write(request(hello={"worker_id": "refused"}))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await lane.read()
            assert caught.value.code() is grpc.StatusCode.ABORTED
            assert serving.admission.in_flight() == 0

    asyncio.run(scenario())


def test_client_cancel_reaches_the_method_and_frees_its_place(serve: Any) -> None:
    async def scenario() -> None:
        toy = Toy()
        async with serve(toy) as serving:
            watch = serving.jobs.WatchJob(WATCH(job_id="wait"))
            await watch.read()
            await toy.started.wait()
            assert serving.admission.in_flight(CallClass.STREAM) == 1
            watch.cancel()
            await asyncio.wait_for(toy.cancelled.wait(), 30)
            assert await serving.admission.wait_idle(30)

    asyncio.run(scenario())


def test_calls_over_the_cap_are_refused_and_other_classes_are_not(serve: Any, failure_of: Any) -> None:
    caps = dict.fromkeys(CallClass, 1)

    async def scenario() -> None:
        toy = Toy()
        async with serve(toy, caps=caps) as serving:
            waiting = asyncio.ensure_future(serving.jobs.GetJob(GET(job_id="wait")))
            await toy.started.wait()
            failure = await failure_of(serving.jobs.GetJob(GET()))
            assert [message async for message in serving.jobs.WatchJob(WATCH())]
            toy.release.set()
            await waiting
            await serving.jobs.GetJob(GET())
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failure.info.metadata["cause"] == "UNARY"
        assert failure.details["RetryInfo"].retry_delay.seconds == 1

    asyncio.run(scenario())


def test_one_principal_has_a_bound_of_open_streams(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        toy = Toy()
        async with serve(toy, principal_streams_max=1) as serving:
            watch = serving.jobs.WatchJob(WATCH(job_id="wait"))
            await watch.read()
            await toy.started.wait()
            failure = await failure_of(serving.jobs.WatchJob(WATCH()))
            await serving.jobs.GetJob(GET())
            watch.cancel()
            assert await serving.admission.wait_idle(30)
            assert [message async for message in serving.jobs.WatchJob(WATCH())]
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failure.info.reason == "TOO_MANY_CALLS"
        assert dict(failure.info.metadata) == {"cause": "STREAM", "scope": "principal", "limit": "1"}

    asyncio.run(scenario())


def test_draining_refuses_new_calls_and_waits_for_those_in_flight(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        toy = Toy()
        async with serve(toy) as serving:
            waiting = asyncio.ensure_future(serving.jobs.GetJob(GET(job_id="wait")))
            await toy.started.wait()
            serving.admission.drain()
            failure = await failure_of(serving.jobs.GetJob(GET()))
            assert not await serving.admission.wait_idle(0, CallClass.UNARY)
            toy.release.set()
            assert await serving.admission.wait_idle(30, CallClass.UNARY)
            await waiting
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.info.reason == "DRAINING"
        assert "RetryInfo" in failure.details

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "expected"), [("SubmitJob", "submit_job"), ("Check", "check"), ("GetJob", "get_job")])
def test_names_of_methods(name: str, expected: str) -> None:
    assert snake_case(name) == expected
