"""Which request has which checks: the table that the pipeline asks before a method runs.

Faults first, all of them at once; then fields that this server does not honour. What only the store knows (is there
such a queue, is it full) is not judged here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headrace.v1 import (
    admin_service_pb2,
    event_service_pb2,
    job_pb2,
    job_service_pb2,
    queue_service_pb2,
    schedule_service_pb2,
    session_service_pb2,
    worker_service_pb2,
)
from headrace_server.core import limits
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks import (
    validate_capacity,
    validate_job,
    validate_queue,
    validate_schedule,
    validate_session,
)
from headrace_server.rpc.checks.validate_answer import check_answer
from headrace_server.rpc.checks.validate_change import check_cancel_jobs, check_update
from headrace_server.rpc.checks.validate_event import check_list, check_watch
from headrace_server.rpc.checks.validate_graph import graph_faults, no_refs
from headrace_server.rpc.checks.validate_settings import check_update_settings
from headrace_server.rpc.checks.validate_worker import check_drain
from headrace_server.rpc.checks.violations import (
    Check,
    Rules,
    Violations,
    anything,
    at_least_zero,
    between,
    bytes_within,
    check_fields,
    duration,
    duration_above_zero,
    each,
    enum,
    job_id,
    message_of,
    namespace,
    queue_name,
    request_id,
    request_of,
    text,
    timestamp,
    worker_id,
)
from headrace_server.rpc.filters import check_filter
from headrace_server.rpc.streams.health_stream import health_interval

CURSOR_BYTES_MAX = 1024

_view = enum(job_pb2.JobView)
_token = bytes_within(CURSOR_BYTES_MAX)
_reason = text(limits.REASON_CHARACTERS_MAX)
_JOB: Rules = {"namespace": namespace, "job_id": job_id}
_SUBMIT_JOBS: Rules = dict.fromkeys(("items", "atomic", "validate_only"), anything) | {"namespace": namespace}
_WATCHED_KEY: Rules = {"queue": queue_name, "key": text(limits.KEY_CHARACTERS_MAX), "wait": anything}


def check_items(items: Sequence[job_service_pb2.SubmitJobsItem]) -> list[Refusal | None]:
    """Why items of a SubmitJobs call can't be accepted, each for itself; paths are from the item."""
    checked = [check_item(item) for item in items]
    faults: dict[int, Violations] = {}
    for fault in graph_faults(items):
        faults.setdefault(fault.item, Violations()).add(fault.path, fault.description)
    for number, violations in faults.items():
        checked[number] = checked[number] or violations.refusal()
    return checked


def check_item(item: job_service_pb2.SubmitJobsItem) -> Refusal | None:
    """Why one item can't be accepted, whatever the others are."""
    violations = Violations()
    validate_job.item(item, "", violations)
    return violations.refusal()


def _submit_job(request: job_service_pb2.SubmitJobRequest) -> Refusal | None:
    violations = Violations()
    if not request.HasField("spec"):
        violations.add("spec", "is required")
    check_fields(request, _SUBMIT_JOB, "", violations)
    no_refs(request.spec, "spec", violations)
    return violations.refusal()


def _submit_jobs(request: job_service_pb2.SubmitJobsRequest) -> Refusal | None:
    """The call as a whole, and with `atomic` all of its items: without it each item has a result of its own."""
    violations = Violations()
    check_fields(request, _SUBMIT_JOBS, "", violations)
    count = len(request.items)
    if not 1 <= count <= limits.SUBMIT_ITEMS_COUNT_MAX:
        violations.add("items", f"has {count} items; it has to have 1 to {limits.SUBMIT_ITEMS_COUNT_MAX}")
        return violations.refusal()
    if violations.found or not request.atomic:
        return violations.refusal()
    return _all_items(request, violations)


def _all_items(request: job_service_pb2.SubmitJobsRequest, violations: Violations) -> Refusal | None:
    """Every fault of every item, and the number of the first bad item, from 0 as in the paths."""
    first_bad = 0
    for index, item in enumerate(request.items):
        validate_job.item(item, f"items[{index}].", violations)
        first_bad = first_bad if violations.found else index + 1
    for fault in graph_faults(request.items):
        first_bad = min(first_bad, fault.item)
        violations.add(f"items[{fault.item}].{fault.path}", fault.description)
    refusal = violations.refusal()
    return refusal and replace(refusal, metadata=refusal.metadata | {"item": str(first_bad)})


