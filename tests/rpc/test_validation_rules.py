"""Every field of every request has a rule, and no bytes make a check raise."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from headrace.v1 import (
    admin_service_pb2,
    event_service_pb2,
    input_pb2,
    job_pb2,
    job_service_pb2,
    queue_pb2,
    queue_service_pb2,
    schedule_pb2,
    schedule_service_pb2,
    session_pb2,
    session_service_pb2,
    settings_pb2,
    task_pb2,
    worker_pb2,
    worker_service_pb2,
)
from headrace_server.core.refusal import Reason
from headrace_server.rpc.checks import (
    validate_answer,
    validate_job,
    validate_queue,
    validate_schedule,
    validate_session,
    validate_settings,
    validate_task,
    validate_worker,
)
from headrace_server.rpc.checks.validation import CHECKS

REQUESTS = {
    message.DESCRIPTOR.full_name: message
    for module in (
        admin_service_pb2,
        event_service_pb2,
        job_service_pb2,
        queue_service_pb2,
        schedule_service_pb2,
        session_service_pb2,
        worker_service_pb2,
    )
    for message in vars(module).values()
    if isinstance(message, type) and issubclass(message, Message)
}


def filled(descriptor: Any, depth: int = 0) -> Any:
    """A message with every field set (of a oneof, the last), down to a depth."""
    message = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if field.message_type is None:
            value: Any = (
                b"x" if field.type == field.TYPE_BYTES else "x" if field.cpp_type == field.CPPTYPE_STRING else 1
            )
            getattr(message, field.name).append(value) if field.is_repeated else setattr(message, field.name, value)
        elif field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is None:
                is_text = field.message_type.fields_by_name["value"].cpp_type == field.CPPTYPE_STRING
                getattr(message, field.name)["x"] = "x" if is_text else 1
        elif depth < 4 and field.message_type.file.package == "headrace.v1":
            inner = filled(field.message_type, depth + 1)
            target = getattr(message, field.name)
            target.append(inner) if field.is_repeated else target.CopyFrom(inner)
        elif not field.is_repeated:
            getattr(message, field.name).SetInParent()
    return message


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (validate_job.SPEC, job_pb2.JobSpec),
        (validate_job.RETRY_POLICY, job_pb2.RetryPolicy),
        (validate_job.TIMEOUTS, job_pb2.Timeouts),
        (validate_job.RESOURCES, job_pb2.Resources),
        (validate_job.PLACEMENT, job_pb2.Placement),
        (validate_job.DEPENDENCY, job_pb2.Dependency),
        (validate_job.UNIQUE_KEY, job_pb2.UniqueKey),
        (validate_job.ITEM, job_service_pb2.SubmitJobsItem),
        (validate_task.CLAUDE, task_pb2.ClaudeTask),
        (validate_task.CLAUDE_LIMITS, task_pb2.ClaudeLimits),
        (validate_task.COMMAND, task_pb2.CommandTask),
        (validate_task.HANDLER, task_pb2.HandlerTask),
        (validate_task.WORKSPACE, task_pb2.Workspace),
        (validate_task.GIT_WORKTREE, task_pb2.GitWorktree),
        (validate_queue.QUEUE, queue_pb2.Queue),
        (validate_queue.RATE_LIMIT, queue_pb2.RateLimit),
        (validate_queue.FAIRNESS, queue_pb2.Fairness),
        (validate_schedule.SCHEDULE, schedule_pb2.Schedule),
        (validate_schedule.CATCH_UP, schedule_pb2.CatchUp),
        (validate_schedule.PREVIEW, schedule_service_pb2.PreviewScheduleRequest),
        (validate_session.SESSION_SPEC, session_pb2.SessionSpec),
        (validate_session.TASK, task_pb2.ClaudeTask),
        (validate_session.CREATE, session_service_pb2.CreateSessionRequest),
        (validate_session.LIST, session_service_pb2.ListSessionsRequest),
        (validate_session.UPDATE, session_service_pb2.UpdateSessionRequest),
        (validate_session.SEND, session_service_pb2.SendMessageRequest),
        (validate_session.INTERRUPT, session_service_pb2.InterruptSessionRequest),
        (validate_session.FORK, session_service_pb2.ForkSessionRequest),
        (validate_session.CLOSE, session_service_pb2.CloseSessionRequest),
        (validate_settings.SETTINGS, settings_pb2.NamespaceSettings),
        (validate_settings.SESSIONS, settings_pb2.SessionLimits),
        (validate_settings.DEFAULTS, settings_pb2.ClaudeDefaults),
        (validate_worker.HELD_SESSION, worker_service_pb2.HeldSession),
        (validate_worker.SESSION_PROCESS, session_pb2.SessionProcess),
        (validate_answer.ANSWER, input_pb2.InputAnswer),
        (validate_answer.ANSWER_REQUEST, session_service_pb2.AnswerRequestRequest),
        (validate_worker.HELLO, worker_service_pb2.WorkerHello),
        (validate_worker.RENEWAL, worker_service_pb2.WorkerRenewal),
        (validate_worker.HELD_LEASE, worker_service_pb2.HeldLease),
        (validate_worker.LEASE, worker_pb2.Lease),
        (validate_worker.OPEN, worker_service_pb2.StreamOutputOpen),
        (validate_worker.CAPABILITIES, worker_pb2.WorkerCapabilities),
        (validate_worker.HOST_RESOURCES, worker_pb2.HostResources),
    ],
)
def test_every_field_of_a_message_has_a_rule(rules: dict[str, Any], message: type[Message]) -> None:
    assert set(rules) == set(message.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("full_name", sorted(CHECKS))
def test_a_request_with_every_field_set_is_checked_without_a_missing_rule(full_name: str) -> None:
    request = filled(REQUESTS[full_name].DESCRIPTOR)
    refusal = CHECKS[full_name](request)
    assert refusal is None or refusal.reason is Reason.INVALID_FIELD


@given(full_name=st.sampled_from(sorted(CHECKS)), raw=st.binary(max_size=400))
def test_no_bytes_make_a_check_raise(full_name: str, raw: bytes) -> None:
    try:
        request = REQUESTS[full_name].FromString(raw)
    except DecodeError:
        return
    refusal = CHECKS[full_name](request)
    assert refusal is None or refusal.reason is Reason.INVALID_FIELD
