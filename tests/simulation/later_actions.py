"""Actions beside those of `actions.py`: what clients ask for besides plain jobs, and what operators do.

A table of its own, so that seeds of before still make the runs that they made.
"""

from simulation.actions import Action

LATER_ACTIONS: dict[str, tuple[Action, float]] = {}
"""With how often each is taken."""
