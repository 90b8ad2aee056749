"""Leases, words and workers as the contract's messages, and back."""

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import job_pb2, outcome_pb2, worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.ids import SECOND, JobId, job_id_text, parse_job_id
from headrace_server.core.job import Job
from headrace_server.core.limits import REASON_CHARACTERS_MAX, SNOOZE_SECONDS_MAX, SNOOZE_SECONDS_MIN
from headrace_server.core.placement import Capabilities
from headrace_server.core.refusal import Reason, Refusal, Refused, Violation
from headrace_server.core.resources import Resources
from headrace_server.core.wanted import Wanted
from headrace_server.rpc.streams.lane_limits import bounded_failure, is_result_unreadable
from headrace_server.runtime.registry import ControlLane
from headrace_server.store.attempts.leases import Finish, Holder, Lease, Snooze
from headrace_server.store.attempts.worker_drains import WorkerDrain
from headrace_server.store.attempts.workers import Release, StoredWorker, Word
from headrace_server.store.codec import micros_of, number, set_time, usage_of
from headrace_server.store.sessions.background import BackgroundTurn


def lease_of(message: worker_pb2.Lease) -> Lease:
    """Reads a lease. Raises Refused (INVALID_FIELD)."""
    try:
        return Lease(parse_job_id(message.job_id), message.epoch, message.generation, message.attempt)
    except ValueError:
        violation = Violation("lease.job_id", f"is not a UUID: {message.job_id[:64]!r}")
        raise Refused(Refusal(Reason.INVALID_FIELD, "a lease can't be read", violations=(violation,))) from None


def lease_message(lease: Lease) -> worker_pb2.Lease:
    """A lease, as the worker said it or was told it."""
    return worker_pb2.Lease(
        job_id=job_id_text(lease.job_id), attempt=lease.attempt, epoch=lease.epoch, generation=lease.generation
    )


def job_lease_message(job: Job, generation: int) -> worker_pb2.Lease:
    """The live lease of a job."""
    return worker_pb2.Lease(job_id=job_id_text(job.id), attempt=job.attempt, epoch=job.epoch, generation=generation)


def held_leases(renewal: pb.WorkerRenewal) -> list[Lease]:
    """The leases that a worker says it holds."""
    return [lease_of(one.lease) for one in renewal.held]


def word_of(holder: Holder, request: pb.ConnectRequest, absent: Iterable[Lease]) -> Word:
    """What a worker said in one message."""
    return Word(
        holder=holder,
        starts=[lease_of(one.lease) for one in request.starts],
        releases=[_release(one) for one in request.releases],
        reports=[(lease_of(one.lease), one) for one in request.reports],
        finishes=[_finish(one) for one in request.finishes],
        command_acks=[(lease_of(one.lease), one.command_number, _error_of(one)) for one in request.command_acks],
        counter=request.renewal.counter,
        absent=tuple(absent),
        sessions=tuple((_session_id(one.session_id), one.binding_epoch) for one in request.renewal.sessions),
        kept_sessions=tuple(map(_session_id, request.renewal.kept_session_ids)),
        background=[
            BackgroundTurn(_session_id(one.session_id), one.binding_epoch, one.number)
            for one in request.background_turns
        ],
    )


def background_ack(turn: BackgroundTurn, job_id: JobId | None) -> pb.BackgroundTurnAck:
    """What became of a turn that a CLI began by itself."""
    return pb.BackgroundTurnAck(
        turn=pb.BackgroundTurn(
            session_id=job_id_text(turn.session_id), binding_epoch=turn.binding_epoch, number=turn.number
        ),
        job_id="" if job_id is None else job_id_text(job_id),
    )


def capabilities_of(message: worker_pb2.WorkerCapabilities) -> Capabilities:
    """What placement looks at."""
    return Capabilities(
        executors=frozenset(message.executors),
        labels=dict(message.labels),
        programs=frozenset(message.programs),
        handlers=frozenset(message.handlers),
        profiles=frozenset(message.environment_profiles),
    )


def wanted(lease: worker_pb2.Lease, state: pb.WantedState, cause: pb.StopCause) -> pb.WantedAttempt:
    """What the server wants of a lease, at once."""
    return pb.WantedAttempt(lease=lease, wanted=state, cause=cause, cancel_grace=seconds_message(0))


def wanted_message(wanted: Wanted, generation: int) -> pb.WantedAttempt:
    """An attempt that has to end."""
    message = pb.WantedAttempt(
        lease=job_lease_message(wanted.job, generation), wanted=number(wanted.end), cause=number(wanted.cause)
    )
    message.cancel_grace.FromMicroseconds(wanted.grace_micros)
    return message


