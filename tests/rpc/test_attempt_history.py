"""Attempts as their job's log tells them: how each ended, and what came too late."""

import pytest

from headrace.v1 import event_pb2, job_pb2, outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_server.rpc.messages.job_message import attempts_of


def event(epoch: int, **kind: object) -> event_pb2.Event:
    return event_pb2.Event(attempt=epoch, epoch=epoch, **kind)  # type: ignore[arg-type]  # one of many kinds


TIMED_OUT = outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_TIMEOUT, timeout=outcome_pb2.TIMEOUT_KIND_RUN)


def test_c3_r5_the_history_tells_timeouts_and_snoozes() -> None:
    log = [
        event(1, attempt_assigned={"worker_id": "w"}),
        event(1, attempt_started={}),
        event(1, attempt_timed_out={"timeout": outcome_pb2.TIMEOUT_KIND_RUN}),
        event(1, attempt_failed={"failure": TIMED_OUT}),
        event(2, attempt_assigned={"worker_id": "w"}),
        event(2, attempt_started={}),
        event(2, attempt_snoozed={"reason": "later", "usage": {"turns": 2}}),
    ]
    second, first = attempts_of(log, [])
    assert (first.outcome, first.failure) == (job_pb2.ATTEMPT_OUTCOME_FAILED, TIMED_OUT)
    assert (second.outcome, second.usage.turns) == (job_pb2.ATTEMPT_OUTCOME_SNOOZED, 2)


@pytest.mark.parametrize(
    ("finish", "outcome"),
    [
        ({"succeeded": {}}, job_pb2.ATTEMPT_OUTCOME_SUCCEEDED),
        ({"failed": {"message": "no"}}, job_pb2.ATTEMPT_OUTCOME_FAILED),
        ({"cancelled": {}}, job_pb2.ATTEMPT_OUTCOME_CANCELLED),
        ({"returned": {}}, job_pb2.ATTEMPT_OUTCOME_HANDED_BACK),
        ({"snoozed": {"reason": "later"}}, job_pb2.ATTEMPT_OUTCOME_SNOOZED),
    ],
)
def test_l2_a_late_word_is_told_as_what_it_was(finish: dict[str, object], outcome: job_pb2.AttemptOutcome) -> None:
    late = pb.AttemptFinish(**finish).SerializeToString()  # type: ignore[arg-type]  # one of its outcomes
    (attempt,) = attempts_of([event(1, attempt_assigned={"worker_id": "w"})], [(1, 5_000_000, late)])
    assert attempt.late_result.outcome == outcome
    assert attempt.late_result.time.seconds == 5
