"""What a turn of a session asks for: its own words over the session's settings."""

from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from headrace.v1 import job_pb2, session_pb2
from headrace_server.core.ids import job_id_text
from headrace_server.core.limits import LABELS_COUNT_MAX, SESSION_IDLE_SECONDS_DEFAULT
from headrace_server.core.refusal import Reason, Refusal, Violation
from headrace_server.store.jobs.claude_defaults import fill_task
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.submission import NewJob
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.settings import settings_of
from headrace_server.store.sessions.session_row import StoredSession, read_session

SHARED = ("queue", "owner", "display_name", "priority", "retry_policy", "timeouts", "placement", "output_bytes_max")
"""Fields that the specs of a session and of a job have in common, besides labels and task."""


def completed(ledger: Ledger, submits: Sequence[NewJob]) -> Sequence[NewJob]:
    """The jobs to submit, with what they leave unset filled in: a turn's from its session, that of another Claude job
    from the settings of its namespace."""
    if not any(new.needs.executor == "claude" for new in submits):
        return submits
    return [_completed(ledger, new) if new.needs.executor == "claude" else new for new in submits]


def spec_of_turn(session: StoredSession, given: job_pb2.JobSpec) -> job_pb2.JobSpec:
    """The given spec over the settings of a session."""
    settings = session_pb2.SessionSpec.FromString(session.spec)
    spec = job_pb2.JobSpec(labels=settings.labels, claude=settings.task)
    for name in SHARED:
        if _has(settings, name):
            _copy(settings, spec, name)
    own = job_pb2.JobSpec()
    own.CopyFrom(given)
    for name, value in own.labels.items():
        spec.labels[name] = value
    own.ClearField("labels")
    for name in ("timeouts", "claude"):
        if own.HasField(name):
            _overlay(getattr(spec, name), getattr(own, name))
            own.ClearField(name)
    _overlay(spec, own)
    spec.claude.session_id = job_id_text(session.id)
    return spec


def idle_timeout_of(session: StoredSession) -> Duration:
    """How long the process of a session may stay idle."""
    settings = session_pb2.SessionSpec.FromString(session.spec)
    if settings.HasField("idle_timeout"):
        return settings.idle_timeout
    return Duration(seconds=int(SESSION_IDLE_SECONDS_DEFAULT))


def snapshots_of(session: StoredSession) -> session_pb2.SnapshotPolicy:
    """What is to be kept of it after each turn."""
    return session_pb2.SessionSpec.FromString(session.spec).snapshots


def too_many_labels(new: NewJob) -> Refusal | None:
    """A turn has the labels of its session and its own."""
    if len(new.labels) <= LABELS_COUNT_MAX:
        return None
    what = f"has {len(new.labels)} labels together with those of its session; at most {LABELS_COUNT_MAX} are allowed"
    return Refusal(Reason.INVALID_FIELD, f"spec.labels {what}", violations=(Violation("spec.labels", what),))


def _completed(ledger: Ledger, new: NewJob) -> NewJob:
    if new.session_id is None:
        return _with_defaults(ledger, new)
    session = read_session(ledger.look_up, new.session_id)
    if session is None or session.namespace != new.namespace:
        return new
    return _with_spec(new, spec_of_turn(session, job_pb2.JobSpec.FromString(new.spec)))


def _with_defaults(ledger: Ledger, new: NewJob) -> NewJob:
    settings = settings_of(ledger, new.namespace)
    if settings.etag == "0" or new.origin.retry_of is not None:
        # A retry is to be what was retried.
        return new
    spec = job_pb2.JobSpec.FromString(new.spec)
    fill_task(spec.claude, settings, new.queue)
    return _with_spec(new, spec)


def _with_spec(new: NewJob, spec: job_pb2.JobSpec) -> NewJob:
    """The same submit with another spec; what tells a repeat is what the caller has sent (S2)."""
    return replace(
        new_job(new.namespace, new.request_id, spec, new.actor, new.traceparent, new.ref),
        fingerprint=new.fingerprint,
        known_ends=new.known_ends,
        origin=new.origin,
        background=new.background,
    )


def _overlay(target: Message, given: Message) -> None:
    """Puts fields that are set in the place of the target's."""
    for field, _ in given.ListFields():
        target.ClearField(field.name)
    target.MergeFrom(given)


def _has(settings: session_pb2.SessionSpec, name: str) -> bool:
    return any(field.name == name for field, _ in settings.ListFields())


def _copy(settings: session_pb2.SessionSpec, spec: job_pb2.JobSpec, name: str) -> None:
    value = getattr(settings, name)
    if isinstance(value, Message):
        getattr(spec, name).CopyFrom(value)
    else:
        setattr(spec, name, value)