def seconds_message(seconds: float) -> Duration:
    """A duration."""
    message = Duration()
    message.FromMicroseconds(int(seconds * 1_000_000))
    return message


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker as the store has it."""

    worker: StoredWorker
    used: Resources
    drain: WorkerDrain | None


def worker_message(seen: SeenWorker, lane: ControlLane | None) -> worker_pb2.Worker:
    """A worker; `lane` when it is connected to this node."""
    worker, hello = seen.worker, seen.worker.hello
    live = lane is not None and lane.holder.incarnation == worker.incarnation
    message = worker_pb2.Worker(
        id=worker.worker,
        incarnation=worker.incarnation,
        state=_state(worker, lane if live else None, seen.drain),
        capabilities=hello.capabilities,
        slots=hello.slots,
        slots_used=seen.used.slots,
        host=hello.host,
        version=hello.version,
        host_resources=hello.host_resources,
        slots_min=hello.slots,
        slots_max=hello.slots,
        resources_used=resources_message(seen.used),
    )
    if live and lane is not None:
        message.slots = lane.slots_offered
        message.host_resources.CopyFrom(lane.host)
        if lane.response_cache is not None:
            message.response_cache.CopyFrom(lane.response_cache)
        if lane.bounds is not None:
            message.slots_min, message.slots_max = lane.bounds.slots_min, lane.bounds.slots_max
    if seen.drain is not None:
        message.drain.CopyFrom(_drain_message(seen.drain))
    set_time(message.connect_time, worker.connected)
    set_time(message.renew_time, worker.renewed)
    return message


def resources_message(used: Resources) -> job_pb2.Resources:
    """What jobs take of a worker."""
    return job_pb2.Resources(slots=used.slots, memory_bytes=used.memory_bytes, cpu_millis=used.cpu_millis)


def wanted_worker_of(drain: WorkerDrain | None) -> pb.WantedWorker:
    """What the server wants of a worker as a whole."""
    if drain is None:
        return pb.WANTED_WORKER_RUN
    return pb.WANTED_WORKER_EXIT if drain.exits else pb.WANTED_WORKER_DRAIN


def _drain_message(drain: WorkerDrain) -> worker_pb2.WorkerDrain:
    message = worker_pb2.WorkerDrain(actor=drain.actor, exit=drain.exits)
    set_time(message.time, drain.time)
    if drain.return_time:
        set_time(message.return_time, drain.return_time)
    return message


def _state(worker: StoredWorker, lane: ControlLane | None, drain: WorkerDrain | None) -> worker_pb2.WorkerState:
    if lane is not None:
        drained = lane.is_drained or drain is not None
        return worker_pb2.WORKER_STATE_DRAINING if drained else worker_pb2.WORKER_STATE_READY
    return worker_pb2.WORKER_STATE_LOST if worker.lost else worker_pb2.WORKER_STATE_DISCONNECTED


def _session_id(text: str) -> JobId:
    try:
        return parse_job_id(text)
    except ValueError:
        violation = Violation("session_id", f"is not a UUID: {text[:64]!r}")
        raise Refused(Refusal(Reason.INVALID_FIELD, "a session can't be read", violations=(violation,))) from None


def _release(message: pb.AttemptRelease) -> Release:
    try:
        cause = ReleaseCause(message.cause)
    except ValueError:
        cause = ReleaseCause.DECLINED
    return Release(lease_of(message.lease), cause, message.message[:REASON_CHARACTERS_MAX])


def _finish(message: pb.AttemptFinish) -> Finish:
    kind = message.WhichOneof("outcome")
    return Finish(
        lease=lease_of(message.lease),
        succeeded=message.succeeded.SerializeToString() if kind == "succeeded" else None,
        unreadable=kind == "succeeded" and is_result_unreadable(message.succeeded),
        failed=bounded_failure(message.failed) if kind == "failed" else None,
        cancelled=kind == "cancelled",
        snoozed=_snooze(message.snoozed) if kind == "snoozed" else None,
        usage=usage_of(message.usage),
        last_producer_sequence=message.last_producer_sequence,
        last_report_number=message.last_report_number,
        body=message.SerializeToString(),
        first_token=_first_token(message.succeeded.claude) if kind == "succeeded" else None,
    )


def _first_token(answer: outcome_pb2.ClaudeResult) -> int | None:
    told = answer.HasField("time_to_first_token")
    return max(0, answer.time_to_first_token.ToMicroseconds()) if told else None


def _error_of(message: pb.CommandAck) -> str:
    if not message.HasField("error"):
        return ""
    return message.error.message[:REASON_CHARACTERS_MAX] or "no reason was given"


def _snooze(message: pb.AttemptSnooze) -> Snooze:
    delay = min(max(micros_of(message.delay), int(SNOOZE_SECONDS_MIN * SECOND)), int(SNOOZE_SECONDS_MAX * SECOND))
    return Snooze(delay, message.reason[:REASON_CHARACTERS_MAX])
