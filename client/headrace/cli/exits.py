"""Exit statuses of the command, and an error as lines for standard error. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from headrace import errors
from headrace.cli import amounts
from headrace.cli.parts import printable
from headrace.v1 import job_pb2


class Exit(IntEnum):
    """What the command's exit status says. Documented in its help; never renumbered."""

    SUCCEEDED = 0
    FAILED = 1
    USAGE = 2
    CANCELLED = 3
    NOT_RUN = 4
    UNREACHABLE = 5
    DETACHED = 130
    PIPE_CLOSED = 141


BY_STATE: Mapping[job_pb2.JobState, Exit] = {
    job_pb2.JOB_STATE_SUCCEEDED: Exit.SUCCEEDED,
    job_pb2.JOB_STATE_FAILED: Exit.FAILED,
    job_pb2.JOB_STATE_CANCELLED: Exit.CANCELLED,
    job_pb2.JOB_STATE_EXPIRED: Exit.NOT_RUN,
    job_pb2.JOB_STATE_SKIPPED: Exit.NOT_RUN,
}


def of_error(error: errors.HeadraceError) -> Exit:
    """The status for an error that ends the command."""
    if isinstance(error, errors.ConnectionFailed | errors.DeadlineExceeded):
        return Exit.UNREACHABLE
    return Exit.USAGE if isinstance(error, errors.InvalidArgument) else Exit.FAILED


def error_lines(error: errors.HeadraceError) -> list[str]:
    """The error for a person: one line, and one for each bad field."""
    if not isinstance(error, errors.CallFailed):
        return [f"headrace: {printable(str(error))}"]
    refused = error.refused
    code = refused.reason or refused.status.name
    wait = f"; try again in {amounts.elapsed(error.retry_after)}" if error.retry_after else ""
    error_id = f" (error id {error.metadata['error_id']})" if error.metadata.get("error_id") else ""
    item = "" if error.item is None or error.violations else f"item {error.item}: "
    lines = [f"headrace: {item}{printable(str(error)).strip()} [{code}]{error_id}{wait}"]
    if isinstance(error, errors.AlreadyExists) and error.resource and error.resource not in lines[0]:
        lines.append(f"  held by {error.resource}")
    if len(error.violations) > 1 or not all(v.field in error.message for v in error.violations):
        lines += [f"  {v.field}: {printable(v.description)}" for v in error.violations]
    return lines
