"""One cycle of the scheduler, inside one transaction: end leases, promote what is due, and grant what the plan says
(L1, L6).

A synchronous function of a ledger, so that the simulator runs it inline. Decisions are those of `core`; every grant
has its rule.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.v1 import worker_pb2
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.placement import Offer
from headrace_server.runtime.assignment import assignment_of
from headrace_server.runtime.plan import NO_PLAN, Plan, make_plan
from headrace_server.store.attempts.due import look_at_due, next_due
from headrace_server.store.attempts.lease_ends import account
from headrace_server.store.attempts.leases import Holder, Lease, grant, held, release
from headrace_server.store.attempts.workers import lose_worker
from headrace_server.store.capacity import domains
from headrace_server.store.capacity.budgets import next_reset
from headrace_server.store.capacity.reservations import reserve
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing import queue_stops, ready
from headrace_server.store.queueing.ready import Candidate
from headrace_server.store.scheduling import firings
from headrace_server.store.settle import resolve_children


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease that a cycle granted, with what the worker needs in order to run it."""

    worker: str
    incarnation: str
    lease: Lease
    assignment: worker_pb2.Assignment


@dataclass(frozen=True, slots=True)
class Cycle:
    """What a cycle did."""

    granted: tuple[Granted, ...]
    next_due: Micros | None
    """When the next cycle has to run."""
    reserved: tuple[tuple[str, JobId], ...] = ()
    """Workers that keep room for a job that needs much of them, and that job."""


def run_cycle(ledger: Ledger, offers: Sequence[Offer], lost: Sequence[Holder], *, timed: bool = True) -> Cycle:
    """Runs one cycle at the ledger's time. `lost` are the incarnations whose lease this node has seen end.

    Without `timed` nothing waited for a time when the cycle was asked for. Whether one has come since is all that is
    looked up then.
    """
    for holder in lost:
        lose_worker(ledger, holder, "its lease ended without a renewal")
    timed = timed or _has_become_due(ledger)
    if timed:
        look_at_due(ledger)
        firings.fire_due(ledger)
        resolve_children(ledger)
        ready.open_due_keys(ledger)
    account(ledger)
    plan = make_plan(ledger, offers, with_held=timed) if offers else NO_PLAN
    granted = tuple(_grant(ledger, plan))
    times = [plan.wake, _next_look(ledger) if timed else None]
    return Cycle(granted, min((time for time in times if time is not None), default=None), plan.reserved)


def _has_become_due(ledger: Ledger) -> bool:
    """What was committed since the cycle was asked for may have brought a time that has passed: a grant that came back
    after its job's queue_timeout is not to be granted again."""
    time = next_due(ledger)
    return time is not None and time <= ledger.now


def _next_look(ledger: Ledger) -> Micros | None:
    times = (
        next_due(ledger),
        firings.next_time(ledger),
        ready.next_opening(ledger),
        queue_stops.next_expiry(ledger),
        domains.next_opening(ledger),
        next_reset(ledger),
    )
    return min((time for time in times if time is not None), default=None)


def take_back(ledger: Ledger, unsent: Sequence[Granted]) -> None:
    """Takes back what was granted to a lane that was gone before anything of it could be sent."""
    for granted in unsent:
        job = held(ledger, Holder(granted.worker, granted.incarnation), granted.lease)
        if job is not None:
            release(ledger, job, ReleaseCause.NOT_CONFIRMED, "the worker went away before it was sent")


def _grant(ledger: Ledger, plan: Plan) -> Iterator[Granted]:
    chosen = [(placement.job, placement.needs) for placement in plan.placements]
    for placement, candidate in zip(plan.placements, ready.with_specs(ledger, chosen), strict=True):
        grant(ledger, candidate.job, placement.offer, placement.rule)
        if placement.reserved is not None:
            reserve(ledger, candidate.job, placement.reserved)
        yield _granted(ledger, candidate, placement.offer, placement.reserved or 0)


def _granted(ledger: Ledger, candidate: Candidate, offer: Offer, reserved: int) -> Granted:
    job = candidate.job
    lease = Lease(job.id, job.epoch, ledger.generation, job.attempt)
    assignment = assignment_of(ledger, candidate)
    assignment.cost_max_usd_micros = reserved
    return Granted(offer.worker, offer.incarnation, lease, assignment)
