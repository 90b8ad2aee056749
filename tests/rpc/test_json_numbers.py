"""A job's input is JSON: what JSON has no number for is refused, since nobody could show such a job as JSON."""

import math
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from headrace.v1 import job_pb2, job_service_pb2, task_pb2
from headrace_server.rpc.checks.json_numbers import holds_no_json_number
from headrace_server.rpc.checks.validation import CHECKS

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


def struct(value: Any) -> Struct:
    made = Struct()
    made.update({"value": value})
    return made


def is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(is_json(one) for one in value.values())
    if isinstance(value, list):
        return all(is_json(one) for one in value)
    return not isinstance(value, float) or math.isfinite(value)


@given(VALUES)
def test_a_number_that_json_does_not_have_is_found_anywhere(value: Any) -> None:
    assert holds_no_json_number(struct(value)) is not is_json(value)


def test_what_only_looks_like_one_is_none() -> None:
    looks_like_one = [
        *([1.0] * 3),
        "\x11",
        2.0,
        math.nextafter(2.0, 0.0),
        math.nextafter(1.0, 0.0),
        1.7976931348623157e308,
    ]
    assert not holds_no_json_number(struct(looks_like_one))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["handler.input", "claude.output_schema"])
def test_s6_a_job_with_a_number_that_json_does_not_have_is_refused(number: float, field: str) -> None:
    spec = job_pb2.JobSpec(handler=task_pb2.HandlerTask(name="add", input=struct([{"a": number}])))
    if field == "claude.output_schema":
        spec = job_pb2.JobSpec(claude=task_pb2.ClaudeTask(prompt="Say hello", output_schema=struct(number)))
    refusal = CHECKS["headrace.v1.SubmitJobRequest"](job_service_pb2.SubmitJobRequest(spec=spec))
    assert refusal is not None
    assert refusal.message == f"spec.{field} holds NaN or an infinite number, which JSON does not have"
