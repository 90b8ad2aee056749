"""The times that a job keeps, and what is to be done when one has come (C3, R1, R6).

`next_look` is the one time at which somebody has to look at a job again; `due` says what for. Both read the row only,
so a look that comes too early, or twice, does no harm.
"""

from enum import Enum

from headrace_server.core.failures import TimeoutKind
from headrace_server.core.ids import Micros
from headrace_server.core.job import Job
from headrace_server.core.states import WAITING, JobState

NEVER = Micros(0)


class Due(Enum):
    """What is to be done with a job."""

    PROMOTE = "promote"
    """Its schedule time or backoff has passed: it waits for a worker from now on."""
    GIVE_UP_HOLDER = "give up holder"
    """The worker that could resume its session did not come back."""
    EXPIRE = "expire"
    """It was not started in time."""
    END = "end"
    """Its time is over while no attempt runs."""
    EXPIRE_INPUT = "expire input"
    """Nobody has answered what the session asked."""
    STOP = "stop"
    """A timeout passed while an attempt runs."""


def next_look(job: Job) -> Micros:
    """When somebody has to look at the job again; zero when no time has to be kept."""
    if not (job.due or job.start_by or job.end_by or job.run_by or job.silence or job.open_inputs):
        return NEVER
    state = job.state
    if state in WAITING:
        until = NEVER if state is JobState.BLOCKED else job.due
        times = (until, NEVER if job.started else job.start_by, job.end_by)
    elif state is JobState.RUNNING and not job.timed_out:
        silent_until = Micros(job.updated + job.silence) if job.silence else NEVER
        times = (job.run_by, silent_until, job.end_by)
    elif state is JobState.WAITING_INPUT and not job.timed_out:
        times = (NEVER, input_due(job), job.end_by)
    elif state is JobState.ASSIGNED and not job.timed_out:
        times = (NEVER, NEVER, job.end_by)
    else:
        return NEVER
    return min((time for time in times if time), default=NEVER)


def due(job: Job, now: Micros) -> tuple[Due, TimeoutKind | None] | None:
    """What is to be done with a job now, the gravest first; None when its time has not come."""
    if job.state in WAITING:
        return _due_waiting(job, now)
    if job.timed_out or job.state not in (JobState.ASSIGNED, JobState.RUNNING, JobState.WAITING_INPUT):
        return None
    if _passed(job.end_by, now):
        return Due.STOP, TimeoutKind.TOTAL
    if job.state is JobState.RUNNING:
        if _passed(job.run_by, now):
            return Due.STOP, TimeoutKind.RUN
        if job.silence and job.updated + job.silence <= now:
            return Due.STOP, TimeoutKind.SILENCE
    elif job.state is JobState.WAITING_INPUT and _passed(input_due(job), now):
        return Due.EXPIRE_INPUT, None
    return None


def input_due(job: Job) -> Micros:
    """When the first of what is asked of a person expires; zero when nothing does."""
    return min((one.expires for one in job.open_inputs if one.expires), default=NEVER)


def _due_waiting(job: Job, now: Micros) -> tuple[Due, TimeoutKind | None] | None:
    if _passed(job.end_by, now):
        return (Due.END if job.started else Due.EXPIRE), TimeoutKind.TOTAL
    if not job.started and _passed(job.start_by, now):
        return Due.EXPIRE, TimeoutKind.QUEUE
    if job.state is JobState.SCHEDULED and job.due <= now:
        return Due.PROMOTE, None
    if job.state is JobState.QUEUED and job.holder and _passed(job.due, now):
        return Due.GIVE_UP_HOLDER, None
    return None


def _passed(time: Micros, now: Micros) -> bool:
    return 0 < time <= now
