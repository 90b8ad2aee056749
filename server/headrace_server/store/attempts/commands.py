"""What a running attempt is told besides its end: an inbox for each, numbered 1, 2, 3 …, said until it is acknowledged.

A command that is lost on the way comes again with the answer to the next renewal, and after a reconnect with the
welcome. All of it goes with the end of the attempt.
"""

from collections.abc import Iterable

from headrace.v1 import input_pb2, worker_service_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import Job
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.effects import Command
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit

_PENDING = (
    "SELECT jobs.id, jobs.attempt, commands.epoch, commands.number, commands.body FROM commands CROSS JOIN jobs"
    " ON jobs.job = commands.job AND jobs.epoch = commands.epoch WHERE commands.acknowledged = 0"
    " AND jobs.worker = ? AND jobs.incarnation = ? AND jobs.state IN (4, 5, 6, 7)"
    " ORDER BY commands.job, commands.epoch, commands.number"
)
"""Hardly ever is there a command that waits, so the search begins with them."""


def tell_answer(ledger: Ledger, job: Job, answer: input_pb2.InputAnswer) -> None:
    """Has the attempt told what became of something that it has asked."""
    _tell(ledger, job, worker_service_pb2.AttemptCommand(answer=answer))


def tell_settings(ledger: Ledger, job: Job, settings: worker_service_pb2.SettingsCommand) -> None:
    """Has the attempt told how it is to go on."""
    _tell(ledger, job, worker_service_pb2.AttemptCommand(settings=settings))


def pending_commands(ledger: Ledger, holder: Holder) -> tuple[Command, ...]:
    """Everything that attempts of a worker are to be told and that it has not acknowledged, in order."""
    found = ledger.query(_PENDING, (holder.worker, holder.incarnation))
    return tuple(
        Command(holder.worker, JobId(bytes(job_id)), epoch, attempt, number, bytes(body))
        for job_id, attempt, epoch, number, body in found
    )


def acknowledge(ledger: Ledger, job: Job, number: int, error: str) -> None:
    """Takes note that a command was carried out; with an error, that it can't be: the audit log tells of that."""
    found = ledger.look_up(
        "SELECT body FROM commands WHERE job = ? AND epoch = ? AND number = ? AND acknowledged = 0",
        (job.row, job.epoch, number),
    )
    if not found:
        return
    ledger.run(
        "UPDATE commands SET acknowledged = ?, error = ?, body = x'' WHERE job = ? AND epoch = ? AND number = ?",
        (ledger.now, error, job.row, job.epoch, number),
    )
    command = worker_service_pb2.AttemptCommand.FromString(found[0][0])
    if error and command.HasField("settings"):
        record_audit(
            ledger,
            f"worker:{job.worker}",
            "WorkerService.Connect",
            job.namespace,
            "job",
            job_id_text(job.id),
            f"the settings were not changed: {error}",
        )


def drop_commands(ledger: Ledger, ended: Iterable[tuple[int, int]]) -> None:
    """Removes the inboxes of attempts that have ended, each by the row of its job and its epoch."""
    for row, epoch in ended:
        ledger.run("DELETE FROM commands WHERE job = ? AND epoch = ?", (row, epoch))


def _tell(ledger: Ledger, job: Job, command: worker_service_pb2.AttemptCommand) -> None:
    last = ledger.look_up("SELECT max(number) FROM commands WHERE job = ? AND epoch = ?", (job.row, job.epoch))[0][0]
    number = int(last or 0) + 1
    body = command.SerializeToString()
    ledger.insert(
        "commands", ("job", "epoch", "number", "body", "time"), [(job.row, job.epoch, number, body, ledger.now)]
    )
    ledger.effects.commands.append(Command(job.worker, job.id, job.epoch, job.attempt, number, body))
