"""WorkerService: the two lanes, and how people see workers and drain them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from headrace.v1 import worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.messages.worker_message import SeenWorker, wanted_worker_of, worker_message
from headrace_server.rpc.page_token import LIST_BYTES_MAX, decode_page_token, encode_page_token, name_of, page_rows
from headrace_server.rpc.streams.control_lane import Lanes, serve_control_lane
from headrace_server.rpc.streams.data_lane import serve_data_lane
from headrace_server.runtime.deltas import Deltas
from headrace_server.runtime.feed import Feed
from headrace_server.store.attempts.demand import resources_used
from headrace_server.store.attempts.worker_drains import WorkerDrain, drain_worker, end_drain, not_found, read_drain
from headrace_server.store.attempts.workers import StoredWorker, get_worker, list_workers
from headrace_server.store.codec import micros_of
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class WorkerService:
    """The servicer of `headrace.v1.WorkerService`."""

    lanes: Lanes
    deltas: Deltas
    feed: Feed
    on_drain: Callable[[str, WorkerDrain | None], None]
    """Told of every drain that begins, changes or ends."""

    async def connect(self, requests: AsyncIterator[pb.ConnectRequest], call: Call) -> None:
        await serve_control_lane(self.lanes, requests, call)

    async def stream_output(self, requests: AsyncIterator[pb.StreamOutputRequest], call: Call) -> None:
        await serve_data_lane(self.lanes, self.deltas, self.feed, requests, call)

    async def list_workers(self, request: pb.ListWorkersRequest, call: Call) -> pb.ListWorkersResponse:
        count = page_rows(request.page_size)
        after = name_of(decode_page_token(request.page_token, "ListWorkers"))

        def read(connection: Connection) -> list[SeenWorker]:
            return [_seen(connection, worker) for worker in list_workers(connection, after, count + 1)]

        found = await self.lanes.store.read(read)
        response = pb.ListWorkersResponse()
        size = 0
        for seen in found[:count]:
            message = worker_message(seen, self.lanes.registry.lane(seen.worker.worker))
            size += message.ByteSize()
            if response.workers and size > LIST_BYTES_MAX:
                break
            response.workers.append(message)
        if len(response.workers) < len(found):
            response.next_page_token = encode_page_token((response.workers[-1].id,), "ListWorkers")
        return response

    async def get_worker(self, request: pb.GetWorkerRequest, call: Call) -> pb.GetWorkerResponse:
        return pb.GetWorkerResponse(worker=await self._worker(request.worker_id))

    async def drain_worker(self, request: pb.DrainWorkerRequest, call: Call) -> pb.DrainWorkerResponse:
        worker, actor = request.worker_id, call.principal
        grace = micros_of(request.grace) if request.HasField("grace") else None

        def write(ledger: Ledger) -> WorkerDrain | Refusal | None:
            if request.wanted == pb.WANTED_WORKER_RUN:
                return end_drain(ledger, worker, actor)
            return drain_worker(ledger, worker, actor, grace, exits=request.wanted == pb.WANTED_WORKER_EXIT)

        drain = await self.lanes.store.write(write)
        if isinstance(drain, Refusal):
            raise Refused(drain)
        self.lanes.registry.want(worker, wanted_worker_of(drain))
        self.lanes.scheduler.wake()
        self.on_drain(worker, drain)
        return pb.DrainWorkerResponse(worker=await self._worker(worker))

    async def _worker(self, worker: str) -> worker_pb2.Worker:
        def read(connection: Connection) -> SeenWorker | None:
            stored = get_worker(connection, worker)
            return None if stored is None else _seen(connection, stored)

        found = await self.lanes.store.read(read)
        if found is None:
            raise Refused(not_found(worker))
        return worker_message(found, self.lanes.registry.lane(worker))


def _seen(connection: Connection, worker: StoredWorker) -> SeenWorker:
    return SeenWorker(worker, resources_used(connection, worker.worker), read_drain(connection, worker.worker))
