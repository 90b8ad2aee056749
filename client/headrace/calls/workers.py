"""The calls of WorkerService that people make; its streams belong to workers."""

from __future__ import annotations

from headrace import policies
from headrace.calls.call import Call, Page
from headrace.policies import Seconds
from headrace.v1 import worker_pb2, worker_service_pb2


def get(worker_id: str) -> Call[worker_pb2.Worker]:
    request = worker_service_pb2.GetWorkerRequest(worker_id=worker_id)
    return Call(lambda s: s.workers.GetWorker, request, lambda response: response.worker)


def page(page_size: int, page_token: str) -> Call[Page[worker_pb2.Worker]]:
    request = worker_service_pb2.ListWorkersRequest(page_size=page_size, page_token=page_token)
    return Call(
        lambda s: s.workers.ListWorkers, request, lambda response: Page(response.workers, response.next_page_token)
    )


def drain(worker_id: str, exit: bool, grace: Seconds | None) -> Call[worker_pb2.Worker]:
    wanted = worker_service_pb2.WANTED_WORKER_EXIT if exit else worker_service_pb2.WANTED_WORKER_DRAIN
    return _want(worker_id, wanted, grace)


def undrain(worker_id: str) -> Call[worker_pb2.Worker]:
    return _want(worker_id, worker_service_pb2.WANTED_WORKER_RUN, None)


def _want(worker_id: str, wanted: worker_service_pb2.WantedWorker, grace: Seconds | None) -> Call[worker_pb2.Worker]:
    request = worker_service_pb2.DrainWorkerRequest(
        worker_id=worker_id, wanted=wanted, grace=policies.optional_duration(grace)
    )
    return Call(lambda s: s.workers.DrainWorker, request, lambda response: response.worker)
