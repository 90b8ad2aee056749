"""Output of jobs that ended long ago: found, and removed in bounded steps, while the rest of their logs stays (E8).

How far it was removed is kept beside the job, so that readers can be told what is missing.
"""

from collections.abc import Sequence

from headrace_server.core.ids import JobId, Micros
from headrace_server.core.states import ENDED
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.deletions import remove_part
from headrace_server.store.ledger import Ledger

STEP_EVENTS_COUNT = 2000
STEP_BYTES = 4 * 1024 * 1024
_LATER = "ON CONFLICT (job) DO UPDATE SET up_to = excluded.up_to"


def old_outputs(connection: Connection, after: int, ended_by: Micros, count: int) -> tuple[list[JobId], int | None]:
    """Jobs with output that had ended by a time, of the next `count` with output after a row, and the row to go on
    after; None when no later job can have ended by then. Rows are in the order of submits, and only those with output
    are visited."""
    ids: list[JobId] = []
    for _ in range(count):
        (row,) = connection.rows("SELECT min(job) FROM outputs WHERE job > ?", (after,))[0]
        if row is None:
            return ids, None
        found = connection.rows("SELECT id, created, ended FROM jobs WHERE job = ?", (row,))
        # A job that was deleted may have output left for a while.
        for job_id, created, ended in found:
            if created > ended_by:
                return ids, None
            if 0 < ended <= ended_by:
                ids.append(JobId(bytes(job_id)))
        after = int(row)
    return ids, after


def drop_outputs(ledger: Ledger, ids: Sequence[JobId], ended_by: Micros) -> int:
    """Removes a bounded part of the output of jobs, in order; of how many of them, from the first on, nothing is left
    to remove. Those that had not ended by a time are left alone."""
    count, size = STEP_EVENTS_COUNT, STEP_BYTES
    jobs = ledger.jobs(ids)
    for done, job_id in enumerate(ids):
        job = jobs.get(job_id)
        if job is None or job.state not in ENDED or job.ended > ended_by:
            continue
        while removed := remove_part(ledger, "outputs", job.row, count, size):
            ledger.insert("dropped_outputs", ("job", "up_to"), [(job.row, removed.last_sequence)], _LATER)
            count, size = count - removed.events_count, size - removed.bytes_count
            if count <= 0 or size <= 0:
                return done
    return len(ids)
