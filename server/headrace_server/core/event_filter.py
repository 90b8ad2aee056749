"""What a reader narrows the feed down to: the meaning of a filter, not its text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Every term has to hold; of a term's values one. An empty term is no term."""

    types: frozenset[str] = frozenset()
    """Names of kinds of events, e.g. `attempt_failed`."""
    queues: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    job_ids: frozenset[str] = frozenset()
    """As text."""
    worker_ids: frozenset[str] = frozenset()
    """Of the attempt that an event belongs to."""
    schedules: frozenset[str] = frozenset()
    """That made the job."""
    session_ids: frozenset[str] = frozenset()
    """As text; of the session whose turn the job is."""
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Key and values, each key once."""
