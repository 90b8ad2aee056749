"""Broken variants of what asks for a cycle: a job waits for nothing, until something else has the scheduler look."""

from typing import Any

from headrace_server.runtime.scheduler import Scheduler
from simulation.broken.queueing import Patches


def second_request_lost() -> Patches:
    """Who asks for a cycle when one was just begun has none of his own."""
    ask = Scheduler._ask

    def once(scheduler: Any) -> None:
        ask(scheduler)
        scheduler._asked_again = False

    return [(Scheduler, "_ask", once)]


def kept_room_stays_kept() -> Patches:
    """Room that was kept for a job that waits no longer is kept until something else happens."""
    committed = Scheduler.committed

    def keep(scheduler: Any, effects: Any) -> None:
        reserved, scheduler._registry.reserved = scheduler._registry.reserved, {}
        committed(scheduler, effects)
        scheduler._registry.reserved = reserved

    return [(Scheduler, "committed", keep)]
