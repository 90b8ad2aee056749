"""What an attempt is told of its tree's memory: a line in its log past the soft limit, and why it was killed."""

import logging

from headrace.v1 import event_pb2, job_pb2, outcome_pb2
from headrace_worker.executors.contract import Attempt
from headrace_worker.executors.failures import failure
from headrace_worker.trees import Memory

logger = logging.getLogger(__name__)


async def note_soft_limit(attempt: Attempt, memory: Memory) -> None:
    """Says in the attempt's log, once, that its tree has passed the soft limit."""
    await memory.wait_over_soft()
    hard = size(memory.limits.hard_bytes) if memory.limits.hard_bytes else "none"
    limits = f"soft limit {size(memory.limits.soft_bytes)}, hard limit {hard}"
    words = f"the process tree holds {size(memory.last_bytes)} of memory ({limits})"
    logger.warning("job %s: %s", attempt.assignment.lease.job_id, words)
    await attempt.emit(event_pb2.Output(progress=job_pb2.Progress(message=words)))


def memory_failure(memory: Memory, detail: bytes | str = b"") -> outcome_pb2.Failure:
    """Why an attempt failed whose tree was killed for its size."""
    words = f"its process tree held {size(memory.peak_bytes)} of memory, {size(memory.limits.hard_bytes)} are allowed"
    return failure(outcome_pb2.FAILURE_CLASS_RESOURCE, words, f"rss_bytes={memory.peak_bytes}", detail)


def size(count: int) -> str:
    """A number of bytes for a person."""
    return f"{count / 1024**3:.1f} GiB" if count >= 1024**3 else f"{count / 1024**2:.1f} MiB"
