"""A process that holds a conversation, on a worker's host."""

from dataclasses import dataclass

from simulation.conversations import Transcript


@dataclass(eq=False, slots=True)
class Process:
    """One process of a session, under one binding."""

    worker: str
    session_id: str
    binding_epoch: int
    transcript: Transcript
