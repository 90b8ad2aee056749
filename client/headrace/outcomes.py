"""How a job ended, for Python: the outcome of one that succeeded, the exception of one that did not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format

from headrace import errors
from headrace.v1 import job_pb2, outcome_pb2, watch_pb2

TERMINAL_STATES = frozenset(
    {
        job_pb2.JOB_STATE_SUCCEEDED,
        job_pb2.JOB_STATE_FAILED,
        job_pb2.JOB_STATE_CANCELLED,
        job_pb2.JOB_STATE_EXPIRED,
        job_pb2.JOB_STATE_SKIPPED,
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A job that succeeded. What its kind of task doesn't have is empty or None."""

    job: job_pb2.Job

    @property
    def result(self) -> outcome_pb2.Result:
        return self.job.result

    @property
    def text(self) -> str:
        """The final text of a Claude turn."""
        return self.result.claude.text

    @property
    def structured_output(self) -> dict[str, Any] | None:
        """The answer that satisfies the task's output schema."""
        claude = self.result.claude
        return json_format.MessageToDict(claude.structured_output) if claude.HasField("structured_output") else None

    @property
    def claude_session_id(self) -> str:
        """The CLI's own id of the conversation."""
        return self.result.claude.claude_session_id or self.job.claude_session_id

    @property
    def exit_code(self) -> int | None:
        """Exit status of a command."""
        return self.result.command.exit_code if self.result.HasField("command") else None

    @property
    def value(self) -> Any:
        """What a handler returned: any JSON value."""
        return json_format.MessageToDict(self.result.handler.value) if self.result.HasField("handler") else None

    @property
    def usage(self) -> outcome_pb2.Usage:
        return self.job.usage

    @property
    def cost_usd(self) -> float:
        return self.job.usage.cost_usd_micros / 1_000_000

    @property
    def simulated(self) -> bool:
        """True when the simulated CLI had a part in it."""
        return self.job.simulated


def failure_line(failure: outcome_pb2.Failure) -> str:
    """A failure in one line: class, message, sign."""
    reason = failure_reason(failure)
    return f"{class_name(failure)}: {reason}" if failure.message else f"{class_name(failure)}{reason and f' {reason}'}"


def failure_reason(failure: outcome_pb2.Failure) -> str:
    """A failure without its class: message, and the sign that the message does not name."""
    sign = f"({failure.sign})" if failure.sign and failure.sign not in failure.message else ""
    return " ".join(filter(None, [failure.message, sign]))


def class_name(failure: outcome_pb2.Failure) -> str:
    """`CRASH` of FAILURE_CLASS_CRASH; a class that this version does not know by its number."""
    if failure.failure_class not in outcome_pb2.FailureClass.values():
        return f"class {int(failure.failure_class)}"
    return outcome_pb2.FailureClass.Name(failure.failure_class).removeprefix("FAILURE_CLASS_")


def outcome_of(job: job_pb2.Job) -> Outcome:
    """The outcome of a job that has ended. Raises JobFailed, JobCancelled, JobExpired or JobSkipped."""
    match job.state:
        case job_pb2.JOB_STATE_SUCCEEDED:
            return Outcome(job)
        case job_pb2.JOB_STATE_FAILED:
            raise errors.JobFailed(job, f"job {job.id} failed: {failure_line(job.failure)}")
        case job_pb2.JOB_STATE_CANCELLED:
            reason = job.cancellation.reason or "no reason given"
            raise errors.JobCancelled(job, f"job {job.id} was cancelled: {reason}")
        case job_pb2.JOB_STATE_EXPIRED:
            raise errors.JobExpired(job, f"job {job.id} was not started in time: {failure_line(job.failure)}")
        case job_pb2.JOB_STATE_SKIPPED:
            raise errors.JobSkipped(job, f"job {job.id} was skipped: {failure_line(job.failure)}")
    raise AssertionError(f"job {job.id} has not ended: {job_pb2.JobState.Name(job.state)}")


def outcome_of_end(end: watch_pb2.WatchEnd) -> Outcome:
    """The outcome that the end of a follow stream tells."""
    match end.reason:
        case watch_pb2.END_REASON_JOB_DELETED:
            raise errors.JobDeleted(end.job, "the job was deleted")
        case watch_pb2.END_REASON_PERMISSION_REVOKED:
            raise errors.PermissionDenied(
                errors.Refused(grpc.StatusCode.PERMISSION_DENIED, "the right to see the job was revoked")
            )
    return outcome_of(end.job)
