"""What a caller narrows a list of jobs down to: the meaning of a filter, not its text."""

from dataclasses import dataclass

from headrace_server.core.ids import JobId


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Every term has to hold; of a term's values one. An empty term is no term."""

    states: frozenset[str] = frozenset()
    """Names of `JobState`, e.g. `RUNNING`."""
    queues: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    worker_ids: tuple[str, ...] = ()
    session_ids: tuple[JobId, ...] = ()
    """Of the sessions whose turns they are."""
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Key and values, each key once."""
