"""What the scheduler looks at: jobs that became due, and a bounded window of ready jobs, key by key."""

from collections.abc import Iterable
from dataclasses import dataclass

from headrace_server.core import facts
from headrace_server.core.ids import Micros
from headrace_server.core.job import Job
from headrace_server.core.placement import Needs
from headrace_server.store import rows
from headrace_server.store.leases import hold_until
from headrace_server.store.ledger import Ledger

PROMOTED_COUNT_MAX = 1000
"""Jobs that one cycle promotes; what is left is due in the next."""


@dataclass(frozen=True, slots=True)
class ReadyKey:
    """Jobs of one queue with the same needs, of which some are ready."""

    key: int
    namespace: str
    queue: str
    needs: Needs


def promote_due(ledger: Ledger) -> int:
    """Queues the SCHEDULED jobs whose time has come; returns how many."""
    due = ledger.adopt(
        ledger.query(
            f"{rows.SELECT} WHERE state = 1 AND due <= ? ORDER BY due LIMIT ?", (ledger.now, PROMOTED_COUNT_MAX)
        )
    )
    for job in due:
        until = hold_until(ledger) if job.holder else Micros(0)
        ledger.record(job, facts.Queued(facts.QueuedCause.DUE, until))
    return len(due)


def next_due(ledger: Ledger) -> Micros | None:
    """When the next SCHEDULED job becomes due, or has waited long enough for the worker that holds its session."""
    due = ledger.query("SELECT min(due) FROM jobs WHERE state = 1")[0][0]
    held = ledger.query("SELECT min(due) FROM jobs WHERE state = 3 AND holder <> ''")[0][0]
    times = [time for time in (due, held) if time is not None]
    return Micros(min(times)) if times else None


def expired_holds(ledger: Ledger) -> list[Job]:
    """Jobs that waited long enough for the worker that holds their session."""
    return ledger.adopt(
        ledger.query(f"{rows.SELECT} WHERE state = 3 AND holder <> '' AND due <= ? LIMIT 100", (ledger.now,))
    )


def ready_keys(ledger: Ledger) -> list[ReadyKey]:
    """Every key with ready jobs."""
    found = ledger.query("SELECT key, namespace, queue, needs FROM ready_keys WHERE ready > 0")
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
    return Needs.decode(ledger.look_up("SELECT needs FROM ready_keys WHERE key = ?", (job.key,))[0][0])
