"""The rules of requests that change jobs: UpdateJob and CancelJobs."""

from typing import Any

from headrace.v1 import job_service_pb2
from headrace_server.core import limits
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks.update_masks import SpecFields
from headrace_server.rpc.checks.validate_job import SPEC
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    anything,
    bytes_within,
    check_fields,
    job_id,
    namespace,
    text,
)
from headrace_server.rpc.filters import check_filter, parse_filter
from headrace_server.store.jobs.updates import UPDATABLE

TOKEN_BYTES_MAX = 1024
_token = bytes_within(TOKEN_BYTES_MAX)
_fields = SpecFields(UPDATABLE)
UPDATE_JOB: Rules = {
    "namespace": namespace,
    "job_id": job_id,
    "spec": anything,
    "update_mask": _fields.check_mask,
    "etag": _token,
}
CANCEL_JOBS: Rules = {
    "namespace": namespace,
    "filter": check_filter,
    "reason": text(limits.REASON_CHARACTERS_MAX),
    "validate_only": anything,
    "page_token": _token,
}


def check_update(request: job_service_pb2.UpdateJobRequest) -> Refusal | None:
    """A mask, and values of the fields that it names; other fields of the spec are not looked at."""
    violations = Violations()
    if not request.job_id:
        violations.add("job_id", "is required")
    check_fields(request, UPDATE_JOB, "", violations)
    _fields.check_not_empty(request.update_mask, violations)
    _fields.check_named(request.spec, SPEC, request.update_mask, violations)
    return violations.refusal()


def check_cancel_jobs(request: job_service_pb2.CancelJobsRequest) -> Refusal | None:
    """A filter that narrows something: nobody cancels everything by leaving a field out."""
    violations = Violations()
    check_fields(request, CANCEL_JOBS, "", violations)
    if not request.filter.strip() or (not violations.found and not _narrows(request.filter)):
        violations.add("filter", "is required: it has to have at least one term")
    return violations.refusal()


def _narrows(filter_text: str) -> bool:
    wanted: Any = parse_filter(filter_text)
    terms = (wanted.states, wanted.queues, wanted.owners, wanted.worker_ids, wanted.session_ids, wanted.labels)
    return any(terms)
