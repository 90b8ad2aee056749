"""The states of a job, and the groups of them that the rules speak of. Numbers are those of `JobState` in job.proto."""

from enum import IntEnum


class JobState(IntEnum):
    """Where a job is in its life."""

    SCHEDULED = 1
    BLOCKED = 2
    QUEUED = 3
    ASSIGNED = 4
    RUNNING = 5
    WAITING_INPUT = 6
    CANCELLING = 7
    SUCCEEDED = 20
    FAILED = 21
    CANCELLED = 22
    EXPIRED = 23
    SKIPPED = 24


WAITING = frozenset({JobState.SCHEDULED, JobState.BLOCKED, JobState.QUEUED})
"""Not started: counted against `max_queued`."""

LEASED = frozenset({JobState.ASSIGNED, JobState.RUNNING, JobState.WAITING_INPUT, JobState.CANCELLING})
"""A worker holds a lease on it. ASSIGNED counts as started."""

ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.SKIPPED})
"""Terminal."""
