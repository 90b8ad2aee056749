"""What a worker gets in order to run an attempt that was granted to it. To whom, and why, is decided elsewhere."""

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import job_pb2, task_pb2, worker_pb2
from headrace_server.core.ids import job_id_text
from headrace_server.core.job import Job, Turn
from headrace_server.core.limits import DEPENDENCY_RESULTS_BYTES_MAX, LANE_MESSAGE_BYTES_MAX
from headrace_server.core.states import JobState
from headrace_server.core.timeouts import DEFAULTS, Timeouts
from headrace_server.store.attempts.checkpoints import checkpoint_of
from headrace_server.store.attempts.timeouts import timeouts_of_job
from headrace_server.store.codec import number, set_time
from headrace_server.store.jobs.dependencies import parents_of
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.ready import Candidate
from headrace_server.store.records.response_cache import invalidated_time
from headrace_server.store.sessions.background import background_number
from headrace_server.store.sessions.moves import snapshot_for
from headrace_server.store.sessions.session_row import existing
from headrace_server.store.sessions.turn_spec import idle_timeout_of, snapshots_of


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
    timeouts = timeouts_of_job(ledger, job)
    if timeouts is not DEFAULTS:
        _set_timeouts(assignment.timeouts, timeouts)
    if job.attempt > 1:
        _tell_of_earlier_attempts(ledger, job, assignment)
    if job.dependent:
        _tell_of_parents(ledger, job, assignment)
    if job.turn is not None:
        _tell_of_session(ledger, job, job.turn, assignment)
    if assignment.spec.claude.HasField("response_cache"):
        _tell_of_cache(ledger, job, assignment.response_cache)
    return assignment


def _tell_of_cache(ledger: Ledger, job: Job, terms: worker_pb2.ResponseCacheTerms) -> None:
    set_time(terms.grant_time, ledger.now)
    invalidated = invalidated_time(ledger, job.namespace)
    if invalidated:
        set_time(terms.invalidate_time, invalidated)


def _tell_of_session(ledger: Ledger, job: Job, turn: Turn, assignment: worker_pb2.Assignment) -> None:
    session = existing(ledger, turn.session_id)
    message = assignment.session
    message.session_id = job_id_text(session.id)
    message.binding_epoch = session.binding_epoch
    message.turn = turn.number
    message.claude_session_id = session.claude_session
    snapshot = snapshot_for(ledger.look_up, session)
    spoken = session.ended_turns and turn.number > 1
    if session.forked_from is not None and not (session.claude_session and (spoken or snapshot)):
        # Until its first turn has ended its own conversation may be gone with a disk, and is then begun anew from this;
        # a turn that the CLI began by itself may have ended before.
        message.fork_session_id = job_id_text(session.forked_from)
        message.fork_claude_session_id = session.source_claude_session
    message.idle_timeout.CopyFrom(idle_timeout_of(session))
    message.snapshots = snapshots_of(session)
    if snapshot is not None:
        message.snapshot.CopyFrom(snapshot.message())
    if turn.background:
        message.background_number = background_number(ledger, session, turn)


def _tell_of_earlier_attempts(ledger: Ledger, job: Job, assignment: worker_pb2.Assignment) -> None:
    if job.holder if job.turn is None else _is_resumed(job, assignment):
        assignment.resume_claude_session_id = job.claude_session
    if job.failure is not None:
        assignment.previous_failure.ParseFromString(job.failure.body)
        assignment.previous_failure.ClearField("partial_result")
    checkpoint = checkpoint_of(ledger, job.row)
    if checkpoint is not None:
        assignment.checkpoint.ParseFromString(checkpoint)


def _is_resumed(job: Job, assignment: worker_pb2.Assignment) -> bool:
    """A turn has a holder because its session is there; it is resumed only where it may have changed the world."""
    return job.dirty and assignment.spec.claude.resume_policy != task_pb2.RESUME_POLICY_FRESH


def _tell_of_parents(ledger: Ledger, job: Job, assignment: worker_pb2.Assignment) -> None:
    room = min(DEPENDENCY_RESULTS_BYTES_MAX, LANE_MESSAGE_BYTES_MAX - assignment.ByteSize())
    for parent_id, state, result in parents_of(ledger, job):
        told = assignment.dependency_results.add(job_id=job_id_text(parent_id))
        if state is None:
            continue
        told.state = number(state)
        if result is not None and len(result) <= room:
            room -= len(result)
            told.result.ParseFromString(result)
        else:
            told.cut = state is JobState.SUCCEEDED


def _set_timeouts(message: job_pb2.Timeouts, timeouts: Timeouts) -> None:
    for field, micros in (
        ("queue_timeout", timeouts.queue),
        ("run_timeout", timeouts.run),
        ("total_timeout", timeouts.total),
        ("silence_timeout", timeouts.silence),
        ("input_timeout", timeouts.input),
        ("cancel_grace", timeouts.cancel_grace),
    ):
        if micros is not None:
            duration: Duration = getattr(message, field)
            duration.FromMicroseconds(micros)
            duration.SetInParent()
