"""Reading jobs, and single events of their logs. Every function reads one moment of the store."""

from collections.abc import Sequence

from headrace.v1 import event_pb2, job_pb2
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.limits import QUEUE_POSITION_MAX
from headrace_server.core.placement import Needs
from headrace_server.core.states import ENDED, JobState
from headrace_server.store import rows
from headrace_server.store.codec import time_of
from headrace_server.store.engine import Connection


def generation(connection: Connection) -> int:
    """Of the store; a restore bumps it."""
    return int(connection.rows("SELECT value FROM sequences WHERE name = 'generation'")[0][0])


def latest_time(connection: Connection) -> Micros:
    """The latest time that is known to have been stored; zero when nothing was."""
    found = connection.rows("SELECT body FROM events ORDER BY position DESC LIMIT 1")
    event = Micros(0) if not found else time_of(event_pb2.Event.FromString(found[0][0]).time)
    renewed = connection.rows("SELECT coalesce(max(renewed), 0) FROM workers")[0][0]
    return max(event, Micros(renewed))


def get_job(connection: Connection, namespace: str, job_id: JobId) -> Job | None:
    """A job, or None when the namespace has none such."""
    found = connection.rows(f"{rows.SELECT} WHERE id = ? AND namespace = ?", (job_id, namespace))
    return rows.job_of(found[0]) if found else None


def get_specs(connection: Connection, jobs: Sequence[Job]) -> dict[int, bytes]:
    """Serialised specs by row of the job."""
    specs: dict[int, bytes] = {}
    for start in range(0, len(jobs), 500):
        chunk = [job.row for job in jobs[start : start + 500]]
        marks = ",".join("?" * len(chunk))
        found = connection.rows(f"SELECT job, spec FROM job_specs WHERE job IN ({marks})", chunk)
        specs.update((row, bytes(spec)) for row, spec in found)
    return specs


def traceparents(connection: Connection, jobs: Sequence[int]) -> dict[int, str]:
    """The trace context that each job was submitted with, by row of the job; none for those that have none."""
    found: dict[int, str] = {}
    for start in range(0, len(jobs), 500):
        chunk = jobs[start : start + 500]
        marks = ",".join("?" * len(chunk))
        found.update(
            (int(row), traceparent)
            for row, traceparent in connection.rows(
                f"SELECT job, traceparent FROM job_specs WHERE job IN ({marks}) AND traceparent <> ''", chunk
            )
        )
    return found


def get_spec(connection: Connection, job: Job) -> job_pb2.JobSpec:
    """What the client asked for."""
    return job_pb2.JobSpec.FromString(get_specs(connection, [job])[job.row])


def last_event(connection: Connection, job: Job) -> event_pb2.Event | None:
    """The terminal event of a job that has ended: it holds the result."""
    if job.state not in ENDED:
        return None
    found = connection.rows("SELECT body FROM events WHERE job = ? AND sequence = ?", (job.row, job.sequence))
    return event_pb2.Event.FromString(found[0][0]) if found else None


def lifecycle_events(connection: Connection, job: Job, count: int) -> list[event_pb2.Event]:
    """The latest events of a job that are not output, oldest first."""
    found = connection.rows("SELECT body FROM events WHERE job = ? ORDER BY sequence DESC LIMIT ?", (job.row, count))
    return [event_pb2.Event.FromString(body) for (body,) in reversed(found)]


def late_results(connection: Connection, job: Job) -> list[tuple[int, int, bytes]]:
    """What fenced attempts of a job reported: epoch, time received, the finish as the worker sent it."""
    return [
        (epoch, received, bytes(body))
        for epoch, received, body in connection.rows(
            "SELECT epoch, received, body FROM late_results WHERE job = ? ORDER BY epoch", (job.row,)
        )
    ]


def queue_position(connection: Connection, job: Job) -> int:
    """Place among the QUEUED jobs of its queue, from 1; zero when it is not queued or too far back to count."""
    if job.state is not JobState.QUEUED:
        return 0
    before = 0
    keys = connection.rows(
        "SELECT ready_keys.key FROM ready_groups JOIN ready_keys ON ready_keys.ready_group = ready_groups.ready_group"
        " WHERE ready_groups.namespace = ? AND ready_groups.queue = ? AND ready_groups.ready > 0"
        " AND ready_keys.ready > 0 AND (ready_keys.head, ready_keys.head_job) < (?, ?)",
        (job.namespace, job.queue, job.rank, job.row),
    )
    for (key,) in keys:
        before += connection.rows(
            "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE key = ? AND state = 3 AND holder = ''"
            " AND (rank, job) < (?, ?) LIMIT ?)",
            (key, job.rank, job.row, QUEUE_POSITION_MAX + 1),
        )[0][0]
        if before >= QUEUE_POSITION_MAX:
            return 0
    return before + 1


def job_needs(connection: Connection, job: Job) -> Needs:
    """What a job needs of a worker that has not ended; of an ended one it may be forgotten."""
    found = connection.rows(
        "SELECT needs FROM ready_keys JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
        " WHERE key = ?",
        (job.key,),
    )
    return Needs.decode(found[0][0])


def state_counts(connection: Connection, namespace: str, queues: Sequence[str]) -> list[tuple[int, int]]:
    """Jobs by state, over some queues or, with none named, over all."""
    condition = f" AND queue IN ({','.join('?' * len(queues))})" if queues else ""
    found = connection.rows(
        f"SELECT state, sum(jobs) FROM state_counts WHERE namespace = ?{condition} GROUP BY state HAVING sum(jobs) > 0"
        " ORDER BY state",
        (namespace, *queues),
    )
    return [(int(state), int(jobs)) for state, jobs in found]
