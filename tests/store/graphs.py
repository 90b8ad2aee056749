"""Graphs of jobs to submit, and a reference that says how they end; it knows nothing of the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import job_pb2, task_pb2
from headrace_server.core.states import ENDED, JobState
from headrace_server.store.jobs import new_job as making
from headrace_server.store.jobs.submission import NewJob

QUEUE_TIMEOUT_SECONDS = 30
ALL_SUCCEEDED = job_pb2.DEPENDENCY_CONDITION_ALL_SUCCEEDED
ALL_ENDED = job_pb2.DEPENDENCY_CONDITION_ALL_ENDED
ANY_SUCCEEDED = job_pb2.DEPENDENCY_CONDITION_ANY_SUCCEEDED
FAIL = job_pb2.DEPENDENCY_FAILURE_ACTION_FAIL
CANCEL = job_pb2.DEPENDENCY_CANCEL_ACTION_CANCEL


def made(*dependencies: str | bytes, ref: str = "", request_id: str = "", **fields: Any) -> NewJob:
    """A job that depends on items by ref and on jobs by id; every field of `JobSpec` can be set by name."""
    spec = job_pb2.JobSpec(**{"handler": task_pb2.HandlerTask(name="echo"), **fields})
    for one in dependencies:
        if isinstance(one, str):
            spec.dependencies.add(ref=one)
        else:
            text = one.hex()
            spec.dependencies.add(job_id="-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])))
    return making.new_job("default", request_id, spec, "tester", "", ref)


@dataclass(frozen=True, slots=True)
class Node:
    """A job of a graph; parents by their number."""

    parents: tuple[int, ...]
    condition: int = ALL_SUCCEEDED
    on_failure: int = 0
    on_cancel: int = 0
    expires: bool = False
    """No worker can run it, and it has a queue_timeout."""

    def spec(self) -> dict[str, Any]:
        """What its policies are in a spec."""
        return {
            "dependency_condition": self.condition,
            "dependency_failure_action": self.on_failure,
            "dependency_cancel_action": self.on_cancel,
            "handler": task_pb2.HandlerTask(name="nobody has it" if self.expires else "echo"),
            "timeouts": job_pb2.Timeouts(queue_timeout=Duration(seconds=QUEUE_TIMEOUT_SECONDS * self.expires)),
        }


class Reference:
    """Holds how each job of a graph stands, by the words of the contract."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.states: list[JobState] = [JobState.BLOCKED if node.parents else JobState.QUEUED for node in nodes]

    def end(self, state: JobState, *numbers: int) -> None:
        """Jobs end at once, and everything that follows by itself happens."""
        for number in numbers:
            self.states[number] = state
        while self._follow():
            pass

    def _follow(self) -> bool:
        changed = False
        for number, node in enumerate(self.nodes):
            if self.states[number] is JobState.BLOCKED:
                self.states[number] = self._state(node)
                changed = changed or self.states[number] is not JobState.BLOCKED
        return changed

    def _state(self, node: Node) -> JobState:
        parents = [self.states[parent] for parent in node.parents]
        ended = [state in ENDED for state in parents]
        good = [state is JobState.SUCCEEDED for state in parents]
        if node.on_cancel == CANCEL and JobState.CANCELLED in parents:
            return JobState.CANCELLED
        if node.condition == ALL_ENDED:
            return JobState.QUEUED if all(ended) else JobState.BLOCKED
        hopeless = JobState.FAILED if node.on_failure == FAIL else JobState.SKIPPED
        if node.condition == ANY_SUCCEEDED:
            return JobState.QUEUED if any(good) else hopeless if all(ended) else JobState.BLOCKED
        if any(is_ended and not is_good for is_ended, is_good in zip(ended, good, strict=True)):
            return hopeless
        return JobState.QUEUED if all(good) else JobState.BLOCKED
