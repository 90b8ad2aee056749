"""WorkerService: the two lanes, and how people see workers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.control_lane import Lanes, serve_control_lane
from headrace_server.rpc.data_lane import serve_data_lane
from headrace_server.rpc.page_token import LIST_BYTES_MAX, decode_page_token, encode_page_token, name_of, page_rows
from headrace_server.rpc.worker_message import worker_message
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.store.engine import Connection
from headrace_server.store.workers import StoredWorker, get_worker, list_workers, slots_used


@dataclass(frozen=True, slots=True)
class WorkerService:
    """The servicer of `headrace.v1.WorkerService`."""

    lanes: Lanes
    deltas: Deltas
    feed: Feed

    async def connect(self, requests: AsyncIterator[pb.ConnectRequest], call: Call) -> None:
        await serve_control_lane(self.lanes, requests, call)

    async def stream_output(self, requests: AsyncIterator[pb.StreamOutputRequest], call: Call) -> None:
        await serve_data_lane(self.lanes, self.deltas, self.feed, requests, call)

    async def list_workers(self, request: pb.ListWorkersRequest, call: Call) -> pb.ListWorkersResponse:
        count = page_rows(request.page_size)
        after = name_of(decode_page_token(request.page_token, "ListWorkers"))

        def read(connection: Connection) -> list[tuple[StoredWorker, int]]:
            workers = list_workers(connection, after, count + 1)
            return [(worker, slots_used(connection, worker.worker)) for worker in workers]

        found = await self.lanes.store.read(read)
        response = pb.ListWorkersResponse()
        size = 0
        for worker, used in found[:count]:
            message = worker_message(worker, used, self.lanes.registry.lane(worker.worker))
            size += message.ByteSize()
            if response.workers and size > LIST_BYTES_MAX:
                break
            response.workers.append(message)
        if len(response.workers) < len(found):
            response.next_page_token = encode_page_token((response.workers[-1].id,), "ListWorkers")
        return response

    async def get_worker(self, request: pb.GetWorkerRequest, call: Call) -> pb.GetWorkerResponse:
        def read(connection: Connection) -> tuple[StoredWorker, int] | None:
            worker = get_worker(connection, request.worker_id)
            return None if worker is None else (worker, slots_used(connection, worker.worker))

        found = await self.lanes.store.read(read)
        if found is None:
            message = f"there is no worker {request.worker_id!r}"
            raise Refused(Refusal(Reason.NOT_FOUND, message, "headrace.v1.Worker", request.worker_id))
        return pb.GetWorkerResponse(worker=worker_message(*found, self.lanes.registry.lane(request.worker_id)))
