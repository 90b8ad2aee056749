"""Enums of the core share their numbers with the contract's, so that no table has to be kept between them."""

from enum import IntEnum

import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from headrace.v1 import (
    admin_service_pb2,
    error_pb2,
    event_pb2,
    input_pb2,
    job_pb2,
    outcome_pb2,
    task_pb2,
    worker_service_pb2,
)
from headrace_server.core.alerts import Severity
from headrace_server.core.facts import QueuedCause, ReleaseCause
from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.job import InputResolution
from headrace_server.core.refusal import Reason
from headrace_server.core.retry import ResumePolicy, RetryAction
from headrace_server.core.states import JobState
from headrace_server.core.wanted import StopCause, WantedEnd
from headrace_server.store.attempts.leases import Disposition


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (JobState, job_pb2.JobState, "JOB_STATE_"),
        (FailureClass, outcome_pb2.FailureClass, "FAILURE_CLASS_"),
        (RetryAction, job_pb2.RetryAction, "RETRY_ACTION_"),
        (QueuedCause, event_pb2.QueuedCause, "QUEUED_CAUSE_"),
        (ReleaseCause, event_pb2.ReleaseCause, "RELEASE_CAUSE_"),
        (Disposition, worker_service_pb2.FinishDisposition, "FINISH_DISPOSITION_"),
        (InputResolution, input_pb2.InputResolution, "INPUT_RESOLUTION_"),
        (ResumePolicy, task_pb2.ResumePolicy, "RESUME_POLICY_"),
        (Severity, admin_service_pb2.AlertSeverity, "ALERT_SEVERITY_"),
    ],
)
def test_numbers_are_those_of_the_contract(ours: type[IntEnum], theirs: EnumTypeWrapper, prefix: str) -> None:
    stated = {f"{prefix}{member.name}": int(member) for member in ours}
    contract = {name: number for name, number in theirs.items() if number or number in stated.values()}
    assert stated == contract


def test_every_reason_is_an_error_reason_of_the_contract() -> None:
    names = {f"ERROR_REASON_{reason.name}" for reason in Reason}
    assert names - set(error_pb2.ErrorReason.keys()) == set()


@pytest.mark.parametrize(
    ("ours", "theirs", "prefix"),
    [
        (TimeoutKind, outcome_pb2.TimeoutKind, "TIMEOUT_KIND_"),
        (WantedEnd, worker_service_pb2.WantedState, "WANTED_STATE_"),
        (StopCause, worker_service_pb2.StopCause, "STOP_CAUSE_"),
    ],
)
def test_numbers_of_a_part_of_an_enum_are_those_of_the_contract(
    ours: type[IntEnum], theirs: EnumTypeWrapper, prefix: str
) -> None:
    assert {f"{prefix}{member.name}": int(member) for member in ours}.items() <= dict(theirs.items()).items()
