"""What attempts produce: output, appended once and in order (E3, E5, E6), and their reports."""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.v1 import event_pb2, worker_service_pb2
from headrace_server.core import facts
from headrace_server.core.job import Job
from headrace_server.store.attempts.artifacts import complete, keep_part
from headrace_server.store.attempts.checkpoints import keep_checkpoint
from headrace_server.store.attempts.inputs import request, withdraw
from headrace_server.store.attempts.leases import Holder, Lease, held, start
from headrace_server.store.codec import produced_of
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.bindings import note_conversation
from headrace_server.store.sessions.snapshots import note_snapshot


@dataclass(frozen=True, slots=True)
class Batch:
    """Output of one attempt, in order of its producer sequence, without holes."""

    holder: Holder
    lease: Lease
    outputs: Sequence[event_pb2.Output]


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch. `stale`: the lease is no longer the worker's, and nothing was appended."""

    committed: int
    stale: bool
    sequence: int = 0
    """Of the job's last event after it."""


def append_each(ledger: Ledger, batches: Sequence[Batch]) -> list[Appended]:
    """Appends what is new of each batch; what was there already is skipped, and after a hole nothing is taken."""
    ledger.jobs(batch.lease.job_id for batch in batches)
    return [_append(ledger, batch) for batch in batches]


def report(ledger: Ledger, holder: Holder, lease: Lease, word: worker_service_pb2.AttemptReport) -> int | None:
    """Puts a report into the log, unless it is there; returns the last one that is, or None for a stale lease."""
    job = held(ledger, holder, lease)
    if job is None:
        return None
    follows = word.report_number == job.report_number + 1
    if not follows or word.after_producer_sequence > job.producer_sequence:
        return job.report_number
    start(ledger, job)
    kind = word.WhichOneof("kind")
    if kind == "step":
        ledger.record(job, facts.CancelStepped(word.step.SerializeToString(), word.report_number))
    elif kind == "input_requested":
        request(ledger, job, word.input_requested, word.report_number)
    elif kind == "input_withdrawn":
        withdraw(ledger, job, word.input_withdrawn.request_id, word.report_number)
    else:
        ledger.skip_report(job, word.report_number)
    return job.report_number


def _append(ledger: Ledger, batch: Batch) -> Appended:
    job = held(ledger, batch.holder, batch.lease)
    if job is None:
        return Appended(0, stale=True)
    start(ledger, job)
    checkpoint: bytes | None = None
    for output in batch.outputs:
        if output.producer_sequence <= job.producer_sequence:
            continue
        if output.producer_sequence > job.producer_sequence + 1:
            break
        _append_one(ledger, job, output)
        if output.HasField("checkpoint"):
            checkpoint = output.checkpoint.value.SerializeToString()
    if job.turn is not None and any(output.claude.init.claude_session_id for output in batch.outputs):
        note_conversation(ledger, job)
    if checkpoint is not None:
        # Also past the job's cap of output: the next attempt goes on from it.
        keep_checkpoint(ledger, job.row, checkpoint)
    return Appended(job.producer_sequence, stale=False, sequence=job.sequence)


def _append_one(ledger: Ledger, job: Job, output: event_pb2.Output) -> None:
    if output.HasField("artifact_part"):
        keep_part(ledger, job, output.artifact_part)
        ledger.drop_output(job, output.producer_sequence)
        return
    if output.HasField("artifact"):
        output.artifact.CopyFrom(complete(ledger, job, output.artifact))
    if output.HasField("snapshot"):
        note_snapshot(ledger, job, output.snapshot)
    produced = produced_of(output)
    full = job.truncated or job.output_bytes + produced.size_bytes > job.output_bytes_max
    if not (full and produced.size_bytes):
        ledger.record(job, produced)
        return
    if not job.truncated:
        ledger.record(job, facts.Truncated(job.output_bytes_max))
    if _tells(job, produced):
        ledger.record(job, produced_of(_without_bytes(output)))
    else:
        ledger.drop_output(job, produced.producer_sequence)


def _tells(job: Job, produced: facts.Produced) -> bool:
    """Whether the job has to know of output even though its bytes are dropped: how it is resumed hangs on it (R6)."""
    return (
        (produced.dirty and not job.dirty)
        or (produced.simulated and not job.simulated)
        or produced.claude_session not in ("", job.claude_session)
    )


def _without_bytes(output: event_pb2.Output) -> event_pb2.Output:
    kept = event_pb2.Output(producer_sequence=output.producer_sequence, time=output.time, dirty=output.dirty)
    if output.HasField("claude"):
        kept.claude.simulated = output.claude.simulated
        if output.claude.HasField("init"):
            kept.claude.init.claude_session_id = output.claude.init.claude_session_id
    return kept
