"""What the scheduler looks at: a bounded window of ready jobs, key by key."""

from collections.abc import Iterable
from dataclasses import dataclass

from headrace_server.core.job import Job
from headrace_server.core.placement import Needs
from headrace_server.store import rows
from headrace_server.store.ledger import Ledger


@dataclass(frozen=True, slots=True)
class ReadyKey:
    """Jobs of one queue with the same needs, of which some are ready."""

    key: int
    namespace: str
    queue: str
    needs: Needs


def ready_keys(ledger: Ledger) -> list[ReadyKey]:
    """Every key with ready jobs."""
    found = ledger.query(
        "SELECT ready_keys.key, ready_groups.namespace, ready_groups.queue, ready_groups.needs FROM ready_groups"
        " JOIN ready_keys ON ready_keys.ready_group = ready_groups.ready_group"
        " WHERE ready_groups.ready > 0 AND ready_keys.ready > 0"
    )
    return [ReadyKey(key, namespace, queue, Needs.decode(needs)) for key, namespace, queue, needs in found]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A ready job, with what a worker needs in order to run it."""

    job: Job
    needs: Needs
    spec: bytes
    traceparent: str


def window(ledger: Ledger, key: ReadyKey, count: int) -> list[Candidate]:
    """The first ready jobs of a key by rank, at most `count`."""
    found = ledger.query(
        f"{rows.SELECT_WITH_SPEC} WHERE jobs.key = ? AND jobs.state = 3 AND jobs.holder = ''"
        " ORDER BY jobs.rank, jobs.job LIMIT ?",
        (key.key, count),
    )
    jobs = ledger.adopt(found)
    return [Candidate(job, key.needs, row[-2], row[-1]) for job, row in zip(jobs, found, strict=True)]


def held_window(ledger: Ledger, holders: Iterable[str], count: int) -> list[Candidate]:
    """The first jobs that wait for one of these workers, because it holds their session."""
    held: list[Candidate] = []
    for holder in holders:
        found = ledger.query(
            f"{rows.SELECT_WITH_SPEC} WHERE jobs.holder = ? AND jobs.holder <> '' AND jobs.state = 3"
            " ORDER BY jobs.rank, jobs.job LIMIT ?",
            (holder, count),
        )
        for job, row in zip(ledger.adopt(found), found, strict=True):
            held.append(Candidate(job, needs_of(ledger, job), row[-2], row[-1]))
    return held


def needs_of(ledger: Ledger, job: Job) -> Needs:
    """What a job needs of a worker."""
    found = ledger.look_up(
        "SELECT needs FROM ready_keys JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
        " WHERE key = ?",
        (job.key,),
    )
    return Needs.decode(found[0][0])
