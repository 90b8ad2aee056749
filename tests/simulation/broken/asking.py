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