def _watch_job(request: job_service_pb2.WatchJobRequest) -> Refusal | None:
    violations = Violations()
    subject = request.WhichOneof("subject")
    if subject is None:
        violations.add("job_id", "is required, or unique_key")
    elif subject == "unique_key" and not request.unique_key.key:
        violations.add("unique_key.key", "is required")
    check_fields(request, _WATCH_JOB, "", violations)
    for name in ("last", "start_time"):
        if request.cursor and any(field.name == name for field, _ in request.ListFields()):
            violations.add(name, "can't be given with a cursor, which says where to begin")
    if request.without_output and request.outputs:
        violations.add("outputs", "can't be chosen from without output")
    return violations.refusal()


def _create_queue(request: queue_service_pb2.CreateQueueRequest) -> Refusal | None:
    violations = Violations()
    if not request.HasField("queue"):
        violations.add("queue", "is required")
    check_fields(request, _CREATE_QUEUE, "", violations)
    return violations.refusal()


def _update_queue(request: queue_service_pb2.UpdateQueueRequest) -> Refusal | None:
    violations = Violations()
    if request.namespace:
        namespace(request.namespace, "namespace", violations)
    validate_queue.update(request, violations)
    return violations.refusal()


def _create_schedule(request: schedule_service_pb2.CreateScheduleRequest) -> Refusal | None:
    violations = Violations()
    if not request.HasField("schedule"):
        violations.add("schedule", "is required")
    check_fields(request, _CREATE_SCHEDULE, "", violations)
    return violations.refusal()


def _update_schedule(request: schedule_service_pb2.UpdateScheduleRequest) -> Refusal | None:
    violations = Violations()
    if request.namespace:
        namespace(request.namespace, "namespace", violations)
    validate_schedule.update(request, violations)
    return violations.refusal()


def _preview_schedule(request: schedule_service_pb2.PreviewScheduleRequest) -> Refusal | None:
    violations = Violations()
    validate_schedule.preview(request, violations)
    return violations.refusal()


_SUBMIT_JOB: Rules = {
    "namespace": namespace,
    "request_id": request_id,
    "spec": validate_job.spec,
    "validate_only": anything,
}
_WATCH_JOB: Rules = _JOB | {
    "unique_key": message_of(_WATCHED_KEY),
    "cursor": _token,
    "deltas": anything,
    "no_follow": anything,
    "without_output": anything,
    "last": between(0, limits.TAIL_COUNT_MAX),
    "start_time": timestamp,
    "attempt": at_least_zero,
    "outputs": each(enum(job_service_pb2.OutputKind), len(job_service_pb2.OutputKind.keys())),
    "max_bytes_per_second": at_least_zero,
}
_ARTIFACT: Rules = _JOB | {"name": text(limits.ARTIFACT_NAME_CHARACTERS_MAX), "offset": at_least_zero}
_CREATE_QUEUE: Rules = {"namespace": namespace, "queue": validate_queue.created_queue}
_QUEUE: Rules = {"namespace": namespace, "name": queue_name}
_CREATE_SCHEDULE: Rules = {"namespace": namespace, "schedule": validate_schedule.created_schedule}
_SCHEDULE: Rules = {"namespace": namespace, "name": queue_name}
_PAGE: Rules = {"page_size": at_least_zero, "page_token": _token}
_LIST_JOBS: Rules = _PAGE | {"namespace": namespace, "filter": check_filter, "view": _view}
_WORKER: Rules = {"worker_id": worker_id}
_AUDIT: Rules = _PAGE | {
    "namespace": namespace,
    "resource_type": validate_queue.resource_type,
    "resource_name": text(limits.KEY_CHARACTERS_MAX),
}

