"""What the agent asks of the sessions that an executor keeps between their turns."""

from collections.abc import Callable, Iterable
from typing import Protocol

from headrace.v1 import worker_service_pb2


class HeldSessions(Protocol):
    """The processes of sessions. Every method is called on the agent's event loop, and none but `end_all` waits."""

    on_own_turn: Callable[[worker_service_pb2.BackgroundTurn], None]
    """Called with each turn that a process began by itself, once; see `unacknowledged`."""

    def held(self) -> list[worker_service_pb2.HeldSession]:
        """Every session of which there is a process."""
        ...

    def kept(self) -> list[str]:
        """Sessions without a process of which the conversation is kept: some of them, and others the next time."""
        ...

    def unacknowledged(self) -> list[worker_service_pb2.BackgroundTurn]:
        """Turns that processes began by themselves, of which the server has not said that there is a job for them."""
        ...

    def acknowledge(self, ack: worker_service_pb2.BackgroundTurnAck) -> None:
        """There is a job for such a turn, or never will be."""
        ...

    def end_named(self, session_ids: Iterable[str]) -> None:
        """The server wants no process of these sessions any more."""
        ...

    def drain(self) -> None:
        """Keeps no process beyond its turn from now on."""
        ...

    def resume(self) -> None:
        """Keeps processes again."""
        ...

    def kill_idle(self) -> None:
        """The lease has ended: ends every process that runs no attempt."""
        ...

    async def end_all(self) -> None:
        """Ends every process, and waits for the end of its tree."""
        ...


class NoSessions:
    """Of a worker that runs none."""

    def __init__(self) -> None:
        self.on_own_turn: Callable[[worker_service_pb2.BackgroundTurn], None] = lambda turn: None

    def held(self) -> list[worker_service_pb2.HeldSession]:
        """See `HeldSessions`."""
        return []

    def kept(self) -> list[str]:
        """See `HeldSessions`."""
        return []

    def unacknowledged(self) -> list[worker_service_pb2.BackgroundTurn]:
        """See `HeldSessions`."""
        return []

    def acknowledge(self, ack: worker_service_pb2.BackgroundTurnAck) -> None:
        """See `HeldSessions`."""

    def end_named(self, session_ids: Iterable[str]) -> None:
        """See `HeldSessions`."""

    def drain(self) -> None:
        """See `HeldSessions`."""

    def resume(self) -> None:
        """See `HeldSessions`."""

    def kill_idle(self) -> None:
        """See `HeldSessions`."""

    async def end_all(self) -> None:
        """See `HeldSessions`."""
