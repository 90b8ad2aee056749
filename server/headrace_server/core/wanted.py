"""Which attempts have to end, and why: what is said to their workers again and again until it is done (C2, C3, Q7)."""

from dataclasses import dataclass
from enum import IntEnum

from headrace_server.core.job import Job
from headrace_server.core.states import LEASED, JobState


class WantedEnd(IntEnum):
    """How an attempt is to end; numbers are those of `WantedState` in worker_service.proto."""

    CANCEL = 2
    """By the cancel ladder, and it is reported as cancelled."""
    RETURN = 5
    """The same way, and it is handed back: its job runs again."""


class StopCause(IntEnum):
    """Why an attempt has to end; numbers are those of `StopCause` in worker_service.proto."""

    CANCEL = 1
    TIMEOUT = 2
    BUDGET = 3
    DRAIN = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """An attempt that has to end."""

    job: Job
    end: WantedEnd
    cause: StopCause
    grace_micros: int
    """From the first word to SIGTERM."""


def wanted_end(job: Job, *, drained: bool, overspent: bool = False) -> tuple[WantedEnd, StopCause] | None:
    """What is wanted of the job's attempt besides going on; `drained` when what its queue or worker runs is to be
    handed back, `overspent` when it has used more than it may. A cancel comes before a timeout, then what it has used,
    and all of them before a drain."""
    if job.state not in LEASED:
        return None
    if job.state is JobState.CANCELLING:
        return WantedEnd.CANCEL, StopCause.CANCEL
    if job.timed_out:
        return WantedEnd.CANCEL, StopCause.TIMEOUT
    if overspent:
        return WantedEnd.CANCEL, StopCause.BUDGET
    return (WantedEnd.RETURN, StopCause.DRAIN) if drained else None
