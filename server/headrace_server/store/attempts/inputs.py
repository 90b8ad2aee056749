"""What attempts ask of a person: asked by their worker, answered once by whoever comes first, else expired or withdrawn
(X3, C3).

What is open stands on the job's row, folded from its log; the table keeps what is asked, and how it was resolved.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from headrace.v1 import event_pb2, input_pb2, session_pb2
from headrace_server.core import facts
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.job import InputResolution, Job, OpenInput
from headrace_server.core.limits import INPUT_JSON_BYTES_MAX, INPUTS_OPEN_COUNT_MAX, KEY_CHARACTERS_MAX
from headrace_server.core.refusal import Reason, Refusal, Violation
from headrace_server.core.states import JobState
from headrace_server.store.attempts.commands import tell_answer
from headrace_server.store.attempts.timeouts import timeouts_of_job
from headrace_server.store.codec import number, set_time
from headrace_server.store.effects import Resolved
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.cancel import not_found
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit

EXPIRED = (
    "Nobody answered in time, so this was not allowed. Do not try it again; go on without it, or say in your answer"
    " what could not be done."
)
TOO_MANY = f"{INPUTS_OPEN_COUNT_MAX} requests wait for a person already. Wait for their answers before asking for more."
_WHAT_BECAME = {
    InputResolution.ALLOWED: "was allowed",
    InputResolution.DENIED: "was denied",
    InputResolution.EXPIRED: "has expired",
    InputResolution.WITHDRAWN: "is no longer wanted",
}
CUT = " … cut; the whole of it has {} bytes"


@dataclass(frozen=True, slots=True)
class OpenCount:
    """What the jobs of a queue ask of people."""

    namespace: str
    queue: str
    count: int
    oldest: Micros
    """When the first of them was asked."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    request_id: str
    resolution: InputResolution
    actor: str = ""
    message: str = ""
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class _Stored:
    epoch: int
    resolved: Micros
    resolution: int
    actor: str
    answer: bytes
    body: bytes


def request(ledger: Ledger, job: Job, asked: input_pb2.InputRequest, report_number: int) -> None:
    """Takes a request of an attempt. One that can't wait for a person is not in the log."""
    if _stored(ledger, job, asked.request_id, job.epoch) is not None:
        ledger.skip_report(job, report_number)
        return
    if job.state is JobState.CANCELLING or job.timed_out:
        # Whoever ends the attempt ends its questions.
        ledger.skip_report(job, report_number)
        return
    if len(job.open_inputs) >= INPUTS_OPEN_COUNT_MAX:
        ledger.skip_report(job, report_number)
        tell_answer(ledger, job, input_pb2.InputAnswer(request_id=asked.request_id, message=TOO_MANY))
        return
    _bound(asked)
    timeout = timeouts_of_job(ledger, job).input
    expires = Micros(ledger.now + timeout) if timeout else Micros(0)
    event = event_pb2.InputRequested(request=asked)
    set_time(event.expire_time, expires)
    fact = facts.InputRequested(asked.request_id, event.SerializeToString(), report_number, asked.tool_name, expires)
    ledger.record(job, fact)
    columns = ("job", "request_id", "epoch", "body", "asked", "expires")
    values = (job.row, asked.request_id, job.epoch, asked.SerializeToString(), ledger.now, expires)
    ledger.insert("inputs", columns, [values])


def withdraw(ledger: Ledger, job: Job, request_id: str, report_number: int) -> None:
    """Takes an attempt's word that it wants no answer any more. An answer that was committed first stays."""
    if _is_open(job, request_id):
        _resolve(ledger, job, _Resolved(request_id, InputResolution.WITHDRAWN), report_number)
    else:
        ledger.skip_report(job, report_number)


