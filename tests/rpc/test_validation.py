"""What is wrong with a request is said, all of it, before anything happens."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.v1 import (
    job_pb2,
    job_service_pb2,
    queue_service_pb2,
    task_pb2,
    worker_service_pb2,
)
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.rpc.checks import validate_worker, validation
from headrace_server.rpc.checks.validation import CHECKS, check_item

JOB_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
HANDLER = task_pb2.HandlerTask(name="echo")


def check(request: Any) -> Refusal | None:
    return CHECKS[request.DESCRIPTOR.full_name](request)


def submit(**fields: Any) -> job_service_pb2.SubmitJobRequest:
    task: dict[str, Any] = {} if {"claude", "command", "handler"} & set(fields) else {"handler": HANDLER}
    return job_service_pb2.SubmitJobRequest(spec=job_pb2.JobSpec(**task, **fields))


def bad_fields(request: Any) -> dict[str, str]:
    refusal = check(request)
    assert refusal is not None
    assert refusal.reason is Reason.INVALID_FIELD
    return {violation.field: violation.description for violation in refusal.violations}


def test_a_plain_job_is_accepted() -> None:
    assert check(submit(queue="mail", labels={"team": "search"}, priority=-100)) is None


@pytest.mark.parametrize(
    ("fields", "field", "part"),
    [
        ({"queue": "Mail"}, "spec.queue", "1 to 63 characters"),
        ({"queue": "a" * 64}, "spec.queue", "1 to 63 characters"),
        ({"owner": "a\nb"}, "spec.owner", "control character"),
        ({"owner": "a" * 257}, "spec.owner", "has 257 characters; at most 256"),
        ({"display_name": "a" * 257}, "spec.display_name", "at most 256"),
        ({"labels": {"Team": "x"}}, 'spec.labels["Team"]', "1 to 63 characters"),
        ({"labels": {"a": "x" * 257}}, 'spec.labels["a"]', "at most 256"),
        ({"labels": {str(index): "" for index in range(33)}}, "spec.labels", "has 33 entries; at most 32"),
        ({"priority": 101}, "spec.priority", "is 101; it has to be from -100 to 100"),
        ({"schedule_time": {"seconds": -1}}, "spec.schedule_time", "1970"),
        ({"schedule_time": {"nanos": -1}}, "spec.schedule_time", "1970"),
        ({"retry_policy": {"max_attempts": 101}}, "spec.retry_policy.max_attempts", "from 0 to 100"),
        ({"retry_policy": {"backoff_multiplier": 0.5}}, "spec.retry_policy.backoff_multiplier", "from 1.0 to 10.0"),
        ({"retry_policy": {"backoff_multiplier": float("nan")}}, "spec.retry_policy.backoff_multiplier", "is nan"),
        (
            {"retry_policy": {"initial_backoff": {"seconds": 9}, "max_backoff": {"seconds": 8}}},
            "spec.retry_policy.max_backoff",
            "shorter than initial_backoff",
        ),
        ({"timeouts": {"cancel_grace": {"seconds": -1}}}, "spec.timeouts.cancel_grace", "from 0 to"),
        ({"dependency_condition": 99}, "spec.dependency_condition", "is 99, which this server does not know"),
        ({"dependencies": [{"job_id": "x"}]}, "spec.dependencies[0].job_id", "UUID"),
        ({"dependencies": [{}]}, "spec.dependencies[0]", "names no job"),
        ({"dependencies": [{"ref": "a"}] * 101}, "spec.dependencies", "has 101 items; at most 100"),
        ({"unique_key": {}}, "spec.unique_key.key", "is required"),
        ({"placement": {"required_labels": {"A": ""}}}, 'spec.placement.required_labels["A"]', "1 to 63"),
        ({"placement": {"resources": {"slots": -1}}}, "spec.placement.resources.slots", "negative"),
        ({"output_bytes_max": -1}, "spec.output_bytes_max", "from 0 to 68719476736"),
        ({"output_bytes_max": 64 * 2**30 + 1}, "spec.output_bytes_max", "from 0 to 68719476736"),
        ({"claude": {}}, "spec.claude.prompt", "is required"),
        ({"claude": {"prompt": "é" * 524_289}}, "spec.claude.prompt", "has 1048578 bytes; at most 1048576"),
        ({"claude": {"prompt": "x", "model": "--help"}}, "spec.claude.model", "must not begin with '-'"),
        ({"claude": {"prompt": "x", "allowed_tools": ["Read", ""]}}, "spec.claude.allowed_tools[1]", "empty"),
        ({"claude": {"prompt": "x", "permission_mode": 77}}, "spec.claude.permission_mode", "is 77"),
        ({"claude": {"prompt": "x", "append_system_prompt": "\0"}}, "spec.claude.append_system_prompt", "NUL"),
        ({"claude": {"prompt": "x", "limits": {"max_turns": -1}}}, "spec.claude.limits.max_turns", "negative"),
        (
            {"claude": {"prompt": "x", "workspace": {"folder": "src"}}},
            "spec.claude.workspace.folder",
            "has to be an absolute path",
        ),
        ({"command": {}}, "spec.command.program", "is required"),
        ({"command": {"program": "./a"}}, "spec.command.program", "has to be an absolute path"),
        ({"command": {"program": "/a/../b"}}, "spec.command.program", "'..'"),
        ({"command": {"program": "a", "arguments": ["x"] * 1001}}, "spec.command.arguments", "at most 1000"),
        ({"command": {"program": "a", "arguments": ["x" * 131_073]}}, "spec.command.arguments", "131072"),
        ({"command": {"program": "a", "arguments": ["a", "\0"]}}, "spec.command.arguments[1]", "NUL"),
        ({"command": {"program": "a", "environment": {"1A": ""}}}, 'spec.command.environment["1A"]', "letters"),
        ({"command": {"program": "a", "stdin": b"x" * 1_048_577}}, "spec.command.stdin", "at most 1048576"),
        ({"command": {"program": "a", "workspace": {"folder": ""}}}, "spec.command.workspace.folder", "empty"),
        (
            {"claude": {"prompt": "x", "workspace": {"git_worktree": {"repository": "/r"}, "shared": True}}},
            "spec.claude.workspace.shared",
            "given folder only",
        ),
        (
            {"claude": {"prompt": "x", "workspace": {"shared": True}}},
            "spec.claude.workspace.shared",
            "given folder only",
        ),
        (
            {"command": {"program": "a", "workspace": {"folder": "/w", "shared": True}}},
            "spec.command.workspace.shared",
            "of a command",
        ),
        ({"handler": {}}, "spec.handler.name", "is required"),
        ({"handler": {"name": "a b"}}, "spec.handler.name", "1 to 128 characters"),
    ],
)
def test_s6_a_bad_field_is_named_with_its_limit(fields: dict[str, Any], field: str, part: str) -> None:
    found = bad_fields(submit(**fields))
    assert set(found) == {field}
    assert part in found[field]


def test_all_faults_are_named_at_once() -> None:
    request = submit(queue="NO", priority=1000, claude={"model": "-x"})
    request.namespace = "No"
    request.request_id = "x" * 129
    assert set(bad_fields(request)) == {
        "namespace",
        "request_id",
        "spec.queue",
        "spec.priority",
        "spec.claude.prompt",
        "spec.claude.model",
    }


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (job_service_pb2.SubmitJobRequest(), "spec"),
        (job_service_pb2.SubmitJobRequest(spec={}), "spec.task"),
        (job_service_pb2.SubmitJobsRequest(), "items"),
        (job_service_pb2.SubmitJobsRequest(items=[{}] * 1001), "items"),
        (job_service_pb2.GetJobRequest(), "job_id"),
        (job_service_pb2.GetJobRequest(job_id="nonsense"), "job_id"),
        (job_service_pb2.GetJobRequest(job_id=JOB_ID.upper()), "job_id"),
        (job_service_pb2.GetJobRequest(job_id=JOB_ID, view=9), "view"),  # type: ignore[arg-type]  # unknown on purpose
        (job_service_pb2.ListJobsRequest(page_size=-1), "page_size"),
        (job_service_pb2.ListJobsRequest(filter="nonsense"), "filter"),
        (job_service_pb2.CancelJobRequest(job_id=JOB_ID, reason="x" * 1025), "reason"),
        (job_service_pb2.ExplainJobRequest(job_id="x"), "job_id"),
        (job_service_pb2.WatchJobRequest(), "job_id"),
        (job_service_pb2.WatchJobRequest(job_id=JOB_ID, cursor="x" * 1025), "cursor"),
        (queue_service_pb2.CreateQueueRequest(), "queue"),
        (queue_service_pb2.CreateQueueRequest(queue={"name": "-"}), "queue.name"),
        (queue_service_pb2.CreateQueueRequest(queue={"name": "a", "etag": "x"}), "queue.etag"),
        (queue_service_pb2.CreateQueueRequest(queue={"name": "a", "max_queued": -1}), "queue.max_queued"),
        (queue_service_pb2.CreateQueueRequest(queue={"name": "a", "executors": ["x"]}), "queue.executors[0]"),
        (
            queue_service_pb2.CreateQueueRequest(queue={"name": "a", "rate_limit": {"count": 1}}),
            "queue.rate_limit.period",
        ),
        (queue_service_pb2.GetQueueRequest(name="X"), "name"),
        (queue_service_pb2.ListQueuesRequest(page_size=-5), "page_size"),
        (queue_service_pb2.UpdateQueueRequest(queue={"name": "a"}), "update_mask"),
        (queue_service_pb2.UpdateQueueRequest(queue={"name": "a"}, update_mask={"paths": ["name"]}), "update_mask"),
        (worker_service_pb2.ListWorkersRequest(page_size=-1), "page_size"),
        (worker_service_pb2.GetWorkerRequest(), "worker_id"),
        (worker_service_pb2.DrainWorkerRequest(worker_id="a b"), "worker_id"),
    ],
)
def test_a_bad_request_names_its_field(request_: Any, field: str) -> None:
    assert field in bad_fields(request_)


def test_update_looks_only_at_the_fields_of_the_mask() -> None:
    update = queue_service_pb2.UpdateQueueRequest(
        queue={"name": "a", "max_queued": 5, "max_concurrency": -1, "etag": "x"}, update_mask={"paths": ["max_queued"]}
    )
    assert check(update) is None
    update.update_mask.paths.append("max_concurrency")
    assert "queue.max_concurrency" in bad_fields(update)


def items(*specs: dict[str, Any], atomic: bool) -> job_service_pb2.SubmitJobsRequest:
    return job_service_pb2.SubmitJobsRequest(items=[{"spec": job_pb2.JobSpec(**spec)} for spec in specs], atomic=atomic)


def test_s7_items_of_an_atomic_call_are_all_checked_with_their_numbers() -> None:
    request = items({"handler": HANDLER}, {"handler": HANDLER, "labels": {"X": ""}}, {}, atomic=True)
    refusal = check(request)
    assert refusal is not None
    assert [violation.field for violation in refusal.violations] == ['items[1].spec.labels["X"]', "items[2].spec.task"]
    assert refusal.metadata["item"] == "1"


def test_s7_items_of_a_call_that_is_not_atomic_fail_alone() -> None:
    request = items({"handler": HANDLER}, {}, atomic=False)
    assert check(request) is None
    assert check_item(request.items[0]) is None
    refusal = check_item(request.items[1])
    assert refusal is not None
    assert [violation.field for violation in refusal.violations] == ["spec.task"]


def test_values_that_ask_for_nothing_special_are_honoured() -> None:
    spec = job_pb2.JobSpec(
        placement={"resources": {"slots": 1}, "required_labels": {"gpu": "yes"}},
        timeouts={"run_timeout": {}, "input_timeout": {"seconds": 5}, "cancel_grace": {"seconds": 3}},
        claude={"prompt": "x", "permission_prompts": task_pb2.PERMISSION_PROMPTS_ASK},
    )
    assert check(job_service_pb2.SubmitJobRequest(spec=spec)) is None


CONNECT = worker_service_pb2.ConnectRequest
HELLO = {"worker_id": "w", "incarnation": "i", "protocol_version": 1, "slots": 1}


def test_first_message_of_a_lane_needs_hello_and_renewal() -> None:
    assert validate_worker.check_connect(CONNECT(hello=HELLO, renewal={})) is None
    for request in (CONNECT(), CONNECT(hello=HELLO), CONNECT(hello=HELLO | {"slots": 0}, renewal={})):
        refusal = validate_worker.check_connect(request)
        assert refusal is not None
        assert refusal.reason is Reason.INVALID_FIELD


def test_protocol_that_is_not_spoken_is_refused_first() -> None:
    refusal = validate_worker.check_connect(CONNECT(hello={"protocol_version": 2}))
    assert refusal is not None
    assert refusal.reason is Reason.UNSUPPORTED_PROTOCOL


def test_data_lane_needs_who_it_is() -> None:
    refusal = validate_worker.check_open(worker_service_pb2.StreamOutputRequest(open={"worker_id": "w"}))
    assert refusal is not None
    assert {violation.field for violation in refusal.violations} == {"open.incarnation", "open.connection_id"}


def test_faults_without_end_are_counted_not_kept() -> None:
    request = items(*({} for _ in range(1000)), atomic=True)
    refusal = check(request)
    assert refusal is not None
    assert len(refusal.violations) == 100
    assert refusal.metadata["violations_omitted"] == "900"


numbers = st.integers(-(2**31), 2**31 - 1)
texts = st.text(max_size=70)
durations = st.fixed_dictionaries({"seconds": st.integers(-(2**63), 2**63 - 1), "nanos": numbers})


@given(
    queue=texts,
    labels=st.dictionaries(texts, texts, max_size=40),
    priority=numbers,
    time=durations,
    grace=durations,
    multiplier=st.floats(),
    condition=numbers,
    prompt=texts,
    tools=st.lists(texts, max_size=5),
    folder=texts,
)
def test_no_job_makes_a_check_raise(
    queue: str,
    labels: dict[str, str],
    priority: int,
    time: dict[str, int],
    grace: dict[str, int],
    multiplier: float,
    condition: int,
    prompt: str,
    tools: list[str],
    folder: str,
) -> None:
    spec = job_pb2.JobSpec(
        queue=queue,
        labels=labels,
        priority=priority,
        schedule_time=time,
        timeouts={"cancel_grace": grace},
        retry_policy={"backoff_multiplier": multiplier},
        dependency_condition=condition,  # type: ignore[arg-type]  # unknown on purpose
        claude={"prompt": prompt, "allowed_tools": tools, "workspace": {"folder": folder}},
    )
    refusal = check(job_service_pb2.SubmitJobRequest(spec=spec))
    assert refusal is None or refusal.violations
    assert validation.check_item(job_service_pb2.SubmitJobsItem(spec=spec)) == refusal
