"""The calls of JobService."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Unpack

from google.protobuf.field_mask_pb2 import FieldMask

from headrace import errors, statuses, tasks, words
from headrace.calls.call import Call, Page, new_request_id
from headrace.v1 import job_pb2, job_service_pb2


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of one job of `submit_many`: an id, or why it was refused."""

    job_id: str
    deduplicated: bool
    error: errors.CallFailed | None


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


def artifact(namespace: str, job_id: str, name: str, offset: int) -> job_service_pb2.ReadArtifactRequest:
    return job_service_pb2.ReadArtifactRequest(namespace=namespace, job_id=job_id, name=name, offset=offset)


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


def get(namespace: str, job_id: str, view: str | job_pb2.JobView | None = None) -> Call[job_pb2.Job]:
    request = job_service_pb2.GetJobRequest(
        namespace=namespace, job_id=job_id, view=words.chosen(job_pb2.JobView, view)
    )
    return Call(lambda s: s.jobs.GetJob, request, lambda response: response.job)


def listed(namespace: str, filter: str, page_size: int, page_token: str) -> Call[job_service_pb2.ListJobsResponse]:
    request = job_service_pb2.ListJobsRequest(
        namespace=namespace, filter=filter, page_size=page_size, page_token=page_token
    )
    return Call(lambda s: s.jobs.ListJobs, request, lambda response: response)


def page(namespace: str, filter: str, page_size: int, page_token: str) -> Call[Page[job_pb2.Job]]:
    call = listed(namespace, filter, page_size, page_token)
    return Call(call.method, call.request, lambda response: Page(response.jobs, response.next_page_token))


def update(
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


def cancel(namespace: str, job_id: str, reason: str) -> Call[job_pb2.Job]:
    request = job_service_pb2.CancelJobRequest(namespace=namespace, job_id=job_id, reason=reason)
    return Call(lambda s: s.jobs.CancelJob, request, lambda response: response.job)


def cancel_page(
    namespace: str, filter: str, reason: str, validate_only: bool, page_token: str
) -> Call[job_service_pb2.CancelJobsResponse]:
    request = job_service_pb2.CancelJobsRequest(
        namespace=namespace, filter=filter, reason=reason, validate_only=validate_only, page_token=page_token
    )
    return Call(lambda s: s.jobs.CancelJobs, request, lambda response: response)


def cancelled_page(
    namespace: str, filter: str, reason: str, validate_only: bool, page_token: str
) -> Call[Page[job_service_pb2.CancelJobsResult]]:
    call = cancel_page(namespace, filter, reason, validate_only, page_token)
    return Call(call.method, call.request, lambda response: Page(response.results, response.next_page_token))


def retry(namespace: str, job_id: str, request_id: str | None) -> Call[job_service_pb2.RetryJobResponse]:
    request = job_service_pb2.RetryJobRequest(
        namespace=namespace, job_id=job_id, request_id=new_request_id() if request_id is None else request_id
    )
    return Call(lambda s: s.jobs.RetryJob, request, lambda response: response)


def delete(namespace: str, job_id: str, etag: str) -> Call[None]:
    request = job_service_pb2.DeleteJobRequest(namespace=namespace, job_id=job_id, etag=etag)
    return Call(lambda s: s.jobs.DeleteJob, request, lambda response: None)


def explain(namespace: str, job_id: str) -> Call[job_service_pb2.ExplainJobResponse]:
    request = job_service_pb2.ExplainJobRequest(namespace=namespace, job_id=job_id)
    return Call(lambda s: s.jobs.ExplainJob, request, lambda response: response)
