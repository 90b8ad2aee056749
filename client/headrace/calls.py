"""Every unary call as data: which method, which request, how its answer is read. Both clients run these; no I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from headrace import errors, statuses, tasks
from headrace.v1 import (
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    queue_pb2,
    queue_service_pb2,
    queue_service_pb2_grpc,
    worker_pb2,
    worker_service_pb2,
    worker_service_pb2_grpc,
)

Value = TypeVar("Value")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Stubs:
    """The generated stubs over one channel, of either kind."""

    jobs: Any
    queues: Any
    workers: Any


def stubs(channel: Any) -> Stubs:
    """The stubs of a channel, blocking or asyncio."""
    return Stubs(
        jobs=job_service_pb2_grpc.JobServiceStub(channel),
        queues=queue_service_pb2_grpc.QueueServiceStub(channel),
        workers=worker_service_pb2_grpc.WorkerServiceStub(channel),
    )


@dataclass(frozen=True, slots=True)
class Call(Generic[Value]):
    """A unary call: `method(stubs)` takes the request, `read` makes the caller's value of the response."""

    method: Callable[[Stubs], Any]
    request: Any
    read: Callable[[Any], Value]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of a list; an empty token is the only end."""

    items: Sequence[Item]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one job of `submit_many`: an id, or why it was refused."""

    job_id: str
    deduplicated: bool
    error: errors.CallFailed | None


def new_request_id() -> str:
    """A fresh id, which makes it safe to send a submit again."""
    return str(uuid.uuid4())


def submit(
    namespace: str,
    task: tasks.Task | job_pb2.JobSpec,
    request_id: str | None,
    validate_only: bool,
    options: tasks.SpecOptions,
) -> Call[job_service_pb2.SubmitJobResponse]:
    request = job_service_pb2.SubmitJobRequest(
        namespace=namespace,
        request_id=new_request_id() if request_id is None else request_id,
        spec=tasks.spec(task, **options),
        validate_only=validate_only,
    )
    return Call(lambda s: s.jobs.SubmitJob, request, lambda response: response)


def item(
    task: tasks.Task | job_pb2.JobSpec,
    *,
    ref: str = "",
    request_id: str | None = None,
    **options: Unpack[tasks.SpecOptions],
) -> job_service_pb2.SubmitJobsItem:
    """One job of `submit_many`. Others may name its `ref` in `after=[headrace.ref("…")]`."""
    return job_service_pb2.SubmitJobsItem(
        request_id=new_request_id() if request_id is None else request_id,
        spec=tasks.spec(task, **options),
        ref=ref,
    )


def ref(name: str) -> job_pb2.Dependency:
    """A dependency on the item with this `ref` of the same `submit_many`."""
    return job_pb2.Dependency(ref=name)


SubmitItem = tasks.Task | job_pb2.JobSpec | job_service_pb2.SubmitJobsItem


def submit_many(
    namespace: str, items: Sequence[SubmitItem], atomic: bool, validate_only: bool
) -> Call[list[Submitted]]:
    request = job_service_pb2.SubmitJobsRequest(
        namespace=namespace,
        items=[one if isinstance(one, job_service_pb2.SubmitJobsItem) else item(one) for one in items],
        atomic=atomic,
        validate_only=validate_only,
    )
    return Call(lambda s: s.jobs.SubmitJobs, request, lambda response: [_submitted(r) for r in response.results])


def _submitted(result: job_service_pb2.SubmitJobsResult) -> Submitted:
    error = statuses.from_item(result.error) if result.HasField("error") else None
    return Submitted(result.job_id, result.deduplicated, error)


def get_job(namespace: str, job_id: str) -> Call[job_pb2.Job]:
    request = job_service_pb2.GetJobRequest(namespace=namespace, job_id=job_id)
    return Call(lambda s: s.jobs.GetJob, request, lambda response: response.job)


def list_jobs(namespace: str, filter: str, page_size: int, page_token: str) -> Call[job_service_pb2.ListJobsResponse]:
    request = job_service_pb2.ListJobsRequest(
        namespace=namespace, filter=filter, page_size=page_size, page_token=page_token
    )
    return Call(lambda s: s.jobs.ListJobs, request, lambda response: response)


def list_jobs_page(namespace: str, filter: str, page_size: int, page_token: str) -> Call[Page[job_pb2.Job]]:
    call = list_jobs(namespace, filter, page_size, page_token)
    return Call(call.method, call.request, lambda response: Page(response.jobs, response.next_page_token))


