"""What became of a turn: its result, or why it has none."""

from collections.abc import Callable

from headrace.v1 import outcome_pb2, task_pb2
from headrace_worker.executors.claude.answer import failure_with_partial, result_of
from headrace_worker.executors.claude.conversation import Ended, Reason
from headrace_worker.executors.claude.failure import classify
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, Succeeded
from headrace_worker.executors.failures import failure
from headrace_worker.executors.memory import memory_failure
from headrace_worker.trees import Memory


def verdict(
    task: task_pb2.ClaudeTask, ended: Ended, memory: Memory, now: Callable[[], float], *, simulated: bool
) -> Outcome:
    """Judges a turn that is over. `now`: seconds since 1970."""
    usage = ended.turn.meter.total()
    found = classify(ended.evidence, now())
    if ended.reason is Reason.FLOODED:
        found = failure(outcome_pb2.FAILURE_CLASS_RESOURCE, ended.words, ended.sign, ended.evidence.stderr)
    elif ended.reason is Reason.REFUSED:
        found = failure(outcome_pb2.FAILURE_CLASS_ERROR, ended.words, "initialize", ended.evidence.stderr)
    elif ended.reason is Reason.OUTGROWN and found is not None:
        found = memory_failure(memory, ended.evidence.stderr)
    if found is None:
        judged = result_of(task, ended.turn, simulated=simulated)
        if isinstance(judged, outcome_pb2.Result):
            return Succeeded(judged, usage)
        found = judged
    elif ended.reason is Reason.STOPPED:
        return Cancelled(usage)
    return Failed(failure_with_partial(found, ended.turn, simulated=simulated), usage)