def answer(
    ledger: Ledger, namespace: str, job_id: JobId, given: input_pb2.InputAnswer, actor: str
) -> InputResolution | Refusal:
    """Answers a request, and says how it was resolved. The first answer wins; its own repeat is told the same."""
    job = ledger.job(job_id)
    if job is None or job.namespace != namespace:
        return not_found(job_id)
    if job.state is JobState.WAITING_INPUT and not job.timed_out:
        # Whoever looks at what is due may be late; an answer that comes after the expiry is too late all the same.
        expire(ledger, job)
    stored = _stored(ledger, job, given.request_id)
    if stored is None:
        return _not_asked(job, given.request_id)
    digest = _digest(given)
    if stored.resolved and (stored.actor, stored.answer) == (actor, digest):
        return InputResolution(stored.resolution)
    ending = job.state is JobState.CANCELLING or job.timed_out
    if ending or stored.epoch != job.epoch or not _is_open(job, given.request_id):
        return _resolved_before(job, given.request_id, stored)
    asked = input_pb2.InputRequest.FromString(stored.body)
    question = asked.kind == input_pb2.INPUT_KIND_QUESTION
    if given.allow and question and not (given.message or given.updated_input_json):
        violation = Violation("answer.message", "is required: a question needs an answer, or updated_input_json")
        return Refusal(Reason.INVALID_FIELD, f"{violation.field} {violation.description}", violations=(violation,))
    resolution = InputResolution.ALLOWED if given.allow else InputResolution.DENIED
    _resolve(ledger, job, _Resolved(given.request_id, resolution, actor, given.message, digest))
    tell_answer(ledger, job, given)
    detail = f"{resolution.name} {asked.tool_name or 'a question'}, request {given.request_id}"
    record_audit(ledger, actor, "SessionService.AnswerRequest", namespace, "job", job_id_text(job_id), detail)
    return resolution


def expire(ledger: Ledger, job: Job) -> None:
    """Denies what nobody has answered in time."""
    for one in job.open_inputs:
        if not 0 < one.expires <= ledger.now:
            continue
        _resolve(ledger, job, _Resolved(one.request_id, InputResolution.EXPIRED, message=EXPIRED))
        tell_answer(ledger, job, input_pb2.InputAnswer(request_id=one.request_id, message=EXPIRED))


def close_inputs(ledger: Ledger, ended: Iterable[tuple[int, int]]) -> None:
    """Nobody can answer any more what attempts have asked that have ended, each by the row of its job and its epoch."""
    for row, epoch in ended:
        left = ledger.look_up(
            "SELECT jobs.namespace, jobs.queue, inputs.asked FROM inputs JOIN jobs ON jobs.job = inputs.job"
            " WHERE inputs.job = ? AND inputs.epoch = ? AND inputs.resolved = 0",
            (row, epoch),
        )
        if not left:
            continue
        ledger.effects.resolved += [
            Resolved(namespace, queue, InputResolution.WITHDRAWN, ledger.now - asked)
            for namespace, queue, asked in left
        ]
        ledger.run(
            "UPDATE inputs SET resolved = ?, resolution = ?, body = x'' WHERE job = ? AND epoch = ? AND resolved = 0",
            (ledger.now, int(InputResolution.WITHDRAWN), row, epoch),
        )


def open_inputs(connection: Connection, jobs: Sequence[Job]) -> list[session_pb2.OpenInput]:
    """What jobs ask of a person, in the order of the jobs and oldest first; their rows as read in the same moment."""
    found = []
    for job in jobs:
        if not job.open_inputs:
            continue
        rows = connection.rows(
            "SELECT request_id, body, asked FROM inputs WHERE job = ? AND epoch = ? AND resolved = 0",
            (job.row, job.epoch),
        )
        stored = {str(request_id): (bytes(body), Micros(asked)) for request_id, body, asked in rows}
        found += [_open_input(job, one, *stored[one.request_id]) for one in job.open_inputs if one.request_id in stored]
    return found


def count_open(connection: Connection) -> list[OpenCount]:
    """What waits for a person just now, by queue."""
    found = connection.rows(
        "SELECT jobs.namespace, jobs.queue, count(*), min(inputs.asked) FROM inputs"
        " JOIN jobs ON jobs.job = inputs.job WHERE inputs.resolved = 0 GROUP BY jobs.namespace, jobs.queue"
    )
    return [OpenCount(namespace, queue, count, Micros(oldest)) for namespace, queue, count, oldest in found]


