"""What `job explain` says, of jobs that wait and of those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.v1 import job_pb2, job_service_pb2

JOB_ID = "0199b3a0-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("state", "spec", "said"),
    [
        ("RUNNING", {}, "It waits for nothing: attempt 2 runs on w1 since "),
        ("SUCCEEDED", {}, "It has ended, and waits for nothing."),
        ("CANCELLING", {"handler": {"name": "h"}}, "can't be ended from outside: the job ends when it returns"),
        (
            "CANCELLING",
            {"command": {"program": "sleep"}, "timeouts": {"cancel_grace": {"seconds": 90}}},
            "It was asked to stop; past its grace of 1 min 30 s all its processes get SIGTERM",
        ),
    ],
)
def test_explain_says_where_a_job_is_that_waits_for_nothing(
    headrace_command: Any, answers: Any, state: str, spec: Any, said: str
) -> None:
    is_in = f"JOB_STATE_{state}"
    job = job_pb2.Job(id=JOB_ID, state=is_in, spec=spec, worker_id="w1", attempts=[{"number": 1}, {"number": 2}])
    job.attempts[-1].start_time.seconds = job.cancellation.time.seconds = 1_700_000_000
    answers.by_rpc["ExplainJob"] = job_service_pb2.ExplainJobResponse(state=is_in)
    answers.by_rpc["GetJob"] = job_service_pb2.GetJobResponse(job=job)
    first, second = headrace_command("job", "explain", JOB_ID).stdout.splitlines()
    assert (first, said in second) == (state, True), second
    if state == "CANCELLING":
        assert second.startswith("It is being cancelled on w1 since ")


def test_explain_lists_reasons_in_order(headrace_command: Any, answers: Any) -> None:
    reasons = [
        job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_QUEUE_PAUSED, message="queue q is paused"),
        job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_NO_WORKER),
    ]
    answers.by_rpc["ExplainJob"] = job_service_pb2.ExplainJobResponse(
        state=job_pb2.JOB_STATE_QUEUED, wait_reasons=reasons, queue_position=4
    )
    assert headrace_command("job", "explain", JOB_ID).stdout.splitlines() == [
        "QUEUED",
        "1. queue q is paused",
        "2. no worker",
        "position 4 in its queue",
    ]
