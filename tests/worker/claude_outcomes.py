"""What came of an attempt at a Claude task, as tests look at it."""

from typing import Any

from headrace.v1 import outcome_pb2
from headrace_worker.executors.contract import Failed, Outcome, Succeeded
from worker.session_running import kinds


def result_of(outcome: Outcome) -> outcome_pb2.ClaudeResult:
    """The result of an attempt that has to succeed."""
    assert isinstance(outcome, Succeeded), outcome
    return outcome.result.claude


def failure_of(outcome: Outcome) -> tuple[str, str]:
    """The class and the sign of an attempt that has to fail."""
    assert isinstance(outcome, Failed), outcome
    name = outcome_pb2.FailureClass.Name(outcome.failure.failure_class).removeprefix("FAILURE_CLASS_")
    return name, outcome.failure.sign


async def until_kind(attempt: Any, kind: str) -> None:
    """Waits for the first frame of a kind."""
    await attempt.wait_output(lambda a: kind in kinds(a))
