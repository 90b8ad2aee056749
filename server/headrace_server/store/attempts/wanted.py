"""What is wanted of the attempts that a worker holds, as the store knows it: asked at every renewal (C2, C3, Q7)."""

from headrace_server.core.wanted import Wanted, wanted_end
from headrace_server.store import rows
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.attempts.timeouts import cancel_grace_micros
from headrace_server.store.attempts.worker_drains import return_due
from headrace_server.store.capacity.budgets import budgets
from headrace_server.store.capacity.reservations import stopped_of
from headrace_server.store.ledger import Ledger

_RETURNS = (
    "EXISTS (SELECT 1 FROM queue_stops WHERE queue_stops.namespace = jobs.namespace AND queue_stops.queue = jobs.queue"
    " AND queue_stops.kind = 2 AND queue_stops.until > 0 AND queue_stops.until <= ?)"
)
"""The job's queue is drained, and what still runs is to be handed back by now."""
_OVERSPENT = "EXISTS (SELECT 1 FROM reservations WHERE reservations.job = jobs.job AND reservations.stopped > 0)"
"""It has used more than it may."""


def wanted_of(ledger: Ledger, holder: Holder) -> tuple[Wanted, ...]:
    """Every attempt of a worker that has to end."""
    leased = "worker = ? AND incarnation = ? AND state IN (4, 5, 6, 7)"
    if return_due(ledger, holder.worker):
        found = ledger.query(f"{rows.SELECT} WHERE {leased}", (holder.worker, holder.incarnation))
    else:
        overspent = f" OR {_OVERSPENT}" if budgets(ledger) else ""
        found = ledger.query(
            f"{rows.SELECT} WHERE {leased} AND (state = 7 OR timed_out > 0{overspent} OR {_RETURNS})",
            (holder.worker, holder.incarnation, ledger.now),
        )
    wanted = []
    jobs = ledger.adopt(found)
    stopped = stopped_of(ledger, jobs)
    for job in jobs:
        end = wanted_end(job, drained=True, overspent=job.row in stopped)
        assert end is not None, "a job that is wanted ended and that nobody holds"
        wanted.append(Wanted(job, *end, cancel_grace_micros(ledger, job)))
    return tuple(wanted)


def note_stops(ledger: Ledger) -> None:
    """Has the workers told at once, after the commit, of what this transaction has stopped. Called before the commit;
    what is lost on the way comes with the next renewal."""
    stopped = stopped_of(ledger, ledger.stopped)
    for job in ledger.stopped:
        end = wanted_end(job, drained=False, overspent=job.row in stopped)
        if end is not None:
            ledger.effects.stopped.append(Wanted(job, *end, cancel_grace_micros(ledger, job)))
    ledger.stopped.clear()
