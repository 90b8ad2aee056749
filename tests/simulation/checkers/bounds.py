"""I5, I11, I12: queues take no more than their bound from clients, workers hold no more leases than they have slots."""

from collections import Counter, defaultdict

from headrace_server.core.states import LEASED
from headrace_server.store.engine import Connection
from simulation.chronicle import KINDS_OF_END, Chronicle, Fresh
from simulation.clients import SMALL_QUEUE, SMALL_QUEUE_JOBS_MAX
from simulation.surroundings import WorkerKind
from simulation.violation import hold

_WAIT_AGAIN = frozenset(
    {"attempt_released", "attempt_failed", "attempt_lost", "attempt_handed_back", "attempt_snoozed"}
)


class BoundChecker:
    """Counts along with every event."""

    def __init__(self, kinds: list[WorkerKind]) -> None:
        self._slots = {kind.name: kind.slots for kind in kinds if not kind.impatient}
        self._waiting: defaultdict[str, set[str]] = defaultdict(set)

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        for known, logged in fresh.events:
            waiting = self._waiting[known.row.queue]
            if logged.kind == "submitted":
                waiting.add(known.id)
                if known.row.turn is not None and known.row.turn.background:
                    continue
                bound = known.row.queue != SMALL_QUEUE or len(waiting) <= SMALL_QUEUE_JOBS_MAX
                hold(bound, "I11", f"a client got job {len(waiting)} into a queue of {SMALL_QUEUE_JOBS_MAX}")
            elif logged.kind == "attempt_assigned" or logged.kind in KINDS_OF_END:
                waiting.discard(known.id)
            elif logged.kind in _WAIT_AGAIN:
                waiting.add(known.id)
        held = Counter[str]()
        for known in chronicle.jobs.values():
            if known.row.state in LEASED:
                held[known.row.worker] += known.row.slots
        for worker, slots in self._slots.items():
            hold(held[worker] <= slots, "I5", f"leases take {held[worker]} of {slots} slots of {worker}")
