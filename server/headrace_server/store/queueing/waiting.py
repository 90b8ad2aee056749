"""What a job that has not started waits for, as far as the store knows, read in one moment (Q8). The text is made
elsewhere."""

from dataclasses import dataclass

from headrace_server.core.fairness import FairnessScope, standings, weight_of
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.rates import RateLimit
from headrace_server.core.states import ENDED, WAITING, JobState
from headrace_server.store.capacity.waits import BudgetWait, DomainWait, budget_waits, domain_wait
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.dependencies import parent_states
from headrace_server.store.queueing import rate_buckets
from headrace_server.store.queueing.folders import FolderWait, folder_wait
from headrace_server.store.queueing.queue_limits import LEASED_STATES, key_running_count, running_count
from headrace_server.store.queueing.queue_policy import QueuePolicy, read_policy
from headrace_server.store.queueing.queue_stops import NO_STOP, Stop, stop_of
from headrace_server.store.queueing.ready import running_shares
from headrace_server.store.queueing.shares import usages_of
from headrace_server.store.sessions.line import turn_before
from headrace_server.store.sessions.moves import way_out

NAMED_COUNT_MAX = 5
"""Jobs that a reason names."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A limit on concurrency that is reached."""

    running: int
    most: int
    holders: tuple[JobId, ...] = ()
    """Of a key: some of the jobs that run."""


@dataclass(frozen=True, slots=True)
class Spent:
    """A rate limit without a token left."""

    limit: RateLimit
    until: Micros


@dataclass(frozen=True, slots=True)
class ShareStanding:
    """How far the share of a job in a fair queue is, next to the one whose turn it is. Slot-seconds by weight."""

    name: str
    consumed: float
    first: str
    first_consumed: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """What keeps a job from starting. Nothing is set that does not."""

    stop: Stop = NO_STOP
    parents: tuple[tuple[JobId, JobState], ...] = ()
    """Jobs that it depends on and that have not ended."""
    active: JobId | None = None
    """The active job with its unique key."""
    turn_before: tuple[JobId, int] | None = None
    """Job and number of the turn of its session that has to end first."""
    queue: Reached | None = None
    key: Reached | None = None
    queue_rate: Spent | None = None
    key_rate: Spent | None = None
    folder: FolderWait | None = None
    share: ShareStanding | None = None
    """Only when another share goes first."""
    domain: DomainWait | None = None
    budgets: tuple[BudgetWait, ...] = ()
    snapshot_turn: int = 0
    """Of a turn that waits for its worker: the turn from whose snapshot it goes on elsewhere once that is lost."""


NOT_WAITING = Waiting()


def read_waiting(connection: Connection, job: Job, now: Micros) -> Waiting:
    """What keeps a job from starting now."""
    if job.state not in WAITING:
        return NOT_WAITING
    stop = stop_of(connection.rows, job.namespace, job.queue, now)
    if job.state is JobState.BLOCKED:
        before = turn_before(connection.rows, job.turn) if job.turn is not None else None
        return Waiting(stop, _open_parents(connection, job), _active(connection, job), before)
    policy = read_policy(connection.rows, job.namespace, job.queue)
    if job.state is not JobState.QUEUED or policy is None:
        return Waiting(stop)
    return Waiting(
        stop,
        queue=_queue_reached(connection, job, policy),
        key=_key_reached(connection, job, policy),
        queue_rate=_spent(connection, job, policy.rate_limit, "", now),
        key_rate=_spent(connection, job, policy.rate_limit_per_key, job.concurrency_key, now)
        if job.concurrency_key
        else None,
        folder=folder_wait(connection.rows, job),
        share=_share(connection, job, policy, now),
        domain=domain_wait(connection.rows, job.key, now),
        budgets=budget_waits(connection.rows, job, now),
        snapshot_turn=way_out(connection.rows, job) if job.holder else 0,
    )


def _open_parents(connection: Connection, job: Job) -> tuple[tuple[JobId, JobState], ...]:
    parents = parent_states(connection, job)
    return tuple((job_id, state) for job_id, state in parents if state is not None and state not in ENDED)


def _active(connection: Connection, job: Job) -> JobId | None:
    if not job.unique:
        return None
    found = connection.rows(
        "SELECT jobs.id FROM unique_keys AS own JOIN unique_keys AS others ON others.namespace = own.namespace"
        " AND others.queue = own.queue AND others.unique_key = own.unique_key JOIN jobs ON jobs.job = others.job"
        " WHERE own.job = ? AND own.place = 2 AND others.place = 1",
        (job.row,),
    )
    return JobId(bytes(found[0][0])) if found else None


def _queue_reached(connection: Connection, job: Job, policy: QueuePolicy) -> Reached | None:
    if not policy.max_concurrency:
        return None
    running = running_count(connection.rows, job.namespace, job.queue)
    return Reached(running, policy.max_concurrency) if running >= policy.max_concurrency else None


def _key_reached(connection: Connection, job: Job, policy: QueuePolicy) -> Reached | None:
    if not (policy.max_concurrency_per_key and job.concurrency_key):
        return None
    name = (job.namespace, job.queue, job.concurrency_key)
    running = key_running_count(connection.rows, *name)
    if running < policy.max_concurrency_per_key:
        return None
    holders = connection.rows(
        f"SELECT id FROM jobs WHERE state IN {LEASED_STATES} AND namespace = ? AND queue = ? AND concurrency_key = ?"
        " ORDER BY job LIMIT ?",
        (*name, NAMED_COUNT_MAX),
    )
    return Reached(running, policy.max_concurrency_per_key, tuple(JobId(bytes(job_id)) for (job_id,) in holders))


def _spent(connection: Connection, job: Job, limit: RateLimit | None, key: str, now: Micros) -> Spent | None:
    if limit is None:
        return None
    full_at = limit.bounded(rate_buckets.full_at(connection.rows, job.namespace, job.queue, key), now)
    return None if limit.available(full_at, now) else Spent(limit, limit.next_token(full_at))


def _share(connection: Connection, job: Job, policy: QueuePolicy, now: Micros) -> ShareStanding | None:
    scope, queue = policy.fairness, (job.namespace, job.queue)
    if scope is FairnessScope.NONE:
        return None
    own = job.owner if scope is FairnessScope.OWNER else job.concurrency_key
    usages = usages_of(connection.rows, *queue, scope)
    waiting = {own, *(name for name, usage in usages.items() if usage.active)}
    running = running_shares(connection.rows, *queue, scope, now)
    consumed = standings(usages, running, waiting, policy.weights, now).consumed
    first = min(consumed, key=lambda name: (consumed[name], name != own))
    if first == own or weight_of(policy.weights, own) <= 0:
        return None
    return ShareStanding(own, consumed[own], first, consumed[first])
