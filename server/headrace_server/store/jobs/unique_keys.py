"""Unique keys (S3): of the jobs that share one, at most one may run and one waits for it.

A job has a place while it has not ended. The unique index over key and place decides; what is read before only chooses
what to try.
"""

from dataclasses import dataclass
from enum import IntEnum

from headrace_server.core.ids import JobId
from headrace_server.core.job import Job
from headrace_server.core.states import ENDED
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger

KeyName = tuple[str, str, str]
"""Namespace, queue, key."""


class KeyPlace(IntEnum):
    """Where a job stands with its key, as `unique_keys.place` has it."""

    NONE = 0
    """It has ended."""
    FIRST = 1
    """It may run."""
    NEXT = 2
    """It waits for the first one to end."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A row of the table that is to be written."""

    name: KeyName
    row: int
    place: KeyPlace


def holders(ledger: Ledger, name: KeyName) -> dict[KeyPlace, Job]:
    """The jobs that have a place with a key; some may have ended in this transaction."""
    found = ledger.query(
        "SELECT unique_keys.place, jobs.id FROM unique_keys JOIN jobs ON jobs.job = unique_keys.job"
        " WHERE unique_keys.namespace = ? AND unique_keys.queue = ? AND unique_key = ? AND place > 0",
        name,
    )
    jobs = ledger.jobs(JobId(bytes(job_id)) for _, job_id in found)
    return {KeyPlace(place): jobs[JobId(bytes(job_id))] for place, job_id in found}


def claim(ledger: Ledger, claims: list[KeyRow]) -> None:
    """Gives new jobs their places."""
    ledger.insert(
        "unique_keys",
        ("namespace", "queue", "unique_key", "job", "place"),
        [(*one.name, one.row, int(one.place)) for one in claims],
    )
    ledger.effects.keyed.update(one.name for one in claims)


def give_up(ledger: Ledger, job: Job) -> None:
    """Takes the place from a job that another one replaces."""
    ledger.run("UPDATE unique_keys SET place = 0 WHERE job = ?", (job.row,))


def move_up(ledger: Ledger, job: Job) -> Job | None:
    """Frees the place of a job that has ended; returns the job that waited for it, which is the first from now on."""
    assert job.state in ENDED, "a job keeps its place until it has ended"
    found = ledger.look_up(
        "SELECT namespace, queue, unique_key, place FROM unique_keys WHERE job = ? AND place > 0", (job.row,)
    )
    if not found:
        return None
    *name, place = found[0]
    give_up(ledger, job)
    if place != KeyPlace.FIRST:
        return None
    waiting = ledger.query(
        "SELECT jobs.id FROM unique_keys JOIN jobs ON jobs.job = unique_keys.job"
        " WHERE unique_keys.namespace = ? AND unique_keys.queue = ? AND unique_key = ? AND place = 2",
        name,
    )
    if not waiting:
        return None
    following = ledger.job(JobId(bytes(waiting[0][0])))
    assert following is not None, "a place without its job"
    ledger.run("UPDATE unique_keys SET place = 1 WHERE job = ?", (following.row,))
    return following


def waits_for_key(ledger: Ledger, job: Job) -> bool:
    """Whether another job with its key has to end before this one may run."""
    return bool(ledger.look_up("SELECT 1 FROM unique_keys WHERE job = ? AND place = 2", (job.row,)))


def newest_with_key(connection: Connection, namespace: str, queue: str, key: str) -> JobId | None:
    """The newest job with a key, ended or not."""
    found = connection.rows(
        "SELECT jobs.id FROM unique_keys JOIN jobs ON jobs.job = unique_keys.job"
        " WHERE unique_keys.namespace = ? AND unique_keys.queue = ? AND unique_key = ?"
        " ORDER BY unique_keys.job DESC LIMIT 1",
        (namespace, queue, key),
    )
    return JobId(bytes(found[0][0])) if found else None
