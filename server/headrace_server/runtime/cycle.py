"""One cycle of the scheduler, inside one transaction: end leases, promote what is due, and grant what fits (Q1, Q5,
L1, L6).

A synchronous function of a ledger, so that the simulator runs it inline. Decisions are those of `core`; every grant
has its rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.v1 import worker_pb2
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.ids import Micros
from headrace_server.core.limits import GRANTS_COUNT_MAX
from headrace_server.core.placement import Offer, Room
from headrace_server.runtime.assignment import assignment_of
from headrace_server.store import firings, ready
from headrace_server.store.due import look_at_due, next_due
from headrace_server.store.leases import Holder, Lease, grant, held, release
from headrace_server.store.ledger import Ledger
from headrace_server.store.ready import Candidate
from headrace_server.store.workers import lose_worker


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


def run_cycle(ledger: Ledger, offers: Sequence[Offer], lost: Sequence[Holder], *, timed: bool = True) -> Cycle:
    """Runs one cycle at the ledger's time. `lost` are the incarnations whose lease this node has seen end.

    Without `timed` nothing is looked up that waits for a time: no job is SCHEDULED or waits for its holder.
    """
    for holder in lost:
        lose_worker(ledger, holder, "its lease ended without a renewal")
    if timed:
        look_at_due(ledger)
        firings.fire_due(ledger)
    placed = _place(ledger, offers, with_held=timed) if offers else []
    granted = tuple(_granted(ledger, candidate, offer) for candidate, offer in placed)
    return Cycle(granted, _next_look(ledger) if timed else None)


def _next_look(ledger: Ledger) -> Micros | None:
    times = [time for time in (next_due(ledger), firings.next_time(ledger)) if time is not None]
    return min(times, default=None)


def take_back(ledger: Ledger, unsent: Sequence[Granted]) -> None:
    """Takes back what was granted to a lane that was gone before anything of it could be sent."""
    for granted in unsent:
        job = held(ledger, Holder(granted.worker, granted.incarnation), granted.lease)
        if job is not None:
            release(ledger, job, ReleaseCause.NOT_CONFIRMED, "the worker went away before it was sent")


def _place(ledger: Ledger, offers: Sequence[Offer], *, with_held: bool) -> list[tuple[Candidate, Offer]]:
    room = Room(offers)
    candidates: list[Candidate] = []
    for key in ready.ready_keys(ledger):
        free = room.free_for(key.needs)
        if free:
            candidates += ready.window(ledger, key, min(free, GRANTS_COUNT_MAX))
    if with_held:
        candidates += ready.held_window(ledger, [offer.worker for offer in offers], GRANTS_COUNT_MAX)
    candidates.sort(key=lambda candidate: (candidate.job.rank, candidate.job.row))
    placed: list[tuple[Candidate, Offer]] = []
    for candidate in candidates:
        if len(placed) == GRANTS_COUNT_MAX:
            break
        taken = room.take(candidate.needs, candidate.job.holder)
        if taken is not None:
            offer, rule = taken
            grant(ledger, candidate.job, offer, rule)
            placed.append((candidate, offer))
    return placed


def _granted(ledger: Ledger, candidate: Candidate, offer: Offer) -> Granted:
    job = candidate.job
    lease = Lease(job.id, job.epoch, ledger.generation, job.attempt)
    return Granted(offer.worker, offer.incarnation, lease, assignment_of(ledger, candidate))
