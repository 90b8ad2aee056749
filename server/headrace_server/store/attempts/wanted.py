"""What is wanted of the attempts that a worker holds, as the store knows it: asked at every renewal (C2, C3, Q7)."""

from headrace_server.core.wanted import Wanted, wanted_end
from headrace_server.store import rows
from headrace_server.store.attempts.leases import Holder
from headrace_server.store.attempts.timeouts import cancel_grace_micros
from headrace_server.store.attempts.worker_drains import return_due
from headrace_server.store.ledger import Ledger

_RETURNS = (
    "EXISTS (SELECT 1 FROM queue_stops WHERE queue_stops.namespace = jobs.namespace AND queue_stops.queue = jobs.queue"
    " AND queue_stops.kind = 2 AND queue_stops.until > 0 AND queue_stops.until <= ?)"
)
"""The job's queue is drained, and what still runs is to be handed back by now."""


def wanted_of(ledger: Ledger, holder: Holder) -> tuple[Wanted, ...]:
    """Every attempt of a worker that has to end."""
    leased = "worker = ? AND incarnation = ? AND state IN (4, 5, 6, 7)"
    if return_due(ledger, holder.worker):
        found = ledger.query(f"{rows.SELECT} WHERE {leased}", (holder.worker, holder.incarnation))
    else:
        found = ledger.query(
            f"{rows.SELECT} WHERE {leased} AND (state = 7 OR timed_out > 0 OR {_RETURNS})",
            (holder.worker, holder.incarnation, ledger.now),
        )
    wanted = []
    for job in ledger.adopt(found):
        end = wanted_end(job, drained=True)
        assert end is not None, "a job that is wanted ended and that nobody holds"
        wanted.append(Wanted(job, *end, cancel_grace_micros(ledger, job)))
    return tuple(wanted)


def note_stops(ledger: Ledger) -> None:
    """Has the workers told at once, after the commit, of what this transaction has stopped. Called before the commit;
    what is lost on the way comes with the next renewal."""
    for job in ledger.stopped:
        end = wanted_end(job, drained=False)
        if end is not None:
            ledger.effects.stopped.append(Wanted(job, *end, cancel_grace_micros(ledger, job)))
    ledger.stopped.clear()
