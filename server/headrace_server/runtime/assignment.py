"""What a worker gets in order to run an attempt that was granted to it. Which attempt, and to whom, is decided elsewhere."""

from headrace.v1 import worker_pb2
from headrace_server.core.ids import job_id_text
from headrace_server.store.ledger import Ledger
from headrace_server.store.ready import Candidate


def assignment_of(ledger: Ledger, candidate: Candidate) -> worker_pb2.Assignment:
    """The assignment of a job that was just granted."""
    job = candidate.job
    assignment = worker_pb2.Assignment()
    assignment.lease.job_id = job_id_text(job.id)
    assignment.lease.attempt = job.attempt
    assignment.lease.epoch = job.epoch
    assignment.lease.generation = ledger.generation
    assignment.namespace = job.namespace
    assignment.spec.ParseFromString(candidate.spec)
    assignment.traceparent = candidate.traceparent
    if job.holder:
        assignment.resume_claude_session_id = job.session
    if assignment.spec.HasField("timeouts"):
        assignment.timeouts.CopyFrom(assignment.spec.timeouts)
    if job.failure is not None:
        assignment.previous_failure.ParseFromString(job.failure.body)
        assignment.previous_failure.ClearField("partial_result")
    return assignment
