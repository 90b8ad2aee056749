"""Actions beside those of `actions.py`: what clients ask for besides plain jobs, and what operators do.

A table of its own, so that seeds of before still make the runs that they made.
"""

from simulation.actions import Action, decline, say_checkpoint, snooze
from simulation.demands import (
    cancel_many,
    delete,
    retry,
    submit_deleted,
    submit_graph,
    submit_limited,
    submit_unique,
    update,
)
from simulation.operators import change_limits, purge_queue, resume_queue, schedule, stop_queue

LATER_ACTIONS: dict[str, tuple[Action, float]] = {
    "submit_limited": (submit_limited, 7),
    "submit_unique": (submit_unique, 4.5),
    "submit_graph": (submit_graph, 3.5),
    "update": (update, 2.0),
    "cancel_many": (cancel_many, 0.4),
    "retry": (retry, 1.0),
    "delete": (delete, 1.5),
    "submit_deleted": (submit_deleted, 1.5),
    "snooze": (snooze, 2.5),
    "decline": (decline, 1.5),
    "say_checkpoint": (say_checkpoint, 3.0),
    "stop_queue": (stop_queue, 0.8),
    "resume_queue": (resume_queue, 1.2),
    "change_limits": (change_limits, 0.8),
    "purge_queue": (purge_queue, 0.3),
    "schedule": (schedule, 3.5),
}
"""With how often each is taken."""
