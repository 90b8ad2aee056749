"""What the scheduler looks at: jobs that became due, and a bounded window of ready jobs, key by key."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headrace.v1 import job_pb2

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


def window(ledger: Ledger, key: int, count: int) -> list[Job]:
    """The first ready jobs of a key by rank, at most `count`."""
    return ledger.adopt(
        ledger.query(
            f"{rows.SELECT} WHERE key = ? AND state = 3 AND holder = '' ORDER BY rank, job LIMIT ?", (key, count)
        )
    )


def held_window(ledger: Ledger, holders: Iterable[str], count: int) -> list[Job]:
    """The first jobs that wait for one of these workers, because it holds their session."""
    held: list[Job] = []
    for holder in holders:
        held += ledger.adopt(
            ledger.query(
                f"{rows.SELECT} WHERE holder = ? AND holder <> '' AND state = 3 ORDER BY rank, job LIMIT ?",
                (holder, count),
            )
        )
    return held


def needs_of(ledger: Ledger, job: Job) -> Needs:
    """What a job needs of a worker."""
    return Needs.decode(ledger.look_up("SELECT needs FROM ready_keys WHERE key = ?", (job.key,))[0][0])


def specs_of(ledger: Ledger, jobs: Sequence[Job]) -> dict[int, tuple[job_pb2.JobSpec, str]]:
    """Specs and trace contexts by row of the job."""
    specs: dict[int, tuple[job_pb2.JobSpec, str]] = {}
    for start in range(0, len(jobs), 512):
        chunk = [job.row for job in jobs[start : start + 512]]
        padded = chunk + [0] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))
        marks = ",".join("?" * len(padded))
        for row, spec, traceparent in ledger.query(
            f"SELECT job, spec, traceparent FROM job_specs WHERE job IN ({marks})", padded
        ):
            specs[row] = (job_pb2.JobSpec.FromString(spec), traceparent)
    return specs