def update_job(
    namespace: str,
    job_id: str,
    priority: int | None,
    schedule_time: datetime | None,
    labels: Mapping[str, str] | None,
    etag: str,
) -> Call[job_pb2.Job]:
    given = {"priority": priority, "schedule_time": schedule_time, "labels": labels}
    changes = job_pb2.JobSpec(
        priority=priority or 0,
        schedule_time=None if schedule_time is None else tasks.timestamp(schedule_time),
        labels=labels,
    )
    mask = FieldMask(paths=[path for path, value in given.items() if value is not None])
    request = job_service_pb2.UpdateJobRequest(
        namespace=namespace, job_id=job_id, spec=changes, update_mask=mask, etag=etag
    )
    return Call(lambda s: s.jobs.UpdateJob, request, lambda response: response.job)


def cancel_job(namespace: str, job_id: str, reason: str) -> Call[job_pb2.Job]:
    request = job_service_pb2.CancelJobRequest(namespace=namespace, job_id=job_id, reason=reason)
    return Call(lambda s: s.jobs.CancelJob, request, lambda response: response.job)


def cancel_jobs(
    namespace: str, filter: str, reason: str, validate_only: bool, page_token: str
) -> Call[job_service_pb2.CancelJobsResponse]:
    request = job_service_pb2.CancelJobsRequest(
        namespace=namespace, filter=filter, reason=reason, validate_only=validate_only, page_token=page_token
    )
    return Call(lambda s: s.jobs.CancelJobs, request, lambda response: response)


def retry_job(namespace: str, job_id: str, request_id: str | None) -> Call[job_service_pb2.RetryJobResponse]:
    request = job_service_pb2.RetryJobRequest(
        namespace=namespace, job_id=job_id, request_id=new_request_id() if request_id is None else request_id
    )
    return Call(lambda s: s.jobs.RetryJob, request, lambda response: response)


def delete_job(namespace: str, job_id: str, etag: str) -> Call[None]:
    request = job_service_pb2.DeleteJobRequest(namespace=namespace, job_id=job_id, etag=etag)
    return Call(lambda s: s.jobs.DeleteJob, request, lambda response: None)


def explain_job(namespace: str, job_id: str) -> Call[job_service_pb2.ExplainJobResponse]:
    request = job_service_pb2.ExplainJobRequest(namespace=namespace, job_id=job_id)
    return Call(lambda s: s.jobs.ExplainJob, request, lambda response: response)


def create_queue(namespace: str, queue: queue_pb2.Queue) -> Call[queue_pb2.Queue]:
    request = queue_service_pb2.CreateQueueRequest(namespace=namespace, queue=queue)
    return Call(lambda s: s.queues.CreateQueue, request, lambda response: response.queue)


def get_queue(namespace: str, name: str) -> Call[queue_pb2.Queue]:
    request = queue_service_pb2.GetQueueRequest(namespace=namespace, name=name)
    return Call(lambda s: s.queues.GetQueue, request, lambda response: response.queue)


def list_queues(namespace: str, page_size: int, page_token: str) -> Call[Page[queue_pb2.Queue]]:
    request = queue_service_pb2.ListQueuesRequest(namespace=namespace, page_size=page_size, page_token=page_token)
    return Call(
        lambda s: s.queues.ListQueues, request, lambda response: Page(response.queues, response.next_page_token)
    )


def update_queue(namespace: str, queue: queue_pb2.Queue, paths: Sequence[str]) -> Call[queue_pb2.Queue]:
    request = queue_service_pb2.UpdateQueueRequest(namespace=namespace, queue=queue, update_mask=FieldMask(paths=paths))
    return Call(lambda s: s.queues.UpdateQueue, request, lambda response: response.queue)


def get_worker(worker_id: str) -> Call[worker_pb2.Worker]:
    request = worker_service_pb2.GetWorkerRequest(worker_id=worker_id)
    return Call(lambda s: s.workers.GetWorker, request, lambda response: response.worker)


def list_workers(page_size: int, page_token: str) -> Call[Page[worker_pb2.Worker]]:
    request = worker_service_pb2.ListWorkersRequest(page_size=page_size, page_token=page_token)
    return Call(
        lambda s: s.workers.ListWorkers, request, lambda response: Page(response.workers, response.next_page_token)
    )


def drain_worker(worker_id: str, exit: bool, grace: tasks.Seconds | None) -> Call[worker_pb2.Worker]:
    request = worker_service_pb2.DrainWorkerRequest(
        worker_id=worker_id,
        wanted=worker_service_pb2.WANTED_WORKER_EXIT if exit else worker_service_pb2.WANTED_WORKER_DRAIN,
        grace=None if grace is None else tasks.duration(grace),
    )
    return Call(lambda s: s.workers.DrainWorker, request, lambda response: response.worker)