CHECKS: Mapping[str, Check] = {
    message.DESCRIPTOR.full_name: check
    for message, check in (
        (job_service_pb2.SubmitJobRequest, _submit_job),
        (job_service_pb2.SubmitJobsRequest, _submit_jobs),
        (job_service_pb2.GetJobRequest, request_of(_JOB | {"view": _view}, "job_id")),
        (job_service_pb2.ListJobsRequest, request_of(_LIST_JOBS)),
        (job_service_pb2.CancelJobRequest, request_of(_JOB | {"reason": _reason}, "job_id")),
        (job_service_pb2.UpdateJobRequest, check_update),
        (job_service_pb2.CancelJobsRequest, check_cancel_jobs),
        (job_service_pb2.RetryJobRequest, request_of(_JOB | {"request_id": request_id}, "job_id")),
        (job_service_pb2.DeleteJobRequest, request_of(_JOB | {"etag": _token}, "job_id")),
        (job_service_pb2.ExplainJobRequest, request_of(_JOB, "job_id")),
        (job_service_pb2.WatchJobRequest, _watch_job),
        (job_service_pb2.ReadArtifactRequest, request_of(_ARTIFACT, "job_id", "name")),
        (queue_service_pb2.CreateQueueRequest, _create_queue),
        (queue_service_pb2.GetQueueRequest, request_of(_QUEUE)),
        (queue_service_pb2.ListQueuesRequest, request_of(_PAGE | {"namespace": namespace})),
        (queue_service_pb2.UpdateQueueRequest, _update_queue),
        (queue_service_pb2.DeleteQueueRequest, request_of(_QUEUE | {"etag": _token}, "name")),
        (
            queue_service_pb2.PauseQueueRequest,
            request_of(_QUEUE | {"reason": _reason, "duration": duration_above_zero}),
        ),
        (queue_service_pb2.ResumeQueueRequest, request_of(_QUEUE)),
        (queue_service_pb2.DrainQueueRequest, request_of(_QUEUE | {"reason": _reason, "grace": duration})),
        (
            queue_service_pb2.PurgeQueueRequest,
            request_of(_QUEUE | {"reason": _reason, "validate_only": anything}, "name"),
        ),
        (queue_service_pb2.GetQueueStatisticsRequest, request_of(_QUEUE | {"window": validate_queue.window})),
        (schedule_service_pb2.CreateScheduleRequest, _create_schedule),
        (schedule_service_pb2.GetScheduleRequest, request_of(_SCHEDULE, "name")),
        (schedule_service_pb2.ListSchedulesRequest, request_of(_PAGE | {"namespace": namespace})),
        (schedule_service_pb2.UpdateScheduleRequest, _update_schedule),
        (schedule_service_pb2.DeleteScheduleRequest, request_of(_SCHEDULE | {"etag": _token}, "name")),
        (schedule_service_pb2.PauseScheduleRequest, request_of(_SCHEDULE | {"reason": _reason}, "name")),
        (schedule_service_pb2.ResumeScheduleRequest, request_of(_SCHEDULE, "name")),
        (schedule_service_pb2.TriggerScheduleRequest, request_of(_SCHEDULE | {"request_id": request_id}, "name")),
        (schedule_service_pb2.PreviewScheduleRequest, _preview_schedule),
        (worker_service_pb2.ListWorkersRequest, request_of(_PAGE)),
        (worker_service_pb2.GetWorkerRequest, request_of(_WORKER, "worker_id")),
        (admin_service_pb2.ListAuditEntriesRequest, request_of(_AUDIT)),
        (admin_service_pb2.GetSettingsRequest, request_of({"namespace": namespace})),
        (admin_service_pb2.UpdateSettingsRequest, check_update_settings),
        (admin_service_pb2.GetResponseCacheRequest, request_of({"namespace": namespace})),
        (admin_service_pb2.InvalidateResponseCacheRequest, request_of({"namespace": namespace, "reason": _reason})),
        (admin_service_pb2.ListCapacityDomainsRequest, request_of(validate_capacity.LIST_DOMAINS)),
        (admin_service_pb2.UpdateCapacityDomainRequest, validate_capacity.check_update_domain),
        (admin_service_pb2.SetBudgetRequest, validate_capacity.check_set_budget),
        (admin_service_pb2.ListBudgetsRequest, request_of(validate_capacity.LIST_BUDGETS)),
        (admin_service_pb2.DeleteBudgetRequest, request_of(validate_capacity.DELETE_BUDGET, "period")),
        (admin_service_pb2.WatchHealthRequest, request_of({"interval": health_interval})),
        (worker_service_pb2.DrainWorkerRequest, check_drain),
        (event_service_pb2.ListEventsRequest, check_list),
        (event_service_pb2.WatchEventsRequest, check_watch),
        (session_service_pb2.CreateSessionRequest, validate_session.check_create),
        (session_service_pb2.GetSessionRequest, validate_session.check_get),
        (session_service_pb2.ListSessionsRequest, validate_session.check_list),
        (session_service_pb2.UpdateSessionRequest, validate_session.check_update),
        (session_service_pb2.SendMessageRequest, validate_session.check_send),
        (session_service_pb2.AnswerRequestRequest, check_answer),
        (session_service_pb2.InterruptSessionRequest, validate_session.check_interrupt),
        (session_service_pb2.ForkSessionRequest, validate_session.check_fork),
        (session_service_pb2.CloseSessionRequest, validate_session.check_close),
    )
}
"""By full name of the request message. Requests of rpcs that are not served yet have none: they are refused anyway."""
