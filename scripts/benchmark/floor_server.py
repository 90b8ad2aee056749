"""The floor: a bare gRPC server on the control plane's stack and options, with nothing behind it.

It answers under the names of real rpcs, so that one client, with one channel configuration, measures both. Prints its
port, then serves until it is ended.
"""

import asyncio
import functools
import json
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

from benchmark.stamps import stamp
from headrace.v1 import event_pb2, job_service_pb2, watch_pb2, worker_pb2, worker_service_pb2
from headrace_server.rpc.server import OPTIONS

JOBS = "headrace.v1.JobService"
WORKERS = "headrace.v1.WorkerService"
LANE_MESSAGE_COUNT = 64
"""Assignments in one message of the bare control lane."""

Context = grpc.aio.ServicerContext[Any, Any]


async def echo(request: bytes, context: Context) -> bytes:
    """In place of SubmitJob: the same bytes."""
    return request


async def accept(request: job_service_pb2.SubmitJobsRequest, context: Context) -> job_service_pb2.SubmitJobsResponse:
    """In place of SubmitJobs: reads everything, answers everything, stores nothing."""
    response = job_service_pb2.SubmitJobsResponse()
    for item in request.items:
        response.results.add().job_id = item.request_id
    return response


async def stream(request: job_service_pb2.WatchJobRequest, context: Context) -> None:
    """In place of WatchJob: pages as the cursor asks for them, in JSON; without any, opens and stays silent."""
    wanted = json.loads(request.cursor)
    await context.write(job_service_pb2.WatchJobResponse(opened=watch_pb2.WatchOpened()).SerializeToString())
    if not wanted["events"]:
        await asyncio.Event().wait()
    if wanted["gap"]:
        await beat(context, wanted["events"], wanted["event_bytes"], wanted["gap"])
    else:
        for count in page_sizes(wanted["events"], wanted["events_per_page"]):
            await context.write(page(count, wanted["event_bytes"]))
    await context.write(job_service_pb2.WatchJobResponse(end=watch_pb2.WatchEnd()).SerializeToString())


async def beat(context: Context, events: int, event_bytes: int, gap: float) -> None:
    """Pages of one event each, at times that all streams have in common; each says when it was due."""
    first = math.floor(time.monotonic() / gap) + 2
    for number in range(first, first + events):
        due = number * gap
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await context.write(stamped_page(due, event_bytes))


@functools.lru_cache(maxsize=4)
def stamped_page(due: float, event_bytes: int) -> bytes:
    """A page with one event, which begins with a time."""
    batch = job_service_pb2.WatchJobResponse.FromString(page(1, event_bytes))
    batch.batch.events[0].output.chunk.data = stamp(due, event_bytes)
    return batch.SerializeToString()


async def lane(requests: AsyncIterator[worker_service_pb2.ConnectRequest], context: Context) -> None:
    """In place of Connect: keeps the slots of `hello` filled until its `worker_id`, a number, of jobs have finished."""
    hello = (await anext(aiter(requests))).hello
    left = int(hello.worker_id)
    finished = 0
    for _ in range(0, min(left, hello.slots), LANE_MESSAGE_COUNT):
        left -= await assign(context, min(left, LANE_MESSAGE_COUNT))
    async for request in requests:
        finished += len(request.finishes)
        left -= await assign(context, min(left, len(request.finishes)))
        if finished >= int(hello.worker_id):
            return


async def assign(context: Context, count: int) -> int:
    """Sends so many assignments."""
    if count:
        message = worker_service_pb2.ConnectResponse()
        for number in range(count):
            assignment = message.assignments.add()
            assignment.lease.CopyFrom(worker_pb2.Lease(job_id=f"{number:036d}", attempt=1, epoch=1, generation=1))
            assignment.spec.handler.name = "empty"
        await context.write(message)
    return count


@functools.lru_cache(maxsize=4)
def page(events_count: int, event_bytes: int) -> bytes:
    """A page of a follow stream, like one of ours: serialised once, sent as bytes."""
    batch = watch_pb2.EventBatch()
    for number in range(events_count):
        event = batch.events.add(job_id=f"{0:036d}", sequence=number + 1, attempt=1, epoch=1)
        event.output.producer_sequence = number + 1
        event.output.chunk.stream = event_pb2.OUTPUT_STREAM_STDOUT
        event.output.chunk.data = bytes(event_bytes)
    return job_service_pb2.WatchJobResponse(cursor="1:1000000", batch=batch).SerializeToString()


def page_sizes(events_count: int, events_per_page: int) -> list[int]:
    """How many events each page has."""
    whole, rest = divmod(events_count, events_per_page)
    return [events_per_page] * whole + ([rest] if rest else [])


def handlers() -> "list[grpc.GenericRpcHandler[Any, Any]]":
    """All of the above, by name."""
    jobs = {
        "SubmitJob": grpc.unary_unary_rpc_method_handler(echo),
        "SubmitJobs": grpc.unary_unary_rpc_method_handler(
            accept,
            request_deserializer=job_service_pb2.SubmitJobsRequest.FromString,
            response_serializer=job_service_pb2.SubmitJobsResponse.SerializeToString,
        ),
        "WatchJob": grpc.unary_stream_rpc_method_handler(
            stream, request_deserializer=job_service_pb2.WatchJobRequest.FromString
        ),
    }
    workers = {
        "Connect": grpc.stream_stream_rpc_method_handler(
            lane,
            request_deserializer=worker_service_pb2.ConnectRequest.FromString,
            response_serializer=worker_service_pb2.ConnectResponse.SerializeToString,
        )
    }
    return [
        grpc.method_handlers_generic_handler(JOBS, jobs),
        grpc.method_handlers_generic_handler(WORKERS, workers),
    ]


async def serve() -> None:
    """Serves until the process is ended."""
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers(handlers())
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve())
