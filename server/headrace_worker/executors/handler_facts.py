"""What a handler can learn about its job: identity, labels, the attempts before, and what its dependencies produced.

Everything is read from the assignment when it is asked for: a handler that asks for nothing costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from headrace.v1 import job_pb2, outcome_pb2, worker_pb2
from headrace_worker.executors.values import to_dict, to_python


@dataclass(frozen=True, slots=True)
class DependencyOutcome:
    """How a job ended that this one depends on."""

    job_id: str
    state: job_pb2.JobState
    value: Any
    """What it produced: a handler's value, the final text of a Claude turn (its structured output, when it has one), a
    command's exit code. None when it did not succeed, or was cut."""
    cut: bool
    """True when its result was left out because all of them together passed 1 MiB; the job itself has it."""
    result: outcome_pb2.Result
    """All of it."""

    @property
    def succeeded(self) -> bool:
        """Whether it did."""
        return self.state == job_pb2.JOB_STATE_SUCCEEDED


class JobFacts:
    """The job of an attempt, as its handler sees it."""

    def __init__(self, assignment: worker_pb2.Assignment) -> None:
        self._assignment = assignment

    @property
    def job_id(self) -> str:
        return self._assignment.lease.job_id

    @property
    def attempt_number(self) -> int:
        """1 for the first attempt of the job."""
        return self._assignment.lease.attempt

    @property
    def namespace(self) -> str:
        return self._assignment.namespace

    @property
    def queue(self) -> str:
        return self._assignment.spec.queue

    @property
    def owner(self) -> str:
        return self._assignment.spec.owner

    @property
    def display_name(self) -> str:
        return self._assignment.spec.display_name

    @property
    def labels(self) -> dict[str, str]:
        """The job's labels."""
        return dict(self._assignment.spec.labels)

    @property
    def traceparent(self) -> str:
        """Trace context of the submit, W3C `traceparent`; empty when there is none."""
        return self._assignment.traceparent

    @property
    def previous_failure(self) -> outcome_pb2.Failure | None:
        """Why the attempt before failed, when there was one."""
        return self._assignment.previous_failure if self._assignment.HasField("previous_failure") else None

    @cached_property
    def last_checkpoint(self) -> Any:
        """The latest checkpoint of the attempts before, or None. This attempt's own are not in it."""
        return to_python(self._assignment.checkpoint) if self._assignment.HasField("checkpoint") else None

    @cached_property
    def dependencies(self) -> Mapping[str, DependencyOutcome]:
        """The jobs that this one depends on, by job id, in the order of its spec."""
        return {result.job_id: outcome_of(result) for result in self._assignment.dependency_results}


def outcome_of(result: worker_pb2.DependencyResult) -> DependencyOutcome:
    """One of them."""
    return DependencyOutcome(result.job_id, result.state, value_of(result.result), result.cut, result.result)


def value_of(result: outcome_pb2.Result) -> Any:
    """What a job produced, as plain Python."""
    match result.WhichOneof("kind"):
        case "handler":
            return to_python(result.handler.value)
        case "claude" if result.claude.HasField("structured_output"):
            return to_dict(result.claude.structured_output)
        case "claude":
            return result.claude.text
        case "command":
            return result.command.exit_code
    return None
