"""Health, reflection and channelz on a real server."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from headrace_server.rpc.admission import CallClass

JOB_SERVICE = "headrace.v1.JobService"
Request = health_pb2.HealthCheckRequest
Status = health_pb2.HealthCheckResponse


def stub(serving: Any) -> Any:
    return health_pb2_grpc.HealthStub(serving.channel)


def test_services_begin_as_not_serving(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(object()) as serving:
            assert (await stub(serving).Check(Request())).status == Status.NOT_SERVING
            serving.health.set_all(True)
            assert (await stub(serving).Check(Request())).status == Status.SERVING
            serving.health.set_serving(JOB_SERVICE, False)
            assert (await stub(serving).Check(Request(service=JOB_SERVICE))).status == Status.NOT_SERVING

    asyncio.run(scenario())


def test_check_of_an_unknown_service_is_not_found(serve: Any, failure_of: Any) -> None:
    async def scenario() -> None:
        async with serve(object()) as serving:
            failure = await failure_of(stub(serving).Check(Request(service="other")))
        assert failure.code is grpc.StatusCode.NOT_FOUND

    asyncio.run(scenario())


def test_watch_says_the_status_now_and_each_change(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(object()) as serving:
            watch = stub(serving).Watch(Request(service=JOB_SERVICE))
            assert (await watch.read()).status == Status.NOT_SERVING
            serving.health.set_serving(JOB_SERVICE, True)
            assert (await watch.read()).status == Status.SERVING

    asyncio.run(scenario())


def test_watch_of_an_unknown_service_waits_for_it(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(object()) as serving:
            watch = stub(serving).Watch(Request(service="later"))
            assert (await watch.read()).status == Status.SERVICE_UNKNOWN
            serving.health.set_serving("later", True)
            assert (await watch.read()).status == Status.SERVING

    asyncio.run(scenario())


def test_drain_ends_watches_after_they_were_told(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(object()) as serving:
            serving.health.set_all(True)
            watch = stub(serving).Watch(Request())
            assert (await watch.read()).status == Status.SERVING
            assert await serving.health.drain(30)
            assert (await watch.read()).status == Status.NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    asyncio.run(scenario())


def test_drain_does_not_wait_longer_than_it_may(serve: Any) -> None:
    writing = asyncio.Event()

    class Stalled:
        async def write(self, message: Any) -> None:
            writing.set()
            await asyncio.Event().wait()

    async def scenario() -> None:
        async with serve(object()) as serving:
            watching = asyncio.ensure_future(serving.health.watch(Request(), Stalled()))
            await writing.wait()
            assert not await serving.health.drain(0.01)
            watching.cancel()

    asyncio.run(scenario())


def test_health_is_answered_while_the_server_drains_and_when_others_are_at_their_cap(serve: Any) -> None:
    caps = dict.fromkeys(CallClass, 0) | {CallClass.EXEMPT: 1}

    async def scenario() -> None:
        async with serve(object(), caps=caps) as serving:
            assert (await stub(serving).Check(Request())).status == Status.NOT_SERVING
            serving.admission.drain()
            assert (await stub(serving).Check(Request())).status == Status.NOT_SERVING

    asyncio.run(scenario())


def test_list_names_every_service(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(object()) as serving:
            statuses = (await stub(serving).List(health_pb2.HealthListRequest())).statuses
            assert set(statuses) == {"", JOB_SERVICE}

    asyncio.run(scenario())


def reflection(serving: Any) -> Any:
    reflection_stub = reflection_pb2_grpc.ServerReflectionStub(serving.channel)
    return reflection_stub.ServerReflectionInfo()


def test_reflection_lists_services_and_finds_their_files(serve: Any) -> None:
    request = reflection_pb2.ServerReflectionRequest

    async def scenario() -> None:
        async with serve(object()) as serving:
            stream = reflection(serving)
            await stream.write(request(list_services=""))
            names = {service.name for service in (await stream.read()).list_services_response.service}
            await stream.write(request(file_containing_symbol=JOB_SERVICE))
            assert (await stream.read()).file_descriptor_response.file_descriptor_proto
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the stubs
        assert {JOB_SERVICE, "headrace.v1.WorkerService", "grpc.health.v1.Health"} <= names
        assert "grpc.reflection.v1alpha.ServerReflection" in names

    asyncio.run(scenario())


def test_reflection_ends_when_the_server_drains(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(object()) as serving:
            stream = reflection(serving)
            await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            await stream.read()
            serving.admission.drain()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stream.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert await serving.admission.wait_idle(30)

    asyncio.run(scenario())


def test_channelz_shows_the_server(serve: Any) -> None:
    async def scenario() -> None:
        async with serve(object(), with_channelz=True) as serving:
            channelz = channelz_pb2_grpc.ChannelzStub(serving.channel)
            servers = await channelz.GetServers(channelz_pb2.GetServersRequest())
            assert len(servers.server) >= 1

    asyncio.run(scenario())
