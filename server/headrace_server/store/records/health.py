"""What one look at the store needs: jobs, queues and workers, counted. Cheap whatever the number of jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headrace_server.core.budgets import Budget, Spending
from headrace_server.core.capacity import Domain
from headrace_server.core.health import QueueFill
from headrace_server.core.ids import Micros
from headrace_server.core.placement import Needs
from headrace_server.core.sessions import SessionState
from headrace_server.core.states import JobState
from headrace_server.store.attempts.inputs import OpenCount, count_open
from headrace_server.store.capacity.budgets import read_low
from headrace_server.store.capacity.domains import read_closed
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.new_job import DEFAULT_NAMESPACE
from headrace_server.store.queueing.queue_policy import read_policy
from headrace_server.store.sessions.counts import count_sessions

COUNTS_COUNT_MAX = 2000
"""Counts of jobs that are read one by one."""
OTHERS = ("other", "other")
"""In place of a namespace and queue, for all that have no room."""
QUEUES_COUNT_MAX = 2000
"""Queues whose saturation is looked at: those with the most jobs that wait."""
FULLEST_COUNT_MAX = 20
GROUPS_COUNT_MAX = 50
LOST_COUNT_MAX = 200
CLOSED_COUNT_MAX = 50

_COUNTS = "SELECT namespace, queue, state, jobs FROM state_counts ORDER BY namespace, queue, state LIMIT ?"
_TOTALS = "SELECT state, sum(jobs) FROM state_counts GROUP BY state"
_WAITING = (
    "SELECT counts.namespace, counts.queue, sum(counts.jobs) AS waiting, max(coalesce(queues.version, 0))"
    " FROM state_counts AS counts"
    " LEFT JOIN queues ON queues.namespace = counts.namespace AND queues.name = counts.queue"
    " WHERE counts.state IN (1, 2, 3) AND counts.jobs > 0"
    " GROUP BY counts.namespace, counts.queue ORDER BY waiting DESC LIMIT ?"
)
_BY_LOST = "SELECT lost > 0, count(*) FROM workers GROUP BY lost > 0"
_LATELY_LOST = "SELECT worker FROM workers WHERE lost > 0 AND renewed >= ? ORDER BY renewed DESC LIMIT ?"
_GROUPS = (
    "SELECT namespace, queue, needs, ready, sum(ready) OVER () FROM ready_groups WHERE ready > 0 AND NOT EXISTS ("
    "SELECT 1 FROM queue_stops AS stops WHERE stops.namespace = ready_groups.namespace"
    " AND stops.queue = ready_groups.queue AND (stops.kind = 2 OR stops.until = 0 OR stops.until > ?)"
    ") ORDER BY ready DESC LIMIT ?"
)


@dataclass(slots=True)
class QueueBounds:
    """How many jobs may wait in each queue, remembered while its version stays."""

    _known: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def of(self, connection: Connection, namespace: str, queue: str, version: int) -> int:
        """Zero for a queue that is gone."""
        known = self._known.get((namespace, queue))
        if known is not None and known[0] == version:
            return known[1]
        policy = read_policy(connection.rows, namespace, queue)
        bound = policy.max_queued if policy is not None else 0
        if len(self._known) >= 2 * QUEUES_COUNT_MAX:
            self._known.clear()
        self._known[namespace, queue] = (version, bound)
        return bound


@dataclass(frozen=True, slots=True)
class ReadyGroup:
    """Jobs with the same needs that wait for a worker."""

    queue: str
    needs: Needs
    jobs: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What a look at the store counts."""

    jobs: Sequence[tuple[str, str, JobState, int]] = ()
    """Namespace, queue, state and how many. Of very many queues, those without room are summed up."""
    fullest: Sequence[QueueFill] = ()
    ready: Sequence[ReadyGroup] = ()
    """The largest groups, of queues that nobody has stopped."""
    ready_jobs: int = 0
    """Jobs of all such groups."""
    workers: int = 0
    """Workers that are known and not lost, connected or not."""
    lost: int = 0
    lately_lost: Sequence[str] = ()
    sessions: Mapping[SessionState, int] = field(default_factory=dict)
    inputs: Sequence[OpenCount] = ()
    closed: Sequence[tuple[str, Domain]] = ()
    low_budgets: Sequence[tuple[Budget, Spending]] = ()


def count_all(connection: Connection, bounds: QueueBounds, now: Micros, lost_since: Micros) -> Counted:
    """Counts; `lost_since` is how old the last renewal of a lost worker may be for it to be named."""
    workers = {bool(lost): int(count) for lost, count in connection.rows(_BY_LOST)}
    lately = connection.rows(_LATELY_LOST, (lost_since, LOST_COUNT_MAX))
    groups = connection.rows(_GROUPS, (now, GROUPS_COUNT_MAX))
    return Counted(
        jobs=_jobs(connection),
        fullest=_fullest(connection, bounds),
        ready=[ReadyGroup(_name(row[0], row[1]), Needs.decode(row[2]), int(row[3])) for row in groups],
        ready_jobs=int(groups[0][4]) if groups else 0,
        workers=workers.get(False, 0),
        lost=workers.get(True, 0),
        lately_lost=[str(row[0]) for row in lately],
        sessions=count_sessions(connection),
        inputs=count_open(connection),
        closed=read_closed(connection.rows, now, CLOSED_COUNT_MAX),
        low_budgets=read_low(connection.rows, now),
    )


def _jobs(connection: Connection) -> list[tuple[str, str, JobState, int]]:
    found = connection.rows(_COUNTS, (COUNTS_COUNT_MAX,))
    jobs = [(str(space), str(queue), JobState(state), int(count)) for space, queue, state, count in found]
    if len(jobs) == COUNTS_COUNT_MAX:
        left = {JobState(state): int(count) for state, count in connection.rows(_TOTALS)}
        for _, _, state, count in jobs:
            left[state] -= count
        jobs += [(*OTHERS, state, count) for state, count in left.items()]
    return jobs


def _fullest(connection: Connection, bounds: QueueBounds) -> list[QueueFill]:
    found = [
        QueueFill(_name(namespace, queue), int(waiting), bounds.of(connection, namespace, queue, int(version)))
        for namespace, queue, waiting, version in connection.rows(_WAITING, (QUEUES_COUNT_MAX,))
    ]
    found.sort(key=lambda fill: (-fill.saturation, fill.queue))
    return found[:FULLEST_COUNT_MAX]


def _name(namespace: str, queue: str) -> str:
    """As a person writes it: the namespace only where it is not the default one."""
    return queue if namespace == DEFAULT_NAMESPACE else f"{namespace}/{queue}"
