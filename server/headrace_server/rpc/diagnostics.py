"""Reflection and channelz behind the pipeline: counted like any other call, and ended when the server drains.

The answers are those of the stock servicers; only who calls them is ours.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_channelz.v1 import channelz, channelz_pb2
from grpc_reflection.v1alpha import _async as reflection
from grpc_reflection.v1alpha import reflection_pb2

from headrace_server.core.refusal import Refused
from headrace_server.rpc.admission import draining_refusal
from headrace_server.rpc.call import Call
from headrace_server.rpc.pipeline import Pipeline, register, snake_case

REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
CHANNELZ = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"]


class Reflection:
    """Answers what this server serves, for programs such as grpcurl."""

    def __init__(self, services: Iterable[str], draining: asyncio.Event) -> None:
        self._answers = _Answers(services)
        self._draining = draining

    async def server_reflection_info(self, requests: AsyncIterator[Any], call: Call) -> None:
        """One answer for each request."""
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer(requests, call))
            draining = group.create_task(self._draining.wait())
            await asyncio.wait((answering, draining), return_when=asyncio.FIRST_COMPLETED)
            draining.cancel()
            if not answering.done():
                raise Refused(draining_refusal())

    async def _answer(self, requests: AsyncIterator[Any], call: Call) -> None:
        async for answer in self._answers.ServerReflectionInfo(requests, None):
            await call.write(answer)


class _Answers(reflection.ReflectionServicer):  # type: ignore[misc]  # it has no stubs
    """The stock answers; the pool of Python's protobuf finds no file for a method, only for its service."""

    def _file_containing_symbol(self, request: Any, fully_qualified_name: str) -> Any:
        return super()._file_containing_symbol(request, symbol_with_file(fully_qualified_name))


def symbol_with_file(name: str) -> str:
    """The service of a method; any other name stays as it is."""
    try:
        method = descriptor_pool.Default().FindMethodByName(name)
    except KeyError:
        return name
    return str(method.containing_service.full_name)


def register_reflection(server: grpc.aio.Server, pipeline: Pipeline, services: Iterable[str]) -> None:
    """Lists the given services, and reflection itself."""
    names = [*services, REFLECTION.full_name]
    register(server, REFLECTION, Reflection(names, pipeline.admission.draining), pipeline)


def register_channelz(server: grpc.aio.Server, pipeline: Pipeline) -> None:
    """Serves what the gRPC core knows of its channels and sockets."""
    stock = channelz.ChannelzServicer  # type: ignore[attr-defined]  # missing in the stubs
    methods = {method.name: getattr(stock, method.name) for method in CHANNELZ.methods}
    servicer = SimpleNamespace(**{snake_case(name): _unary(method) for name, method in methods.items()})
    register(server, CHANNELZ, servicer, pipeline)


def _unary(method: Any) -> Any:
    async def answer(request: Any, call: Call) -> Any:
        return method(request, call.context)

    return answer
