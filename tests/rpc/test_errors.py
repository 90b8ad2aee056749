"""Refusals as statuses and as errors of items."""

import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.v1 import error_pb2
from headrace_server.core.refusal import Reason, Refusal, Violation
from headrace_server.rpc import errors

ERROR_PROTO = Path(__file__).parents[2] / "proto" / "headrace" / "v1" / "error.proto"


def documented_codes() -> dict[str, str]:
    """Reason and status code as the comments of `ErrorReason` state them."""
    pairs = re.findall(r"// ([A-Z_]+): [^\n]*\n  ERROR_REASON_([A-Z_]+) = ", ERROR_PROTO.read_text())
    return {reason: code for code, reason in pairs}


def test_every_reason_has_the_status_that_the_contract_states() -> None:
    documented = documented_codes()
    reasons = {name.removeprefix("ERROR_REASON_") for name in dict(error_pb2.ErrorReason.items())}
    assert set(documented) == reasons - {"UNSPECIFIED"}
    assert {reason: code.name for reason, code in errors.CODES.items()} == documented


def test_every_reason_of_core_is_in_the_contract() -> None:
    assert {reason.value for reason in Reason} <= set(documented_codes())


def test_every_violation_is_there_at_once(unpacked: Any) -> None:
    violations = tuple(Violation(f"spec.field_{index}", "is bad") for index in range(20))
    details = unpacked(errors.refused_status(Refusal(Reason.INVALID_FIELD, "bad", violations=violations)).details)
    fields = [violation.field for violation in details["BadRequest"].field_violations]
    assert fields == [violation.field for violation in violations]
    assert "violations_omitted" not in details["ErrorInfo"].metadata


def test_violations_that_do_not_fit_are_counted(unpacked: Any) -> None:
    violations = tuple(Violation(f"spec.field_{index}", "x" * 200) for index in range(100))
    status = errors.refused_status(Refusal(Reason.INVALID_FIELD, "bad", violations=violations))
    details = unpacked(status.details)
    kept = len(details["BadRequest"].field_violations)
    assert 5 < kept < 100
    assert details["ErrorInfo"].metadata["violations_omitted"] == str(100 - kept)
    assert len(status.details) <= errors.DETAILS_BYTES_MAX


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.QUEUE_FULL, {"ErrorInfo", "QuotaFailure", "RetryInfo", "ResourceInfo"}),
        (Reason.DRAINING, {"ErrorInfo", "RetryInfo", "ResourceInfo"}),
        (Reason.JOB_ENDED, {"ErrorInfo", "PreconditionFailure", "ResourceInfo"}),
        (Reason.UNIQUE_KEY_TAKEN, {"ErrorInfo", "ResourceInfo"}),
    ],
)
def test_details_by_kind_of_refusal(unpacked: Any, reason: Reason, expected: set[str]) -> None:
    refusal = Refusal(reason, "no", resource_type="headrace.v1.Queue", resource_name="mail")
    assert set(unpacked(errors.refused_status(refusal).details)) == expected


def test_retry_info_says_what_the_refusal_says(unpacked: Any) -> None:
    details = unpacked(errors.refused_status(Refusal(Reason.STORE_BUSY, "no", retry_after_seconds=2.5)).details)
    assert details["RetryInfo"].retry_delay.ToMilliseconds() == 2500


def test_internal_status_says_the_id_and_nothing_else(unpacked: Any) -> None:
    status = errors.internal_status("e-1")
    assert status.code is grpc.StatusCode.INTERNAL
    assert dict(unpacked(status.details)["ErrorInfo"].metadata) == {"error_id": "e-1"}


def test_item_error_says_what_the_status_would() -> None:
    refusal = Refusal(
        Reason.QUEUE_FULL,
        "full",
        resource_name="mail",
        retry_after_seconds=1.5,
        violations=(Violation("spec.queue", "is full"),),
        metadata={"scope": "queue"},
    )
    item = errors.to_item_error(refusal)
    assert item.code == 8
    assert item.reason == error_pb2.ERROR_REASON_QUEUE_FULL
    assert (item.message, item.resource_name, dict(item.metadata)) == ("full", "mail", {"scope": "queue"})
    assert item.violations[0].field == "spec.queue"
    assert item.retry_after.ToMilliseconds() == 1500


@given(
    reason=st.sampled_from(Reason),
    message=st.text(max_size=3000),
    name=st.text(max_size=2000),
    violations=st.lists(st.builds(Violation, st.text(max_size=500), st.text(max_size=500)), max_size=60),
    metadata=st.dictionaries(st.text(max_size=300), st.text(max_size=300), max_size=20),
)
def test_details_never_pass_their_limit(
    reason: Reason, message: str, name: str, violations: list[Violation], metadata: dict[str, str]
) -> None:
    refusal = Refusal(reason, message, "headrace.v1.Job", name, None, tuple(violations), metadata)
    status = errors.refused_status(refusal)
    assert len(status.details) <= errors.DETAILS_BYTES_MAX
    assert len(status.message.encode()) <= errors.MESSAGE_BYTES_MAX
