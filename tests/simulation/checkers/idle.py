"""I4: no job waits for nothing. Whenever the scheduler sleeps until a time that has not come, a look at all that waits,
with nothing parked and nothing remembered of earlier looks, finds no job that could start on a worker that is there.

It asks the product's own plan, in a transaction that is never committed. That a plan starts too little is not for it.
"""

from random import Random

from headrace_server.core.ids import job_id_text
from headrace_server.runtime.plan import make_plan
from headrace_server.store.ledger import Ledger
from simulation.server import Server
from simulation.storage import MemoryEngine
from simulation.violation import hold

_WAITS = "SELECT 1 FROM jobs WHERE id = ? AND state = 3"


class IdleChecker:
    """Looks at what the scheduler left, each time that something may be otherwise."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine

    def check_step(self, server: Server) -> None:
        """After a step."""
        if not server.sleeps:
            return
        offers = server.offers()
        if not any(offer.free_slots for offer in offers):
            return
        with self._engine.trying() as connection:
            if not connection.rows("SELECT 1 FROM jobs WHERE state = 3 LIMIT 1"):
                return
            kept = server.registry.reserved.items()
            # Between shares the order changes with time alone: what room is kept for was first when it was planned.
            waited = {worker for worker, job in kept if connection.rows(_WAITS, (job,))}
            offers = [offer for offer in offers if offer.worker not in waited]
            connection.run("UPDATE ready_keys SET parked = 0")
            plan = make_plan(Ledger(connection, server.now(), Random(0)), offers, with_held=True)
        could = [(job_id_text(one.job.id), one.offer.worker) for one in plan.placements]
        hold(not could, "I4", f"the scheduler sleeps, and could start {could}")
