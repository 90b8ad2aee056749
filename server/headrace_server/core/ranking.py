"""Rank: who goes first among the jobs of a queue (Q1)."""

from headrace_server.core.ids import Micros


def rank(arrival: Micros, priority: int, head_start_micros: int) -> int:
    """Arrival time less the head start that the priority is worth; the smallest goes first, equal ones by row.

    It never changes while a job waits, so nothing starves and nothing is rewritten as time passes.
    """
    return arrival - priority * head_start_micros
