"""What a simulated worker is in all its incarnations, and what it has around it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from headrace.v1 import worker_pb2
from headrace_server.store.engine import Connection
from simulation.conversations import Disk
from simulation.ground import Ground
from simulation.network import Wire


@dataclass(frozen=True, slots=True)
class WorkerKind:
    """What a worker is, in all its incarnations."""

    name: str
    slots: int
    capabilities: worker_pb2.WorkerCapabilities
    impatient: bool
    """Says finishes before the output before them is acknowledged, which the server has to bear."""
    resends: bool
    """After a reconnect it sends again what it was not told of, though the server has just said that it has it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker has around it."""

    ground: Ground
    disk: Disk
    now: Callable[[], float]
    """Monotonic."""
    connection: Callable[[], AbstractContextManager[Connection] | None]
    """To the store, for what is read of it; none while there is no server."""
    open_control: Callable[[], Wire]
    open_data: Callable[[], Wire]
    assigned: Callable[[worker_pb2.Assignment], None]
    """Somebody who looks at what a worker is given."""
