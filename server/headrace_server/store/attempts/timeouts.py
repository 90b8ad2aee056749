"""The timeouts in force for a job, and how it is told that one of them ended it (C3). When they have passed is
`core.deadlines`'."""

from headrace.v1 import outcome_pb2
from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.job import Failure, Job
from headrace_server.core.timeouts import DEFAULTS, NONE_STATED, Timeouts
from headrace_server.store.codec import failure_of, number
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import policy_of

WHAT_PASSED = {
    TimeoutKind.QUEUE: "it was not started within its queue_timeout",
    TimeoutKind.RUN: "the attempt ran longer than its run_timeout",
    TimeoutKind.TOTAL: "it had not ended within its total_timeout",
    TimeoutKind.SILENCE: "the attempt was silent for longer than its silence_timeout",
}


def timeouts_of_job(ledger: Ledger, job: Job) -> Timeouts:
    """The job's timeouts, its queue's where it states none, and the defaults where neither does."""
    policy = policy_of(ledger, job.namespace, job.queue)
    of_queue = NONE_STATED if policy is None else policy.timeouts
    if job.timeouts is NONE_STATED and of_queue is NONE_STATED:
        return DEFAULTS
    return job.timeouts.over(of_queue).over(DEFAULTS)


def cancel_grace_micros(ledger: Ledger, job: Job) -> int:
    """From the first word of an end to SIGTERM."""
    return timeouts_of_job(ledger, job).cancel_grace or 0


def timeout_failure(kind: TimeoutKind) -> Failure:
    """Why a job or an attempt ended whose time was over."""
    return failure_of(
        outcome_pb2.Failure(
            failure_class=number(FailureClass.TIMEOUT),
            message=WHAT_PASSED[kind],
            sign=f"timeout={kind.name}",
            timeout=number(kind),
        )
    )
