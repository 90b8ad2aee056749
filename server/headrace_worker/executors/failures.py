"""Failures that more than one executor reports: their parts, and what a program that can't start means."""

import signal

from headrace.v1 import outcome_pb2
from headrace_worker.executors.contract import Failed
from headrace_worker.executors.limits import FAILURE_DETAIL_BYTES_MAX, FAILURE_MESSAGE_CHARACTERS_MAX
from headrace_worker.process import SpawnFailed
from headrace_worker.workspace import WorkspaceRefused


def failure(
    failure_class: outcome_pb2.FailureClass, message: str, sign: str, detail: bytes | str = b""
) -> outcome_pb2.Failure:
    """A failure with its parts, cut to their limits."""
    kept = detail if isinstance(detail, bytes) else detail.encode("utf-8", "replace")
    return outcome_pb2.Failure(
        failure_class=failure_class,
        message=message[:FAILURE_MESSAGE_CHARACTERS_MAX],
        sign=sign,
        detail=kept[-(FAILURE_DETAIL_BYTES_MAX // 3) :].decode("utf-8", "replace"),
    )


def invalid(message: str, sign: str) -> Failed:
    """A task that can never work here."""
    return Failed(failure(outcome_pb2.FAILURE_CLASS_INVALID, message, sign))


def no_workspace(error: WorkspaceRefused | OSError) -> Failed:
    """A workspace that is not allowed, or that the disk can't give."""
    if isinstance(error, WorkspaceRefused):
        return invalid(str(error), "workspace")
    return Failed(failure(outcome_pb2.FAILURE_CLASS_RESOURCE, f"no workspace: {error}", f"errno={error.errno}"))


def spawn_failure(failed: SpawnFailed) -> Failed:
    """A program that could not be started."""
    kind = outcome_pb2.FAILURE_CLASS_INVALID if failed.permanent else outcome_pb2.FAILURE_CLASS_RESOURCE
    return Failed(failure(kind, f"the program could not be started: {failed}", "spawn"))


def signal_name(number: int) -> str:
    """`SIGKILL` for 9."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