def _open_input(job: Job, one: OpenInput, body: bytes, asked: Micros) -> session_pb2.OpenInput:
    message = session_pb2.OpenInput(job_id=job_id_text(job.id))
    message.request.ParseFromString(body)
    set_time(message.time, asked)
    set_time(message.expire_time, one.expires)
    return message


def _resolve(ledger: Ledger, job: Job, resolved: _Resolved, report_number: int = 0) -> None:
    event = event_pb2.InputResolved(
        request_id=resolved.request_id,
        resolution=number(resolved.resolution),
        actor=resolved.actor,
        message=resolved.message,
    )
    ledger.record(job, facts.InputResolved(resolved.request_id, event.SerializeToString(), report_number))
    name = (job.row, resolved.request_id, job.epoch)
    asked = ledger.look_up("SELECT asked FROM inputs WHERE job = ? AND request_id = ? AND epoch = ?", name)[0][0]
    ledger.effects.resolved.append(Resolved(job.namespace, job.queue, resolved.resolution, ledger.now - asked))
    ledger.run(
        "UPDATE inputs SET resolved = ?, resolution = ?, actor = ?, answer = ?, body = x''"
        " WHERE job = ? AND request_id = ? AND epoch = ?",
        (ledger.now, int(resolved.resolution), resolved.actor, resolved.digest, *name),
    )


def _stored(ledger: Ledger, job: Job, request_id: str, epoch: int | None = None) -> _Stored | None:
    """A request of an attempt, or of the latest one that has made one of this id."""
    found = ledger.look_up(
        "SELECT epoch, resolved, resolution, actor, answer, body FROM inputs WHERE job = ? AND request_id = ?"
        " ORDER BY epoch DESC LIMIT 1",
        (job.row, request_id),
    )
    if not found or (epoch is not None and found[0][0] != epoch):
        return None
    at, resolved, resolution, actor, digest, body = found[0]
    return _Stored(int(at), Micros(resolved), int(resolution), str(actor), bytes(digest), bytes(body))


def _is_open(job: Job, request_id: str) -> bool:
    return any(one.request_id == request_id for one in job.open_inputs)


def _digest(given: input_pb2.InputAnswer) -> bytes:
    return blake2b(given.SerializeToString(deterministic=True), digest_size=16).digest()


def _bound(asked: input_pb2.InputRequest) -> None:
    asked.DiscardUnknownFields()
    asked.tool_name = asked.tool_name[:KEY_CHARACTERS_MAX]
    asked.tool_use_id = asked.tool_use_id[:KEY_CHARACTERS_MAX]
    size = len(asked.input_json.encode())
    if size > INPUT_JSON_BYTES_MAX:
        marker = CUT.format(size)
        kept = asked.input_json.encode()[: INPUT_JSON_BYTES_MAX - len(marker.encode())]
        asked.input_json = kept.decode(errors="ignore") + marker


def _not_asked(job: Job, request_id: str) -> Refusal:
    text = job_id_text(job.id)
    message = f"job {text} has asked nothing under the id {request_id!r}"
    return Refusal(Reason.NOT_FOUND, message, "headrace.v1.InputRequest", request_id, metadata={"job_id": text})


def _resolved_before(job: Job, request_id: str, stored: _Stored) -> Refusal:
    resolution = InputResolution(stored.resolution or InputResolution.WITHDRAWN)
    metadata = {"job_id": job_id_text(job.id), "resolution": resolution.name}
    by = ""
    if stored.actor:
        metadata["actor"] = stored.actor
        by = f" by {stored.actor}"
    if stored.resolved:
        time = session_pb2.OpenInput().time
        set_time(time, stored.resolved)
        metadata["time"] = time.ToJsonString()
    message = f"the request {request_id!r} {_WHAT_BECAME[resolution]}{by}"
    return Refusal(Reason.INPUT_RESOLVED, message, "headrace.v1.InputRequest", request_id, metadata=metadata)
