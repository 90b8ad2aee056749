"""What has to be true of the capacity domains and budgets of every store at every moment (X5, X6, I15)."""

from headrace.v1 import event_pb2
from headrace_server.core import lifecycle, prices
from headrace_server.core.budgets import BudgetPeriod, day_of, tokens_of
from headrace_server.core.capacity import family_of_domain
from headrace_server.core.ids import Micros
from headrace_server.core.job import Job, Usage
from headrace_server.core.placement import Needs
from headrace_server.core.states import LEASED
from headrace_server.store import codec
from headrace_server.store.decoding import decode
from headrace_server.store.engine import Connection

Paid = tuple[Micros, str, int, int]
"""When an attempt ended, whose it was, what it cost in millionths of a dollar, and its tokens."""


def check_capacity(connection: Connection, logs: dict[int, tuple[Job, list[event_pb2.Event]]]) -> None:
    """Everything; `logs` has every job whose whole log is there, by row."""
    domains = _check_groups(connection)
    _check_reservations(connection, {row: job for row, (job, _) in logs.items()}, domains)
    jobs_made = int(connection.rows("SELECT value FROM sequences WHERE name = 'job'")[0][0])
    if jobs_made == len(logs):
        paid = [one for job, log in logs.values() for one in _paid(job, log, domains.get(job.key, ""))]
        _check_spent(connection, paid)


def _check_groups(connection: Connection) -> dict[int, str]:
    """X5: a group's domain is that of its needs; by ready key."""
    for needs, domain in connection.rows("SELECT needs, domain FROM ready_groups"):
        assert Needs.decode(needs).domain in (domain, "default/default"), needs
    return dict(
        connection.rows(
            "SELECT key, domain FROM ready_keys JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
        )
    )


def _check_reservations(connection: Connection, jobs: dict[int, Job], domains: dict[int, str]) -> None:
    """I15: what is reserved is that of Claude jobs that workers hold, and of nobody else."""
    for row, namespace, owner, reserved, used in connection.rows(
        "SELECT job, namespace, owner, reserved, used FROM reservations"
    ):
        assert reserved >= 0
        assert used >= 0
        if row in jobs:
            job = jobs[row]
            assert job.state in LEASED
            assert (job.namespace, job.owner) == (namespace, owner)
            assert domains[job.key]


def _paid(job: Job, log: list[event_pb2.Event], domain: str) -> list[Paid]:
    if not domain:
        return []
    paid: list[Paid] = []
    folded = Job(
        **{
            name: getattr(job, name) for name in ("row", "id", "namespace", "queue", "owner", "key", "rank", "priority")
        },
        created=job.created,
        output_bytes_max=job.output_bytes_max,
        timeouts=job.timeouts,
    )
    for event in log:
        before, time = folded.usage, codec.time_of(event.time)
        lifecycle.apply(folded, decode(event), time)
        used = Usage(
            input_tokens=folded.usage.input_tokens - before.input_tokens,
            output_tokens=folded.usage.output_tokens - before.output_tokens,
            cache_creation_tokens=folded.usage.cache_creation_tokens - before.cache_creation_tokens,
            cache_read_tokens=folded.usage.cache_read_tokens - before.cache_read_tokens,
            cost_usd_micros=folded.usage.cost_usd_micros - before.cost_usd_micros,
        )
        cost = prices.cost_usd_micros(used, family_of_domain(domain))
        if cost or tokens_of(used):
            paid.append((time, f"{job.namespace}/{job.owner}", cost, tokens_of(used)))
    return paid


def _check_spent(connection: Connection, paid: list[Paid]) -> None:
    """X6: each attempt that ended since is paid once."""
    for namespace, owner, period, created, day, spent, tokens in connection.rows(
        "SELECT namespace, owner, period, created, day, spent, spent_tokens FROM budgets"
    ):
        if any(time == created for time, *_ in paid):
            # Whether that was before or after it was set, nobody can tell.
            continue
        own = [
            one
            for one in paid
            if one[0] > created
            and one[1].startswith(f"{namespace}/{owner}")
            and (not owner or one[1] == f"{namespace}/{owner}")
            and (period == BudgetPeriod.TOTAL or day_of(one[0]) == day)
        ]
        assert (spent, tokens) == (sum(one[2] for one in own), sum(one[3] for one in own)), (namespace, owner, period)
