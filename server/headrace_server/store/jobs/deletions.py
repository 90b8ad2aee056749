"""Deleting jobs that have ended, with their logs: by somebody's word, or because they ended long ago (E8, I14).

The job, its small log and everything about it go in one transaction. A long log is removed later, in steps, so that it
never makes a long transaction. What stays for a while is its `request_id` (S1), and for its children how it ended.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from headrace.v1 import job_pb2
from headrace_server.core.ids import JobId, Micros, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED
from headrace_server.store.attempts.artifacts import remove_artifacts
from headrace_server.store.engine import Connection, in_list
from headrace_server.store.etags import stale_etag
from headrace_server.store.jobs.cancel import not_found
from headrace_server.store.jobs.retries import not_ended
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit
from headrace_server.store.sessions.line import remove_turn
from headrace_server.store.sessions.snapshots import kept_by
from headrace_server.store.settle import settle

SMALL_LOG_EVENTS_COUNT = 200
SMALL_LOG_BYTES = 256 * 1024
STEP_EVENTS_COUNT = 500
STEP_BYTES = 4 * 1024 * 1024


class Removed(NamedTuple):
    """Part of a log that was removed."""

    last_sequence: int
    events_count: int
    bytes_count: int


def delete(ledger: Ledger, namespace: str, job_id: JobId, etag: str, actor: str) -> Refusal | None:
    """Deletes a job that has ended."""
    job = ledger.job(job_id)
    if job is None or job.namespace != namespace:
        return not_found(job_id)
    if job.state not in ENDED:
        return not_ended(job, "deleted")
    text = job_id_text(job_id)
    refusal = stale_etag("Job", text, job.sequence, etag)
    if refusal is not None:
        return refusal
    session_id = kept_by(ledger.look_up, [job.row]).get(job.row)
    if session_id is not None:
        return _snapshot_needed(text, session_id)
    record_audit(ledger, actor, "JobService.DeleteJob", namespace, "job", text, f"it had ended as {job.state.name}")
    remove(ledger, [job])
    return None


def remove_ended(ledger: Ledger, job_ids: Iterable[JobId], ended_by: Micros) -> int:
    """Deletes those of some jobs that had ended by a time, but for what a session would go on from; says how many."""
    old = [job for job in ledger.jobs(job_ids).values() if job.state in ENDED and job.ended <= ended_by]
    kept = kept_by(ledger.look_up, [job.row for job in old if job.turn is not None])
    jobs = [job for job in old if job.row not in kept]
    remove(ledger, jobs)
    return len(jobs)


def _snapshot_needed(job_id: str, session_id: JobId) -> Refusal:
    session = job_id_text(session_id)
    message = f"job {job_id} keeps the snapshot that session {session} or a fork would go on from; close it first"
    return Refusal(Reason.SNAPSHOT_NEEDED, message, "headrace.v1.Session", session)


def remove(ledger: Ledger, jobs: Sequence[Job]) -> None:
    """Takes ended jobs out of the store."""
    if not jobs:
        return
    # Whoever waits for one of them that has only just ended has to be found first.
    settle(ledger)
    specs = _specs(ledger, jobs)
    for job in jobs:
        spec, request_id = specs[job.row]
        if request_id:
            ledger.run(
                "UPDATE requests SET deleted = ?, state = ? WHERE namespace = ? AND request_id = ? AND id = ?",
                (ledger.now, int(job.state), job.namespace, request_id, job.id),
            )
        if job.unique:
            ledger.run(
                "UPDATE requests SET deleted = ?, state = ? WHERE id = ? AND borrowed = 1",
                (ledger.now, int(job.state), job.id),
            )
        for label, value in spec.labels.items():
            ledger.run(
                "DELETE FROM job_labels WHERE namespace = ? AND label = ? AND value = ? AND job = ?",
                (job.namespace, label, value, job.row),
            )
        _remove_lineage(ledger, job)
        if job.turn is not None:
            remove_turn(ledger, job.turn)
        _remove_log(ledger, job)
    remove_artifacts(ledger, [job.row for job in jobs])
    marks, values = in_list([job.row for job in jobs])
    for table, column in (
        ("job_specs", "job"),
        ("unique_keys", "job"),
        ("checkpoints", "job"),
        ("inputs", "job"),
        ("commands", "job"),
        ("late_results", "job"),
        ("dropped_outputs", "job"),
        ("session_snapshots", "job"),
        ("dependencies", "child"),
    ):
        ledger.run(f"DELETE FROM {table} WHERE {column} IN ({marks})", values)
    ledger.remove(jobs)


def _specs(ledger: Ledger, jobs: Sequence[Job]) -> dict[int, tuple[job_pb2.JobSpec, str]]:
    marks, values = in_list([job.row for job in jobs])
    found = ledger.query(f"SELECT job, spec, request_id FROM job_specs WHERE job IN ({marks})", values)
    return {int(row): (job_pb2.JobSpec.FromString(spec), str(request_id)) for row, spec, request_id in found}


def _remove_lineage(ledger: Ledger, job: Job) -> None:
    ledger.run("DELETE FROM retries WHERE origin = ?", (job.row,))
    if job.origin.retry_of is not None:
        ledger.run(
            "DELETE FROM retries WHERE origin = (SELECT job FROM jobs WHERE id = ?) AND job = ?",
            (job.origin.retry_of, job.row),
        )


def _remove_log(ledger: Ledger, job: Job) -> None:
    if job.sequence > SMALL_LOG_EVENTS_COUNT or job.output_bytes > SMALL_LOG_BYTES:
        ledger.insert("removals", ("job",), [(job.row,)])
        return
    ledger.run("DELETE FROM outputs WHERE job = ?", (job.row,))
    ledger.run("DELETE FROM events WHERE job = ?", (job.row,))


def remove_some_log(ledger: Ledger) -> bool:
    """Removes a bounded part of the log of one job that was deleted; False when nothing is left to remove."""
    found = ledger.look_up("SELECT job FROM removals ORDER BY job LIMIT 1")
    if not found:
        return False
    row = int(found[0][0])
    removed = remove_part(ledger, "outputs", row, STEP_EVENTS_COUNT, STEP_BYTES)
    if not (removed or remove_part(ledger, "events", row, STEP_EVENTS_COUNT, STEP_BYTES)):
        ledger.run("DELETE FROM removals WHERE job = ?", (row,))
    return True


def remove_part(ledger: Ledger, table: str, row: int, count_max: int, bytes_max: int) -> Removed | None:
    """Removes rows from the beginning of a log, at least one and of bounded size; None when none is left."""
    found = ledger.look_up(
        f"SELECT sequence, length(body) FROM {table} WHERE job = ? ORDER BY sequence LIMIT ?", (row, count_max)
    )
    if not found:
        return None
    count, size, last = 0, 0, 0
    for sequence, length in found:
        if count and size + length > bytes_max:
            break
        count, size, last = count + 1, size + length, int(sequence)
    ledger.run(f"DELETE FROM {table} WHERE job = ? AND sequence <= ?", (row, last))
    return Removed(last, count, size)


def ended_long_ago(connection: Connection, after: int, ended_by: Micros, count: int) -> tuple[list[JobId], int | None]:
    """Jobs that had ended by a time and that no session would go on from, of the next `count` rows after one, and the
    row to go on after; None when no later job can have ended by then. Rows are in the order of submits, so only old
    ones are looked at."""
    found = connection.rows(
        "SELECT job, id, created, ended FROM jobs WHERE job > ? ORDER BY job LIMIT ?", (after, count)
    )
    old = [row for row in found if row[2] <= ended_by]
    ended = [(row, job_id) for row, job_id, _, ended in old if 0 < ended <= ended_by]
    kept = kept_by(connection.rows, [row for row, _ in ended])
    ids = [JobId(bytes(job_id)) for row, job_id in ended if row not in kept]
    return ids, int(old[-1][0]) if len(old) == count else None
